//! What the tests of the guarantees share: a store that can be cut off, a workload made of one
//! closure, and a runtime that may be blocked.

use std::{
    future::pending,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use sessionkeeper::{
    Backoff, Builder, Context, EventRecord, Fact, InputId, Lifecycle, Outcome, Policy,
    RestartPolicy, Run, RunEnd, Session, SessionHandle, SessionId, SessionRecord, Start,
    StoredInput, SupervisedTime, Supervisor, WorkerGeneration, Workload, WorkloadError,
    store::{
        AcceptedInput, Batch, Damage, Due, Key, MemoryStore, Opened, Page, Query, Refusal, Store,
        StoreError, StoreFuture,
    },
};
use tokio::sync::watch;

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A policy that restarts at once and for a long time.
pub(crate) fn tireless() -> RestartPolicy {
    RestartPolicy {
        max_restarts: 1000,
        max_without_checkpoint: 1000,
        backoff: Backoff::NONE,
        ..RestartPolicy::default()
    }
}

pub(crate) fn restarting(restart: RestartPolicy) -> Policy {
    Policy::builder().restart(restart).build().unwrap()
}

/// When a [`Tap`] is cut off: the worker hears nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the commit is done.
    Before,
    /// After it is done, and before it is answered.
    After,
}

/// A store around a [`MemoryStore`] that counts commits, holds up their answers, and can be cut
/// off as by a crash.
#[derive(Clone)]
pub(crate) struct Tap {
    pub(crate) store: MemoryStore,
    valve: Arc<Valve>,
}

struct Valve {
    commits: AtomicU64,
    cut: Mutex<Option<(u64, Cut)>>,
    is_cut: AtomicBool,
    held: watch::Sender<bool>,
    latency: Mutex<Option<fastrand::Rng>>,
    failing_snapshots: AtomicU32,
    panics: AtomicU32,
}

impl Tap {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            valve: Arc::new(Valve {
                commits: AtomicU64::new(0),
                cut: Mutex::new(None),
                is_cut: AtomicBool::new(false),
                held: watch::Sender::new(false),
                latency: Mutex::new(None),
                failing_snapshots: AtomicU32::new(0),
                panics: AtomicU32::new(0),
            }),
        }
    }

    /// Answers so many batches of commits, and then no more.
    pub(crate) fn cut_after(commits: u64, cut: Cut) -> Self {
        let tap = Self::new();
        *tap.valve.cut.lock().unwrap() = Some((commits, cut));
        tap
    }

    /// Makes each commit slow, before it is done and after.
    pub(crate) fn slow(seed: u64) -> Self {
        let tap = Self::new();
        *tap.valve.latency.lock().unwrap() = Some(fastrand::Rng::with_seed(seed));
        tap
    }

    pub(crate) fn was_cut(&self) -> bool {
        self.valve.is_cut.load(Ordering::SeqCst)
    }

    /// How many batches were done.
    pub(crate) fn commits(&self) -> u64 {
        self.valve.commits.load(Ordering::SeqCst)
    }

    /// Commits are done, and not answered until this is called with `false`.
    pub(crate) fn hold_answers(&self, held: bool) {
        self.valve.held.send_replace(held);
    }

    /// The next reads of a snapshot fail in a way that may pass.
    pub(crate) fn fail_snapshots(&self, count: u32) {
        self.valve.failing_snapshots.store(count, Ordering::SeqCst);
    }

    /// The next commits panic.
    pub(crate) fn panic_in_commits(&self, count: u32) {
        self.valve.panics.store(count, Ordering::SeqCst);
    }

    async fn lag(&self) {
        let lag = self.valve.latency.lock().unwrap().as_mut().map(|rng| rng.u64(0..20));
        if let Some(lag) = lag {
            tokio::time::sleep(millis(lag)).await;
        }
    }
}

impl Store for Tap {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        self.store.begin(generation)
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        Box::pin(async move {
            self.lag().await;
            let panics = &self.valve.panics;
            let left =
                panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            assert!(left.is_err(), "told to panic");
            if batch.commits.is_empty() && !self.was_cut() {
                return self.store.commit(batch).await;
            }
            let cut = *self.valve.cut.lock().unwrap();
            let number = self.commits();
            if let Some((after, how)) = cut
                && number >= after
            {
                if how == Cut::After && !self.was_cut() {
                    let _ = self.store.commit(batch).await;
                }
                self.valve.is_cut.store(true, Ordering::SeqCst);
                return pending().await;
            }
            let answers = self.store.commit(batch).await;
            self.valve.commits.fetch_add(1, Ordering::SeqCst);
            self.lag().await;
            let mut held = self.valve.held.subscribe();
            let _ = held.wait_for(|held| !held).await;
            answers
        })
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        self.store.load(session)
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        self.store.find(key)
    }

    fn list(&self, query: Query) -> StoreFuture<'_, Page> {
        self.store.list(query)
    }

    fn due(
        &self,
        lane: sessionkeeper::Lane,
        until: SupervisedTime,
        limit: usize,
    ) -> StoreFuture<'_, Vec<Due>> {
        self.store.due(lane, until, limit)
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        let failing = &self.valve.failing_snapshots;
        let fails = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Box::pin(async { Err(StoreError::unavailable("reading", "told to fail")) });
        }
        self.store.snapshot(session, sequence)
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        self.store.inputs(session, after, limit)
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        self.store.accepted(session, id)
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        self.store.events(session, range, limit)
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        self.store.damaged()
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        self.store.heal()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.store.close()
    }
}

