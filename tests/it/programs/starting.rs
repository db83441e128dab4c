//! Programs that cannot be started: typed errors, and others run on.

use sessionkeeper::{
    Fact, Settled, State,
    process::{InvalidSpec, ProcessSpec, Value},
};

use crate::hostile::{ROLE, is_child};

use super::kit::{Worker, events, gone, printed, settled, until};

/// Runs a program that cannot be started, and gives the reason.
async fn refused(worker: &Worker, spec: ProcessSpec) -> String {
    let session = worker.run(spec).await;
    let Settled::Failed(status) = settled(&session).await else { panic!("it failed") };
    let reason = format!("{:?}", status.record());
    assert!(reason.contains(&session.id().to_string()), "{reason}");
    let told = events(&session).await;
    let is_end = |fact: &Fact| matches!(fact, Fact::Work(_));
    assert!(!told.iter().any(|event| is_end(&event.fact)), "it never ran: {told:?}");
    reason
}

#[tokio::test]
async fn what_cannot_be_started_fails_its_session_with_the_reason() {
    let worker = Worker::start().await;
    let other = worker.trial(&["wait"]).await;
    let program = |name: &str| ProcessSpec::builder(name);
    for (spec, expected) in [
        (program("there-is-no-such-program"), "there is no program there-is-no-such-program"),
        (program("/etc/passwd"), "/etc/passwd cannot be run"),
        (program("/tmp"), "/tmp cannot be run"),
        (program("true").folder("/there/is/none"), "the working folder /there/is/none"),
        (program("true").folder("/etc/passwd"), "the working folder /etc/passwd"),
        (program("true").env("KEY", Value::secret("unknown")), "asks for the secret"),
        (program("true").arg("x".repeat(4 << 20)), "are too long"),
    ] {
        let reason = refused(&worker, spec.build().unwrap()).await;
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    other.stop().await.unwrap().ended().await.unwrap();
}

#[test]
fn specs_that_make_no_sense_are_refused() {
    let spec = || ProcessSpec::builder("true");
    assert_eq!(ProcessSpec::builder("").build(), Err(InvalidSpec::Empty { setting: "program" }));
    assert_eq!(spec().arg("a\0b").build(), Err(InvalidSpec::Nul { setting: "args" }));
    let name = |name: &str| spec().env(name, "x").build();
    assert!(matches!(name("A=B"), Err(InvalidSpec::VariableName { .. })));
    assert!(matches!(name("SESSIONKEEPER_X"), Err(InvalidSpec::ReservedName { .. })));
    assert!(matches!(spec().resume(["{what}"]), Err(InvalidSpec::Resume(_))));
    assert!(matches!(spec().resume(["}"]), Err(InvalidSpec::Resume(_))));
    assert_eq!(spec().success_codes([256]).build(), Err(InvalidSpec::Code { code: 256 }));
}

/// In a process of its own, which may have few files open.
#[test]
#[ignore = "executed by too_many_open_files_fail_those_who_want_more, in a process of its own"]
fn with_few_files() {
    if !is_child() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let worker = Worker::start().await;
        let mut sessions = Vec::new();
        for _ in 0..30 {
            sessions.push(worker.trial(&["wait"]).await);
        }
        let mut refused = 0;
        for session in &sessions {
            let is_known = async || {
                let status = session.status().await.unwrap();
                status.state() == State::Failed || printed(session).await.0.contains("waiting")
            };
            until("it runs or has failed", is_known).await;
            let status = session.status().await.unwrap();
            if status.state() == State::Failed {
                let reason = format!("{:?}", status.record());
                assert!(reason.contains("too many open files"), "{reason}");
                refused += 1;
            }
        }
        assert!((1..30).contains(&refused), "{refused} of 30 were refused");
        for session in &sessions {
            if session.status().await.unwrap().state() == State::Active {
                session.stop().await.unwrap().ended().await.unwrap();
            }
            gone(session.id());
        }
    });
}

#[test]
fn too_many_open_files_fail_those_who_want_more() {
    let script = "ulimit -n 64; exec \"$0\" \"$@\"";
    let test = std::env::current_exe().unwrap();
    let done = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(test)
        .env(ROLE, "with few files")
        .args(["--exact", "programs::starting::with_few_files", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "it was run: {told}");
}
