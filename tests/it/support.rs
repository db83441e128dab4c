//! What the tests of sessions share: a workload that does what its inputs say, and a worker that
//! can be crashed and replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Builder, Context, Event, Outcome, Policy, Run, RunEnd, SessionHandle, Start, Supervisor, Usage,
    Workload, WorkloadError, store::MemoryStore,
};

/// What a [`Scripted`] session has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) sum: i64,
    pub(crate) seen: Vec<u64>,
}

/// What a [`Scripted`] session is told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Do {
    /// Add to the sum.
    Add(i64),
    /// Add, then fail, on the first attempts.
    FailTimes(u32),
    /// Panic, on the first attempts.
    PanicTimes(u32),
    /// Fail for good.
    FailForGood,
    /// Fail with a wait of its own, once.
    FailAndRetryAfter(Duration),
    /// Complete.
    Complete,
    /// Ignore every request for this long, then complete.
    CompleteAfter(Duration),
    /// Ignore every request for this long, then fail, once.
    FailAfter(Duration),
    /// Return though nobody asked.
    Yield,
    /// Give no sign for this long.
    Silent(Duration),
    /// The same, declared.
    Busy { limit: Duration, takes: Duration },
    /// Wait for a person for this long.
    Await(Duration),
    /// Hang until it is cancelled, beating.
    Beat { every: Duration, times: u32 },
    /// Block the thread until the gate opens.
    Block,
    /// Save progress in the middle of the turn, then fail, once.
    SaveThenFail(i64),
    /// Emit so many events.
    Emit(u32),
    /// Record usage.
    Spend(u64),
    /// Ignore the request to yield for this long, then go on.
    Deaf(Duration),
    /// Grow the state by so many bytes.
    Grow(usize),
}

/// A workload that does what it is told, and counts what becomes of its runs.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    pub(crate) probe: Arc<Probe>,
}

/// What is known about all runs.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) runs: AtomicU32,
    pub(crate) live: AtomicU32,
    pub(crate) most_live: AtomicU32,
    pub(crate) closed: AtomicU32,
    /// How many runs have come to the gate.
    pub(crate) blocked: AtomicU32,
    pub(crate) gate: std::sync::Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl Probe {
    /// How many runs are alive.
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::SeqCst)
    }

    /// How many runs were alive at once, at most.
    pub(crate) fn most_live(&self) -> u32 {
        self.most_live.load(Ordering::SeqCst)
    }

    /// Whether a run waits at the gate.
    pub(crate) fn is_at_gate(&self) -> bool {
        self.gate.lock().unwrap().is_none()
    }

    /// Makes a gate; dropping the sender opens it.
    pub(crate) fn close_gate(&self) -> std::sync::mpsc::Sender<()> {
        let (open, gate) = std::sync::mpsc::channel();
        *self.gate.lock().unwrap() = Some(gate);
        open
    }
}

struct Alive<'a>(&'a Probe);

impl<'a> Alive<'a> {
    fn new(probe: &'a Probe) -> Self {
        probe.runs.fetch_add(1, Ordering::SeqCst);
        let live = probe.live.fetch_add(1, Ordering::SeqCst) + 1;
        probe.most_live.fetch_max(live, Ordering::SeqCst);
        Self(probe)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Workload for Scripted {
    const KIND: &'static str = "scripted";
    const STATE_VERSION: u32 = 1;
    type State = Done;
    type Input = Do;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _alive = Alive::new(&self.probe);
        while let Some(input) = cx.next_input().await? {
            let attempt = input.attempt();
            cx.state_mut().seen.push(input.sequence());
            match input.into_inner() {
                Do::Add(number) => cx.state_mut().sum += number,
                Do::FailTimes(times) => {
                    cx.state_mut().sum += 1;
                    if attempt <= times {
                        return Err("told to fail".into());
                    }
                }
                Do::PanicTimes(times) => {
                    cx.state_mut().sum += 1;
                    assert!(attempt > times, "told to panic");
                }
                Do::FailForGood => return Err(WorkloadError::permanent("told to fail for good")),
                Do::FailAndRetryAfter(wait) => {
                    if attempt == 1 {
                        return Err(WorkloadError::retry_after(wait, "told to wait"));
                    }
                }
                Do::Complete => return Ok(Outcome::Completed),
                Do::CompleteAfter(span) => {
                    tokio::time::sleep(span).await;
                    return Ok(Outcome::Completed);
                }
                Do::FailAfter(span) => {
                    tokio::time::sleep(span).await;
                    if attempt == 1 {
                        return Err("told to fail late".into());
                    }
                }
                Do::Yield => return Ok(Outcome::Yielded),
                Do::Silent(span) => tokio::time::sleep(span).await,
                Do::Busy { limit, takes } => {
                    cx.busy(limit, tokio::time::sleep(takes)).await?;
                }
                Do::Await(span) => {
                    let _waiting = cx.awaiting("an answer");
                    tokio::time::sleep(span).await;
                }
                Do::Beat { every, times } => {
                    for _ in 0..times {
                        tokio::time::sleep(every).await;
                        cx.heartbeat();
                    }
                }
                Do::Block => {
                    let gate = self.probe.gate.lock().unwrap().take();
                    if let Some(gate) = gate {
                        self.probe.blocked.fetch_add(1, Ordering::SeqCst);
                        let _ = gate.recv();
                    }
                }
                Do::SaveThenFail(number) => {
                    if attempt == 1 {
                        cx.state_mut().sum += number;
                        cx.save_progress().await?;
                        cx.state_mut().sum += 1_000_000;
                        return Err("told to fail after saving".into());
                    }
                }
                Do::Emit(count) => {
                    for index in 0..count {
                        cx.emit(Event::custom("tick", index)).await?;
                    }
                }
                Do::Spend(tokens) => cx.record_usage(Usage::tokens(tokens, 0)),
                Do::Deaf(span) => {
                    for _ in 0..span.as_secs() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        cx.heartbeat();
                    }
                }
                Do::Grow(bytes) => {
                    let more = vec![0; bytes / 2];
                    cx.state_mut().seen.extend(more);
                }
            }
        }
        Ok(Outcome::Yielded)
    }

    async fn close(&self, _: &Run, _: &RunEnd) {
        self.probe.closed.fetch_add(1, Ordering::SeqCst);
    }
}

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

/// Waits until the session has nothing to do: every input is consumed and it is idle or at rest.
pub(crate) async fn drained(session: &SessionHandle<Scripted>) -> Done {
    loop {
        let status = session.status().await.unwrap();
        if status.record().inbox.waiting() == 0 {
            return session.snapshot().await.unwrap().state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
