//! What is written to the trace: a span for each run, a line for each move, one for the end.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use sessionkeeper::store::Fault;

use crate::support::{Do, Worker};

#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Keeps the lines that this thread traces as long as the guards live.
pub(crate) fn traced() -> (Lines, (tracing::Dispatch, tracing::subscriber::DefaultGuard)) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .with_env_filter("sessionkeeper=info")
        .finish();
    // With one subscriber alone, a line that another test's thread comes to first would be taken
    // for one that nobody wants.
    let another = tracing::Dispatch::new(tracing_subscriber::registry());
    (lines, (another, tracing::subscriber::set_default(subscriber)))
}

#[tokio::test(start_paused = true)]
async fn each_move_is_one_line_and_the_end_sums_up() {
    let (lines, _tracing) = traced();
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Spend(812))).await;
    let run = session.status().await.unwrap().run().unwrap();
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.send(Do::Complete).await.unwrap();
    session.settled().await.unwrap();

    let all = lines.all();
    let of = |what: &str| {
        let id = format!("session={}", session.id());
        let found = all.iter().filter(|line| line.contains(what) && line.contains(&id));
        found.cloned().collect::<Vec<_>>()
    };
    let moves = [
        "from=pending to=active reason=\"asked\"",
        "from=active to=paused reason=\"asked\"",
        "from=paused to=active reason=\"asked\"",
        "from=active to=completed reason=\"workload\"",
    ];
    let moved = of("session moved");
    assert_eq!(moved.len(), moves.len(), "{all:#?}");
    for (line, expected) in moved.iter().zip(moves) {
        assert!(line.contains(expected), "{line}");
    }
    assert!(moved[0].contains(&format!("run={run}")), "{}", moved[0]);
    let ended = of("session ended");
    assert_eq!(ended.len(), 1, "{all:#?}");
    for expected in ["state=completed", "runs=2", "input_tokens=812", "active_ms="] {
        assert!(ended[0].contains(expected), "{}", ended[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_works_again_is_told_once() {
    let (lines, _tracing) = traced();
    let count = || lines.all().iter().filter(|line| line.contains("the store works again")).count();
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(count(), 0, "it never failed");
    worker.store.fail(Fault::NothingDone);
    session.send(Do::Add(1)).await.unwrap_err();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(count(), 0, "it still fails");
    worker.store.mend();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(count(), 1, "{:#?}", lines.all());
}
