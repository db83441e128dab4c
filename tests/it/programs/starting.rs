//! Programs that cannot be started: typed errors, and others run on.

use sessionkeeper::{
    Fact, Settled,
    process::{InvalidSpec, ProcessSpec, Value},
};

use super::kit::{Worker, events, settled};

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
