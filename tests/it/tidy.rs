//! Reads the source tree and says where it breaks the rules of the house.
//!
//! The floors are in [`FLOORS`], everything else is in [`RULES`]. Comments and literals are not
//! code: only what [`RULES`] looks for in the text is found in them.

use std::{fs, path::Path};

mod findings;
mod source;

use source::{Source, Token};

/// Which top-level module of `src` stands on which floor. Imports point down, or stay level.
/// Modules that are not named belong to the façade; `lib.rs` stands above all.
const FLOORS: [(u8, &[&str], &str); 4] = [
    (0, &["model", "policy", "faults", "sync"], "pure data and decisions"),
    (1, &["clock", "store", "sink", "hooks", "workload", "telemetry"], "ports"),
    (2, &["runtime"], "the actors"),
    (4, &["process", "http", "testing"], "adapters"),
];
const FACADE: u8 = 3;
const ROOF: u8 = 5;

/// What is looked for.
enum Find {
    /// A crate that is named: in an import or at the head of a path.
    Crate(&'static str),
    /// A path in the code, such as `Utc::now`; one name stands for itself.
    Code(&'static [&'static str]),
    /// A word in the text, comments and literals included.
    Text(&'static str),
    /// A part of the name of a type or module.
    Declared(&'static str),
}

/// Where it may stand, by the beginning of the path.
enum Place {
    Only(&'static [&'static str]),
    NotIn(&'static [&'static str]),
    Nowhere,
}

use Find::{Code, Crate, Declared, Text};
use Place::{NotIn, Nowhere, Only};

const GROUND: &[&str] = &["src/model", "src/policy"];
/// Tests, examples and measurements may look at what the library is built on.
const OUTSIDE: &str = "not src/";

#[rustfmt::skip]
const RULES: &[(Find, Place, &str)] = &[
    (Crate("ractor"),            Only(&["src/runtime", OUTSIDE]),        "only the runtime knows the actors"),
    (Crate("sled"),              Only(&["src/store/sled", OUTSIDE]),     "only the sled store knows sled; our own module is self::sled"),
    (Crate("axum"),              Only(&["src/http", OUTSIDE]),           "an adapter's crate stays in its adapter"),
    (Crate("rustix"),            Only(&["src/process", OUTSIDE]),        "an adapter's crate stays in its adapter"),
    (Crate("metrics"),           Only(&["src/telemetry", OUTSIDE]),      "every name of a metric is in one place"),
    (Crate("procfs"),            Only(&["src/process/os", OUTSIDE]),     "what differs between the systems is in one place"),
    (Crate("pty_process"),       Only(&["src/process", OUTSIDE]),        "an adapter's crate stays in its adapter"),
    (Crate("tokio"),             NotIn(GROUND),                          "the ground floor has no tasks and no timers"),
    (Crate("futures"),           NotIn(GROUND),                          "the ground floor has no tasks and no timers"),
    (Crate("tracing"),           NotIn(GROUND),                          "the ground floor has no effects"),
    (Crate("fastrand"),          NotIn(GROUND),                          "the ground floor is given its random numbers"),
    (Code(&["Instant"]),         NotIn(GROUND),                          "the ground floor is given its times"),
    (Code(&["SystemTime"]),      Only(&["src/clock", OUTSIDE]),          "wall-clock time has one reader, src/clock.rs"),
    (Code(&["Utc", "now"]),      Only(&["src/clock", OUTSIDE]),          "wall-clock time has one reader, src/clock.rs"),
    (Code(&["Local", "now"]),    Only(&["src/clock", OUTSIDE]),          "wall-clock time has one reader, src/clock.rs"),
    (Code(&["Uuid", "now_v7"]),  Only(&["src/clock", OUTSIDE]),          "ids come from src/clock.rs"),
    (Text("todo!"),              Nowhere,                                "finish it or leave it out"),
    (Text("unimplemented!"),     Nowhere,                                "finish it or leave it out"),
    (Text("TODO"),               Nowhere,                                "finish it or leave it out"),
    (Text("FIXME"),              Nowhere,                                "mend it or say why it is right"),
    (Text("XXX"),                Nowhere,                                "say in a sentence what is remarkable"),
    (Declared("manager"),        Nowhere,                                "name it after what it does"),
    (Declared("helper"),         Nowhere,                                "name it after what it does"),
    (Declared("helpers"),        Nowhere,                                "name it after what it does"),
    (Declared("util"),           Nowhere,                                "name it after what is in it"),
    (Declared("utils"),          Nowhere,                                "name it after what is in it"),
];

const MAX_LINES: usize = 500;
const FOLDERS: [&str; 4] = ["src", "tests", "examples", "benches"];
/// The files of this test, which name what they look for.
const OURS: &str = "tests/it/tidy";

