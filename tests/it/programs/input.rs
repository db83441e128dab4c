//! What programs are given to read.

use sessionkeeper::{
    Settled,
    process::{ExitCause, OutputFormat, ProcessInput, ProcessSpec, Stdin},
};

use super::kit::{Worker, has_printed, printed, settled, state, trial, turn_done};

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