/// What a run comes to.
pub(crate) type Ran = Result<Outcome, WorkloadError>;

type Body = dyn for<'a> Fn(&'a mut Context<Custom>) -> BoxFuture<'a, Ran> + Send + Sync;
type Closing = dyn for<'a> Fn(&'a Run, &'a RunEnd) -> BoxFuture<'a, ()> + Send + Sync;

/// A workload whose run is a closure. Its state is a list of numbers, and its inputs are numbers.
#[derive(Clone)]
pub(crate) struct Custom {
    body: Arc<Body>,
    closing: Arc<Closing>,
    /// How its runs ended, as their clean-up was told.
    pub(crate) ends: Arc<Mutex<Vec<RunEnd>>>,
}

impl Custom {
    pub(crate) fn new<F>(body: F) -> Self
    where
        F: for<'a> Fn(&'a mut Context<Self>) -> BoxFuture<'a, Ran> + Send + Sync + 'static,
    {
        Self {
            body: Arc::new(body),
            closing: Arc::new(|_, _| Box::pin(async {})),
            ends: Arc::default(),
        }
    }

    /// Sets the clean-up.
    pub(crate) fn closing<F>(self, closing: F) -> Self
    where
        F: for<'a> Fn(&'a Run, &'a RunEnd) -> BoxFuture<'a, ()> + Send + Sync + 'static,
    {
        Self { closing: Arc::new(closing), ..self }
    }

    pub(crate) fn ends(&self) -> Vec<RunEnd> {
        self.ends.lock().unwrap().clone()
    }
}

impl Workload for Custom {
    const KIND: &'static str = "custom";
    const STATE_VERSION: u32 = 1;
    type State = Vec<u64>;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Ran {
        (self.body)(cx).await
    }

    async fn close(&self, run: &Run, end: &RunEnd) {
        self.ends.lock().unwrap().push(end.clone());
        (self.closing)(run, end).await;
    }
}

/// Collects its inputs in its state.
pub(crate) async fn collect(cx: &mut Context<Custom>) -> Ran {
    while let Some(number) = cx.next_input().await? {
        cx.state_mut().push(*number);
    }
    Ok(Outcome::Yielded)
}

pub(crate) async fn start_on<W: Workload>(
    store: impl Store,
    workload: W,
    set: impl FnOnce(Builder) -> Builder,
) -> Supervisor {
    let builder = Supervisor::builder(store).workload(workload).seed(7);
    set(builder).start().await.unwrap()
}

pub(crate) async fn custom(supervisor: &Supervisor) -> SessionHandle<Custom> {
    supervisor.start(Start::<Custom>::new(Vec::new())).await.unwrap().into_handle()
}

pub(crate) async fn custom_with(supervisor: &Supervisor, input: u64) -> SessionHandle<Custom> {
    let start = Start::<Custom>::new(Vec::new()).input(input);
    supervisor.start(start).await.unwrap().into_handle()
}

/// A runtime of their own for workloads, which may be blocked when the test ends. Its time is
/// real.
pub(crate) struct OwnRuntime(Option<tokio::runtime::Runtime>);

impl OwnRuntime {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self(Some(runtime))
    }

    pub(crate) fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().unwrap().handle().clone()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits for another thread while virtual time stands still.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..20_000_000_u32 {
        if done() {
            return;
        }
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
    panic!("waited in vain until {what}");
}

/// The whole log of a session.
pub(crate) async fn log(session: &Session) -> Vec<EventRecord> {
    session.events(1..=u64::MAX, usize::MAX).await.unwrap()
}

/// What the library recorded about a session.
pub(crate) async fn lifecycle(session: &Session) -> Vec<Lifecycle> {
    let events = log(session).await;
    events
        .into_iter()
        .filter_map(|event| match event.fact {
            Fact::Lifecycle(what) => Some(what),
            Fact::Work(_) | Fact::Usage(_) => None,
        })
        .collect()
}

/// How the runs of a session ended.
pub(crate) async fn run_ends(session: &Session) -> Vec<RunEnd> {
    let all = lifecycle(session).await;
    all.into_iter()
        .filter_map(|what| if let Lifecycle::RunEnded { how } = what { Some(how) } else { None })
        .collect()
}
