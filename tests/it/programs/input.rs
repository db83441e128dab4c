//! What programs are given to read.

use sessionkeeper::{
    Interruption, OnInterrupt, Settled, State,
    process::{
        ExitCause, InterruptBy, InvalidSpec, OutputFormat, ProcessInput, ProcessSpec, Stdin,
    },
};
use tokio::signal::unix::{SignalKind, signal};

use super::kit::{Handle, Worker, has_printed, printed, settled, state, trial, turn_done};

#[tokio::test]
async fn a_program_reads_the_text_of_its_spec() {
    let worker = Worker::start().await;
    let text = Stdin::Text("b\na\n".to_owned());
    let session = worker.run(ProcessSpec::builder("sort").stdin(text).build().unwrap()).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    assert_eq!(printed(&session).await.0, "a\nb\n");
}

#[tokio::test]
async fn inputs_are_lines_that_it_reads() {
    let worker = Worker::start().await;
    let session = worker.run(trial(&["echo-input"]).stdin(Stdin::Open).build().unwrap()).await;
    session.send(ProcessInput::Text("one".to_owned())).await.unwrap();
    session.send(ProcessInput::Json(serde_json::json!({"two": 2}))).await.unwrap();
    has_printed(&session, "read {\"two\":2}").await;
    session.send(ProcessInput::EndOfFile).await.unwrap();
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    assert_eq!(printed(&session).await.0, "read one\nread {\"two\":2}\nend\n");
}

#[tokio::test]
async fn an_agent_is_at_rest_between_its_turns() {
    let worker = Worker::start().await;
    let spec = trial(&["agent"]).stdin(Stdin::Open).output(OutputFormat::JsonLines);
    let session = worker.run(spec.build().unwrap()).await;
    for number in 1..=3_u64 {
        session.send(ProcessInput::Text(format!("turn {number}"))).await.unwrap();
        turn_done(&session, number).await;
    }
    assert_eq!(session.status().await.unwrap().record().usage.output_tokens(), 12);
    session.stop().await.unwrap().ended().await.unwrap();
    let state = state(&session).await;
    assert_eq!(state.external_id.unwrap().as_str(), "agent-7");
    assert!(matches!(state.end.unwrap().cause, ExitCause::Stopped { .. }));
}

/// Gives a program that can be interrupted something to do.
async fn at_work(worker: &Worker, by: InterruptBy, work: &str) -> Handle {
    let spec = trial(&["patient-agent"]).stdin(Stdin::Open).output(OutputFormat::JsonLines);
    let session = worker.run(spec.interrupt_by(by).build().unwrap()).await;
    session.send(ProcessInput::Text(work.to_owned())).await.unwrap();
    has_printed(&session, &format!("given {work}")).await;
    session
}

async fn interrupt(session: &Handle, then: OnInterrupt) {
    let turn = session.interrupt(then).await.unwrap();
    assert!(matches!(turn, Interruption::Turn { input: 1, .. }), "{turn:?}");
}

/// Where these tests run in the background of a script, SIGINT is ignored, and a shell that inherits that cannot trap it. A signal that
/// is listened for is not inherited.
fn heed_interrupts() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    let interrupt = SignalKind::interrupt();
    if ignored & (1 << (interrupt.as_raw_value() - 1)) != 0 {
        drop(signal(interrupt).unwrap());
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_of_a_program_and_not_the_program() {
    heed_interrupts();
    let worker = Worker::start().await;
    let by_line = InterruptBy::Line("stop".to_owned());
    for (by, work) in [(InterruptBy::Signal, "slow"), (by_line, "asks")] {
        let session = at_work(&worker, by, work).await;
        interrupt(&session, OnInterrupt::Drop).await;
        session.send(ProcessInput::Text("next".to_owned())).await.unwrap();
        turn_done(&session, 2).await;
        has_printed(&session, "given next").await;
        assert_eq!(state(&session).await.starts, 1);
        session.stop().await.unwrap().ended().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_redelivered_is_given_to_the_program_again() {
    heed_interrupts();
    let worker = Worker::start().await;
    let session = at_work(&worker, InterruptBy::Signal, "slow").await;
    interrupt(&session, OnInterrupt::Redeliver).await;
    has_printed(&session, "given slow\ngiven slow\n").await;
    interrupt(&session, OnInterrupt::Drop).await;
    turn_done(&session, 1).await;
    assert_eq!(session.status().await.unwrap().state(), State::Active);
    session.stop().await.unwrap().ended().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_told_goes_on_to_the_end_of_its_turn() {
    let worker = Worker::start().await;
    let session = at_work(&worker, InterruptBy::Nothing, "asks").await;
    interrupt(&session, OnInterrupt::Drop).await;
    session.send(ProcessInput::Text("next".to_owned())).await.unwrap();
    assert!(!printed(&session).await.0.contains("given next"));
    session.stop().await.unwrap().ended().await.unwrap();
    assert!(!printed(&session).await.0.contains("given next"));
}

#[test]
fn an_interrupt_that_nobody_reads_is_refused() {
    let by_line = |line: &str| trial(&[]).interrupt_by(InterruptBy::Line(line.to_owned()));
    assert_eq!(by_line("stop").build(), Err(InvalidSpec::UnreadInterrupt));
    let empty = InvalidSpec::Empty { setting: "interrupt_by" };
    assert_eq!(by_line("").stdin(Stdin::Open).build(), Err(empty));
}
