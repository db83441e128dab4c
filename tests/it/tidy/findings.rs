//! That each rule finds what it forbids, and nothing else.

use super::{MAX_LINES, broken_rules};

/// Checks one line of code in a file: `None` if it breaks nothing, else what is said about it.
fn check(path: &str, code: &str, expected: Option<&str>) {
    let broken = broken_rules(path, code);
    match expected {
        None => assert!(broken.is_empty(), "{code:?} in {path}: {broken:?}"),
        Some(words) => assert!(
            matches!(&broken[..], [one] if one.starts_with(path) && one.contains(words)),
            "{code:?} in {path}: {broken:?}, where {words:?} was expected"
        ),
    }
}

#[test]
fn an_import_that_goes_up_is_found_however_it_is_written() {
    let up = Some("imports point down");
    let table = [
        ("src/model/state.rs", "use crate::policy::Policy;", None),
        ("src/policy/mod.rs", "use crate::model::{ids, state};", None),
        ("src/model/state.rs", "use crate::clock::Clock;", up),
        ("src/model/state.rs", "fn now() -> u64 { crate::clock::now() }", up),
        ("src/model/state.rs", "use super::super::store::Store;", up),
        ("src/model/mod.rs", "use super::store::Store;", up),
        ("src/model/mod.rs", "use crate::{policy::{self, Limit}, store::Store};", up),
        ("src/model/mod.rs", "use crate::Policy;", up),
        ("src/model/mod.rs", "mod tests { use super::*; }", None),
        ("src/model/mod.rs", "/// See [`crate::clock`].", None),
        ("src/model/mod.rs", "const TEXT: &str = \"crate::clock::now\";", None),
        ("src/clock.rs", "use crate::model::time::Timestamp;", None),
        ("src/clock.rs", "mod tests { use super::*; }", None),
        ("src/clock.rs", "use super::*;", up),
        ("src/store/memory.rs", "use super::{Store, Batch};", None),
        ("src/store/memory.rs", "use crate::runtime::Commit;", up),
        ("src/store/sled/mod.rs", "use super::super::super::session::SessionHandle;", None),
        ("src/store/sled/mod.rs", "use super::super::session::SessionHandle;", up),
        ("src/runtime/mod.rs", "use crate::{clock::Clock, model::ids::RunId, store::Store};", None),
        ("src/runtime/actor.rs", "pub(in crate::runtime) struct Actor;", None),
        ("src/runtime/actor.rs", "use crate::errors::StopError;", up),
        ("src/runtime/actor.rs", "use crate::SessionHandle;", up),
        ("src/supervisor.rs", "use crate::{runtime::Runtime, session::SessionHandle};", None),
        ("src/supervisor.rs", "use crate::Policy;", None),
        ("src/supervisor.rs", "use crate::http::Router;", up),
        ("src/http.rs", "use crate::supervisor::Supervisor;", None),
        ("src/lib.rs", "pub use crate::supervisor::Supervisor;", None),
        ("tests/it/store.rs", "use crate::anything::at_all;", None),
    ];
    for (path, code, expected) in table {
        check(path, code, expected);
    }
}

#[test]
fn a_crate_that_is_named_outside_its_place_is_found() {
    let actors = Some("only the runtime");
    let sled = Some("only the sled store");
    let ground = Some("the ground floor");
    let table = [
        ("src/runtime/actor.rs", "use ractor::Actor;", None),
        ("src/supervisor.rs", "use ractor::Actor;", actors),
        ("src/supervisor.rs", "use ::ractor::Actor;", actors),
        ("src/supervisor.rs", "use {std::fmt, ractor::Actor};", actors),
        ("src/supervisor.rs", "use ractor as actors;", actors),
        ("src/supervisor.rs", "extern crate ractor;", actors),
        ("src/supervisor.rs", "fn stop(cell: ractor::ActorCell) {}", actors),
        ("src/runtime.rs", "use ractor::Actor;", None),
        ("src/runtime_report.rs", "use ractor::Actor;", actors),
        ("tests/it/floor.rs", "use ractor::Actor;", None),
        ("src/store/sled/mod.rs", "use sled::Db;", None),
        ("src/store/sled.rs", "use sled::Db;", None),
        ("src/store/memory.rs", "use sled::Db;", sled),
        ("src/store/mod.rs", "mod sled; pub use self::sled::SledStore;", None),
        ("src/store/mod.rs", "#[cfg(feature = \"sled\")] fn open() {}", None),
        ("src/lib.rs", "//! Kept by `sled::Db`.", None),
        ("src/lib.rs", "pub use store::sled::SledStore;", None),
        ("src/model/time.rs", "use tokio::time::sleep;", ground),
        ("src/policy/restart.rs", "let jitter = fastrand::f64();", ground),
        ("src/model/time.rs", "use std::time::{Duration, Instant};", ground),
        ("src/workload/run.rs", "use tokio::time::{Instant, sleep};", None),
        ("src/report.rs", "use axum::Router;", Some("an adapter")),
    ];
    for (path, code, expected) in table {
        check(path, code, expected);
    }
}

#[test]
fn a_second_reader_of_the_wall_clock_is_found() {
    let reader = Some("one reader");
    check("src/clock.rs", "let now = chrono::Utc::now();", None);
    check("src/report.rs", "let now = chrono::Utc::now();", reader);
    check("src/report.rs", "let now = Utc :: now ();", reader);
    check("src/report.rs", "use std::time::SystemTime;", reader);
    check("src/report.rs", "let zone = Utc; fn now() {}", None);
    check("src/report.rs", "let id = Uuid::now_v7();", Some("ids come"));
}

#[test]
fn words_that_promise_work_are_found_also_in_comments() {
    let later = Some("finish it or leave it out");
    check("src/report.rs", "fn late() { todo!() }", later);
    check("examples/first.rs", "fn late() { unimplemented!(\"x\") }", later);
    check("tests/it/store.rs", "// TODO: more", later);
    check("src/report.rs", "/* FIXME */", Some("mend it"));
    check("src/report.rs", "// XXX", Some("remarkable"));
    check("src/report.rs", "const MASK: &str = \"XXXXXX\"; // a TODOS list", None);
}

#[test]
fn names_that_say_nothing_are_found() {
    let name = Some("name it after");
    check("src/report.rs", "struct SessionManager;", name);
    check("src/report.rs", "enum HelperKind {}", name);
    check("src/report.rs", "trait Manager {}", name);
    check("src/report.rs", "mod util;", name);
    check("src/report.rs", "mod string_utils {}", name);
    check("src/report.rs", "type Utilisation = f64; mod managed;", None);
    check("src/report.rs", "// The window manager has a struct Manager.", None);
}

#[test]
fn a_file_that_is_too_long_is_found() {
    check("src/report.rs", &"\n".repeat(MAX_LINES), None);
    check("src/report.rs", &"\n".repeat(MAX_LINES + 1), Some("501 lines"));
    check("tests/it/tidy.rs", &"\n".repeat(MAX_LINES + 1), Some("501 lines"));
}

#[test]
fn a_finding_names_its_line() {
    let broken = broken_rules("src/report.rs", "\n/* a\nb */ use\n  ractor::Actor;\n");
    assert_eq!(broken, ["src/report.rs:4: ractor: only the runtime knows the actors"]);
}
