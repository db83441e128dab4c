//! Workloads that do not let go when a session of theirs is forked.

use std::{sync::mpsc, time::Duration};

use sessionkeeper::{
    Context, Fork, ForkError, Outcome, SessionId, Start, State, Supervisor, UserCode, Workload,
    WorkloadError, store::MemoryStore,
};

use super::real_wait;
use crate::guarantees::kit::{OwnRuntime, secs};

/// Blocks its thread until the other end of the channel is dropped.
struct Deaf(std::sync::Mutex<mpsc::Receiver<()>>);

impl Workload for Deaf {
    const KIND: &'static str = "deaf";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }

    async fn on_fork(&self, _: SessionId, _: SessionId, (): &mut ()) -> Result<(), WorkloadError> {
        // Nothing is sent: the end of the wait is an error.
        let _ = self.0.lock().unwrap().recv();
        Ok(())
    }
}

/// G5: the caller hears of it in time, the thread is named, and the session goes on.
#[tokio::test]
async fn a_workload_that_blocks_its_thread_in_on_fork_holds_nobody_up() {
    let runtime = OwnRuntime::new();
    let (open, gate) = mpsc::channel();
    let store = MemoryStore::new();
    let supervisor = Supervisor::builder(store.clone())
        .workload(Deaf(std::sync::Mutex::new(gate)))
        .workload_runtime(runtime.handle())
        .start()
        .await
        .unwrap();
    let session = supervisor.start(Start::<Deaf>::new(())).await.unwrap().into_handle();
    let limit = Duration::from_millis(200);
    let asked = tokio::time::timeout(secs(60), session.fork(Fork::new().within(limit))).await;
    let error = asked.expect("it is answered").unwrap_err();
    assert!(matches!(error, ForkError::TookTooLong { .. }), "{error:?}");
    let named = || {
        let health = supervisor.health();
        let blocked = health.blocked_threads();
        blocked.iter().any(|it| it.session == session.id() && it.code == UserCode::OnFork)
    };
    real_wait("it is named", secs(60), named).await;
    session.pause().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Paused);
    // What it comes to in the end is nobody's.
    drop(open);
    real_wait("it is free", secs(60), || supervisor.health().blocked_threads().is_empty()).await;
    let all = supervisor.list(sessionkeeper::store::Query::default()).await.unwrap();
    assert_eq!(all.records.len(), 1);
    supervisor.shutdown(secs(25)).await;
}