#[test]
fn the_source_tree_keeps_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = FOLDERS.map(|folder| rust_files(root, Path::new(folder)));
    let broken: Vec<String> =
        files.iter().flatten().flat_map(|(path, text)| broken_rules(path, text)).collect();
    assert!(broken.is_empty(), "{} broken rules:\n{}", broken.len(), broken.join("\n"));
    assert!(
        files[0].iter().any(|(path, _)| path == "src/lib.rs") && files[0].len() > 10,
        "the source tree was not found under {}",
        root.display()
    );
}

#[test]
fn the_first_workload_of_the_readme_is_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file| fs::read_to_string(root.join(file)).expect("a readable text");
    let (readme, example) = (read("README.md"), read("examples/first.rs"));
    let shown = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next());
    let code = example.find("use std::").map(|start| &example[start..]);
    assert_eq!(shown.expect("a first block"), code.expect("an example"));
}

/// The Rust files under a folder, with their paths as they are written in the rules.
pub(crate) fn rust_files(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.expect("a folder of the source tree can be read");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(rust_files(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source file is readable text");
            found.push((path.to_string_lossy().replace('\\', "/"), text));
        }
    }
    found.sort();
    found
}

/// What one file breaks, each as `file:line: what: which rule`.
fn broken_rules(path: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        broken.push(format!(
            "{path}:{MAX_LINES}: {lines} lines: at most {MAX_LINES} in a file; split it by subject"
        ));
    }
    if path.starts_with(OURS) {
        return broken;
    }
    let source = Source::read(text);
    for (find, place, why) in RULES {
        if !allowed(path, place) {
            for (line, what) in occurrences(find, &source, text) {
                broken.push(format!("{path}:{line}: {what}: {why}"));
            }
        }
    }
    if let Some(module) = path.strip_prefix("src/") {
        broken.extend(
            imports_going_up(module, &source)
                .into_iter()
                .map(|(line, what)| format!("{path}:{line}: {what}")),
        );
    }
    broken
}

fn allowed(path: &str, place: &Place) -> bool {
    let under = |beginnings: &[&str]| {
        beginnings.iter().any(|beginning| match *beginning {
            OUTSIDE => !path.starts_with("src/"),
            beginning => path.strip_prefix(beginning).is_some_and(|rest| {
                rest.starts_with('/') || rest.starts_with(".rs") || rest.is_empty()
            }),
        })
    };
    match place {
        Only(places) => under(places),
        NotIn(places) => !under(places),
        Nowhere => false,
    }
}

/// The lines on which something stands, and how it is written there.
fn occurrences(find: &Find, source: &Source, text: &str) -> Vec<(usize, String)> {
    match find {
        Crate(name) => source.crates_named(name),
        Code(path) => source.paths(path),
        Declared(word) => source.declared_with(word),
        Text(word) => text
            .lines()
            .enumerate()
            .filter(|(_, line)| has_word(line, word))
            .map(|(index, _)| (index + 1, (*word).to_owned()))
            .collect(),
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(part_of_word)
            && !line[start + word.len()..].starts_with(part_of_word)
    })
}

/// The floor of a top-level module, and what stands there.
fn floor_of(module: &str) -> (u8, &'static str) {
    if module == "lib" {
        return (ROOF, "the crate root");
    }
    FLOORS
        .into_iter()
        .find(|(_, modules, _)| modules.contains(&module))
        .map_or((FACADE, "the façade"), |(floor, _, what)| (floor, what))
}

/// The imports of a file (its path within `src`) that lead to a higher floor.
fn imports_going_up(file: &str, source: &Source) -> Vec<(usize, String)> {
    let path: Vec<&str> = file
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod" && *part != "lib")
        .collect();
    let (here, what_is_here) = floor_of(path.first().unwrap_or(&"lib"));
    source
        .imports_from_root(path.len())
        .into_iter()
        .filter_map(|(line, name)| {
            let (there, what_is_there) = match &name {
                // A type, a function or a glob: what the crate root exports belongs to it.
                Token::Other('*') => (ROOF, "the crate root"),
                Token::Name(name) if name.starts_with(char::is_uppercase) => {
                    (ROOF, "the crate root; import it from its own module")
                }
                Token::Name(name) => floor_of(name),
                Token::Other(_) | Token::Path => return None,
            };
            // The façade and the adapters may use the public API as users do.
            let public_api = there == ROOF && here >= FACADE;
            (there > here && !public_api).then(|| {
                let what = format!(
                    "crate::{name}: floor {here} ({what_is_here}) imports from floor {there} \
                     ({what_is_there}): imports point down"
                );
                (line, what)
            })
        })
        .collect()
}
