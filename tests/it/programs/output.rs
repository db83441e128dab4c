//! What programs print is recorded: whole, in order, and without what is secret.

use sessionkeeper::{
    Event, Fact, Settled,
    process::{OutputFormat, Stdin, Value, WhenBehind},
};

use super::kit::{SECRET, Worker, events, printed, settled, state, told, trial};

#[tokio::test]
async fn lines_are_recorded_in_order() {
    let worker = Worker::start().await;
    let session = worker.trial(&["count", "5000"]).await;
    settled(&session).await;
    let expected: String = (1..=5000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(printed(&session).await.0, expected);
    assert_eq!(state(&session).await.lines, 5000);
    let batches = events(&session).await.len();
    assert!(batches < 500, "{batches} events for 5,000 lines");
}

#[tokio::test]
async fn both_streams_are_kept_apart() {
    let worker = Worker::start().await;
    let session = worker.trial(&["both"]).await;
    settled(&session).await;
    assert_eq!(printed(&session).await, ("out\n".to_owned(), "err\n".to_owned()));
}

#[tokio::test]
async fn odd_bytes_are_made_text() {
    let worker = Worker::start().await;
    for (what, expected) in [
        ("split-emoji", "😀 is one character\n"),
        ("not-utf8", "a\u{fffd}b\n"),
        ("unfinished", "no line feed\n"),
    ] {
        let session = worker.trial(&[what]).await;
        settled(&session).await;
        assert_eq!(printed(&session).await.0, expected, "{what}");
        let mended = told(&session, "output_mended").await;
        assert_eq!(mended.len(), usize::from(what == "not-utf8"), "{what}: {mended:?}");
    }
}

#[tokio::test]
async fn an_endless_line_is_cut_and_marked() {
    let worker = Worker::start().await;
    let session = worker.trial(&["long-line", "20971520"]).await;
    settled(&session).await;
    let text = printed(&session).await.0;
    let cut = 20 * 1024 * 1024 - 64 * 1024;
    let expected = format!("{} [{cut} bytes cut]\nafter\n", "x".repeat(64 * 1024));
    assert!(text == expected, "{} bytes", text.len());
    assert_eq!(told(&session, "output_mended").await[0]["lines_cut"], 1);
}

#[tokio::test]
async fn a_flood_is_recorded_to_the_last_line() {
    let worker = Worker::start().await;
    let session = worker.trial(&["lines", "300000", "twenty-four characters!"]).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    assert_eq!(state(&session).await.lines, 300_000);
    assert_eq!(printed(&session).await.0.lines().count(), 300_000);
}

#[tokio::test]
async fn what_is_dropped_is_counted() {
    let worker = Worker::start().await;
    let spec = trial(&["lines", "300000", "twenty-four characters!"]);
    let session = worker.run(spec.when_behind(WhenBehind::Drop).build().unwrap()).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    let dropped: u64 = told(&session, "output_dropped")
        .await
        .iter()
        .map(|told| told["lines"].as_u64().unwrap())
        .sum();
    let kept = printed(&session).await.0.lines().count() as u64;
    assert_eq!(kept + dropped, 300_000, "{kept} and {dropped}");
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let worker = Worker::start().await;
    for what in ["secret", "environment"] {
        let spec = trial(&[what]).env("KEY", Value::secret("key")).build().unwrap();
        let session = worker.run(spec).await;
        assert!(matches!(settled(&session).await, Settled::Completed(_)));
        let text = printed(&session).await.0;
        assert!(text.contains("[redacted]"), "{text}");
        let all = format!("{:?} {:?}", events(&session).await, state(&session).await);
        assert!(!all.contains(SECRET), "{all}");
    }
}

#[tokio::test]
async fn text_that_is_large_in_json_is_kept_in_parts() {
    let worker = Worker::start().await;
    let session = worker.trial(&["zeros"]).await;
    settled(&session).await;
    let text = printed(&session).await.0;
    let cut = 200_000 - 64 * 1024;
    assert!(text == format!("{} [{cut} bytes cut]\nafter\n", "\0".repeat(64 * 1024)));
}

#[tokio::test]
async fn objects_are_read_whole_and_without_secrets() {
    let worker = Worker::start().await;
    let json = |what: &str| {
        let spec = trial(&[what]).output(OutputFormat::JsonLines);
        spec.env("KEY", Value::secret("key")).build().unwrap()
    };
    let session = worker.run(json("big-object")).await;
    settled(&session).await;
    let is_whole = |fact: &Fact| match fact {
        Fact::Work(Event::Completion { message, .. }) => message.len() == 200_000,
        _ => false,
    };
    assert!(events(&session).await.iter().any(|event| is_whole(&event.fact)));
    // What is no object is text, with the limit of a line of text.
    let plain = trial(&["long-line", "200000"]).output(OutputFormat::JsonLines);
    let session = worker.run(plain.build().unwrap()).await;
    settled(&session).await;
    let kept = "x".repeat(65_536);
    assert_eq!(printed(&session).await.0, format!("{kept} [134464 bytes cut]\nafter\n"));
    assert_eq!(told(&session, "output_mended").await[0]["lines_cut"], 1);
    let session = worker.run(json("foreign-json")).await;
    settled(&session).await;
    assert_eq!(told(&session, "other").await[0]["key"], "[redacted]");
}

#[tokio::test]
async fn objects_become_events() {
    let worker = Worker::start().await;
    let line = r#"{"type":"result","result":"all done","usage":{"input_tokens":3}}"#;
    let spec = trial(&["say", line]).output(OutputFormat::JsonLines).build().unwrap();
    let session = worker.run(spec).await;
    settled(&session).await;
    let is_done = |fact: &Fact| match fact {
        Fact::Work(Event::Completion { message, .. }) => message == "all done",
        _ => false,
    };
    assert!(events(&session).await.iter().any(|event| is_done(&event.fact)));
    assert_eq!(session.status().await.unwrap().record().usage.input_tokens(), 3);
    let unknown = trial(&["say", r#"{"type":"other","a":1}"#]).output(OutputFormat::JsonLines);
    let session = worker.run(unknown.build().unwrap()).await;
    settled(&session).await;
    assert_eq!(told(&session, "other").await[0]["a"], 1);
    let broken = trial(&["say", "{broken"]).output(OutputFormat::JsonLines);
    let session = worker.run(broken.build().unwrap()).await;
    settled(&session).await;
    assert_eq!(printed(&session).await.0, "{broken\n");
}

#[tokio::test]
async fn a_terminal_is_one() {
    let worker = Worker::start().await;
    let session = worker.run(trial(&["terminal"]).terminal(40, 100).build().unwrap()).await;
    assert!(matches!(settled(&session).await, Settled::Completed(_)));
    assert_eq!(printed(&session).await.0, "40 100\non a terminal\n");
    // What it reads ends, with a text and without.
    for (text, expected) in [(Stdin::Closed, "end\n"), (Stdin::Text("a".to_owned()), "a")] {
        let spec = trial(&["echo-input"]).terminal(24, 80).stdin(text);
        let session = worker.run(spec.build().unwrap()).await;
        assert!(matches!(settled(&session).await, Settled::Completed(_)));
        let text = printed(&session).await.0;
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("end\n"), "{text}");
    }
}
