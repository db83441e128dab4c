//! What becomes of a session whose actor ends without a word, as it would if it panicked.

use std::time::Duration;

use super::Supervisor;
use crate::{
    model::{event::RunEnd, state::State},
    policy::{Backoff, Policy, RestartPolicy},
    report::ShutdownOutcome,
    session::SessionHandle,
    start::Start,
    store::MemoryStore,
    workload::{Context, Outcome, Run, Workload, WorkloadError},
};

const SECOND: Duration = Duration::from_secs(1);

/// Adds its inputs up, and takes a minute for each and a second to be gone.
struct Slow;

impl Workload for Slow {
    const KIND: &'static str = "slow";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            tokio::time::sleep(60 * SECOND).await;
            *cx.state_mut() += *number;
        }
        Ok(Outcome::Yielded)
    }

    async fn close(&self, _: &Run, _: &RunEnd) {
        tokio::time::sleep(SECOND).await;
    }
}

async fn at_work(backoff: Backoff) -> (Supervisor, SessionHandle<Slow>) {
    let restart = RestartPolicy { backoff, ..RestartPolicy::default() };
    let policy = Policy::builder().restart(restart).build().expect("a policy");
    let builder = Supervisor::builder(MemoryStore::new()).workload(Slow).policy(policy);
    let worker = builder.start().await.expect("a worker");
    let start = Start::<Slow>::new(0).input(1);
    let session = worker.start(start).await.expect("a session").into_handle();
    tokio::time::sleep(SECOND).await;
    (worker, session)
}

/// Ends the only actor of a session.
fn lose_actor(worker: &Supervisor) {
    let supervisor = worker.core().supervisor().expect("there is one");
    let actors = supervisor.get_cell().get_children();
    assert_eq!(actors.len(), 1);
    actors[0].kill();
}

async fn last_end(session: &SessionHandle<Slow>) -> Option<RunEnd> {
    let status = session.status().await.expect("a status");
    let runs = status.state() == State::Active;
    assert_eq!(status.record().runs.since.is_some(), runs);
    status.record().runs.last.as_ref().map(|last| last.end.clone())
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_actor_is_lost_has_failed_and_is_replaced() {
    let (worker, session) = at_work(Backoff::NONE).await;
    lose_actor(&worker);
    tokio::time::sleep(SECOND).await;
    let end = last_end(&session).await;
    assert!(matches!(end, Some(RunEnd::Panicked { .. })), "{end:?}");
    let status = session.status().await.expect("a status");
    assert_eq!((status.state(), status.record().runs.restarts), (State::Active, 1));
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(session.snapshot().await.expect("a snapshot").state, 1, "the input had its effect");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_actor_is_lost_waits_out_its_backoff() {
    let backoff = Backoff { initial: 10 * SECOND, jitter: 0.0, ..Backoff::default() };
    let (worker, session) = at_work(backoff).await;
    lose_actor(&worker);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(session.status().await.expect("a status").record().runs.count, 1);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(session.status().await.expect("a status").record().runs.count, 2);
    tokio::time::sleep(120 * SECOND).await;
    assert_eq!(session.snapshot().await.expect("a snapshot").state, 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_actor_is_lost_in_a_shutdown_is_paused() {
    let (worker, session) = at_work(Backoff::NONE).await;
    let ending = tokio::spawn({
        let worker = worker.clone();
        async move { worker.shutdown(25 * SECOND).await }
    });
    tokio::time::sleep(SECOND).await;
    lose_actor(&worker);
    let report = ending.await.expect("a report");
    assert_eq!(report.lines.len(), 1, "{report}");
    assert_eq!(report.lines[0].session, session.id());
    let paused = matches!(
        report.lines[0].outcome,
        ShutdownOutcome::Rested { state: State::Paused, end: Some(_) }
    );
    assert!(paused, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_actor_is_lost_is_finished() {
    let (worker, session) = at_work(Backoff::NONE).await;
    let ticket = session.stop().await.expect("accepted");
    lose_actor(&worker);
    ticket.ended().await.expect("it is gone");
    assert!(matches!(last_end(&session).await, Some(RunEnd::Panicked { .. })));
    assert_eq!(session.status().await.expect("a status").state(), State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_stands_whose_actor_is_lost_after_it() {
    let (worker, session) = at_work(Backoff::NONE).await;
    session.complete().await.expect("done");
    lose_actor(&worker);
    tokio::time::sleep(SECOND).await;
    assert!(matches!(last_end(&session).await, Some(RunEnd::Panicked { .. })));
    assert_eq!(session.status().await.expect("a status").state(), State::Completed);
}
