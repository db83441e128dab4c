//! What the tests of sessions share: a worker that can be crashed and replaced, for the scripted
//! workload of the test kit.

use std::time::Duration;

use sessionkeeper::{
    Builder, EventRecord, Fact, Lifecycle, Policy, SessionHandle, Start, State, Supervisor,
    hooks::Hook, store::MemoryStore,
};

pub(crate) use sessionkeeper::testing::{Do, Done, Scripted};

/// A worker on a store in memory, which survives it.
pub(crate) struct Worker {
    pub(crate) store: MemoryStore,
    pub(crate) workload: Scripted,
    pub(crate) supervisor: Supervisor,
}

pub(crate) const BUDGET: Duration = Duration::from_secs(25);

impl Worker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    pub(crate) async fn with_policy(policy: Policy) -> Self {
        Self::start_with(|builder| builder.policy(policy)).await
    }

    pub(crate) async fn start_with(set: impl FnOnce(Builder) -> Builder) -> Self {
        Self::on(MemoryStore::new(), Scripted::default(), set).await
    }

    pub(crate) async fn on(
        store: MemoryStore,
        workload: Scripted,
        set: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let builder = Supervisor::builder(store.clone()).workload(workload.clone()).seed(7);
        let supervisor = set(builder).start().await.unwrap();
        Self { store, workload, supervisor }
    }

    /// Drops the supervisor, which equals a crash, and starts the next one.
    pub(crate) async fn crash_and_restart(self) -> Self {
        self.crash_and_restart_with(|builder| builder).await
    }

    pub(crate) async fn crash_and_restart_with(self, set: impl FnOnce(Builder) -> Builder) -> Self {
        let Self { store, workload, supervisor } = self;
        drop(supervisor);
        let worker = Self::on(store, workload, set).await;
        worker.supervisor.recovered().await.unwrap();
        worker
    }

    /// Shuts down and starts the next one.
    pub(crate) async fn replace(self) -> Self {
        self.supervisor.shutdown(BUDGET).await;
        let worker = Self::on(self.store, self.workload, |builder| builder).await;
        worker.supervisor.recovered().await.unwrap();
        worker
    }

    pub(crate) async fn session(&self) -> SessionHandle<Scripted> {
        self.session_with(|start| start).await
    }

    pub(crate) async fn session_with(
        &self,
        set: impl FnOnce(Start<Scripted>) -> Start<Scripted>,
    ) -> SessionHandle<Scripted> {
        let start = set(Start::new(Done::default()));
        self.supervisor.start(start).await.unwrap().into_handle()
    }

    /// The same session, seen by this worker.
    pub(crate) async fn again(&self, session: &SessionHandle<Scripted>) -> SessionHandle<Scripted> {
        self.supervisor.session(session.id()).await.unwrap().typed().unwrap()
    }
}

/// Waits, for an hour at most, until the session has nothing to do: every input is consumed and it
/// is idle or at rest.
pub(crate) async fn drained(session: &SessionHandle<Scripted>) -> Done {
    let began = tokio::time::Instant::now();
    loop {
        let status = session.status().await.unwrap();
        if status.record().inbox.waiting() == 0 {
            return session.snapshot().await.unwrap().state;
        }
        assert!(began.elapsed().as_secs() < 3600, "it is not worked off: {:?}", status.record());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number that the environment sets: a size, or a seed.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text:?}")))
}

/// The hooks that the log of a session calls for, in order: each with the number of its event.
pub(crate) fn owed_hooks(events: &[EventRecord]) -> Vec<(Hook, u64)> {
    let mut owed: Vec<(Hook, u64)> = Vec::new();
    let (mut has_begun, mut is_open) = (false, false);
    for event in events {
        let at = event.sequence;
        match &event.fact {
            Fact::Lifecycle(Lifecycle::RunEnded { .. }) => owed.push((Hook::AfterRun, at)),
            Fact::Lifecycle(Lifecycle::StateChanged { from, to, .. }) => {
                let ends = to.has_ended() && !from.has_ended();
                let after = owed.pop_if(|last| ends && *last == (Hook::AfterRun, at - 1));
                if *to == State::Active && (!has_begun || *from == State::Stopped) {
                    has_begun = true;
                    owed.push((Hook::SessionStart, at));
                }
                owed.push((Hook::StateChanged, at));
                if ends {
                    owed.push((Hook::SessionEnd, at));
                }
                owed.extend(after);
                is_open = *to == State::Active || is_open && !to.has_ended();
            }
            // Who was stopped, or has never run, has nothing left that could end.
            Fact::Lifecycle(Lifecycle::Deleted { .. }) if is_open => {
                owed.push((Hook::SessionEnd, at));
            }
            _ => {}
        }
    }
    owed
}
