//! The life of a session, verb by verb.

use std::time::Duration;

use sessionkeeper::{
    Context, Outcome, PauseCause, Policy, RunEnd, Settled, Start, State, Supervisor, Workload,
    WorkloadError, store::MemoryStore,
};

use crate::support::{BUDGET, Do, Worker, drained};

#[tokio::test(start_paused = true)]
async fn a_session_works_off_its_inputs_and_rests() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    session.send(Do::Add(2)).await.unwrap();
    let receipt = session.send(Do::Add(3)).await.unwrap();
    assert_eq!(receipt.sequence, 3);
    let done = drained(&session).await;
    assert_eq!((done.sum, done.seen), (6, vec![1, 2, 3]));
    let status = session.status().await.unwrap();
    assert_eq!(status.activity().to_string(), "idle");
}

#[tokio::test(start_paused = true)]
async fn a_paused_session_resumes_where_it_was() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    drained(&session).await;
    let paused = session.pause().await.unwrap();
    assert!(paused.snapshot.is_some());
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Asked));
    session.send(Do::Add(10)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(session.status().await.unwrap().state(), State::Paused, "an input does not wake it");
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 11);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_session_keeps_its_snapshot_and_can_be_resumed() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(5))).await;
    drained(&session).await;
    let stop = session.stop().await.unwrap();
    let report = stop.ended().await.unwrap();
    assert_eq!(report.end, Some(RunEnd::Yielded));
    assert_eq!(session.status().await.unwrap().state(), State::Stopped);
    session.resume().await.unwrap();
    session.send(Do::Add(5)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 10);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_restarted_from_the_last_checkpoint() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    session.send(Do::PanicTimes(2)).await.unwrap();
    session.send(Do::Add(1)).await.unwrap();
    let done = drained(&session).await;
    assert_eq!((done.sum, done.seen), (3, vec![1, 2, 3]));
    let status = session.status().await.unwrap();
    assert_eq!(status.record().runs.restarts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_completes_is_settled() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Complete)).await;
    let settled = session.settled().await.unwrap();
    assert!(matches!(settled, Settled::Completed(_)), "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_pauses_and_the_next_worker_carries_on() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(5))).await;
    drained(&session).await;
    let report = worker.supervisor.shutdown(BUDGET).await;
    assert_eq!(report.lines.len(), 1, "{report}");
    let worker = worker.replace().await;
    let session = worker.again(&session).await;
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 6);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_nothing() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(5))).await;
    drained(&session).await;
    session.send(Do::Silent(Duration::from_secs(30))).await.unwrap();
    session.send(Do::Add(1)).await.unwrap();
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    let done = drained(&session).await;
    assert_eq!((done.sum, done.seen), (6, vec![1, 2, 3]));
}

/// Never asks for anything, never says anything.
struct Mute;

impl Workload for Mute {
    const KIND: &'static str = "mute";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_silent_from_the_first_moment_expires() {
    let timeout = Duration::from_secs(10);
    let supervisor = Supervisor::builder(MemoryStore::new())
        .workload(Mute)
        .policy(Policy::builder().heartbeat_timeout(timeout).build().unwrap())
        .start()
        .await
        .unwrap();
    let session = supervisor.start(Start::<Mute>::new(())).await.unwrap();
    let began = tokio::time::Instant::now();
    let settled = tokio::time::timeout(timeout * 2, session.settled()).await;
    let settled = settled.expect("it is found out").unwrap();
    assert!(matches!(settled, Settled::Expired(_)), "{settled:?}");
    let late = began.elapsed().saturating_sub(timeout);
    assert!(late <= Duration::from_millis(100), "{late:?} late");
}
