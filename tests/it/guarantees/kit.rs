//! What the tests of the guarantees share: a store that fails on demand, a workload made of one
//! closure, and a runtime that may be blocked.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use sessionkeeper::{
    Backoff, Builder, Context, EventRecord, Fact, Lifecycle, Outcome, Policy, RestartPolicy, Run,
    RunEnd, Session, SessionHandle, Start, Supervisor, Workload, WorkloadError,
    store::{MemoryStore, Store},
    testing::{Call, FaultyStore, Interference},
};

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
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

/// A store in memory that fails on demand.
pub(crate) type Tap = FaultyStore<MemoryStore>;

pub(crate) fn tap() -> Tap {
    FaultyStore::new(MemoryStore::new())
}

/// Makes each commit slow, before it is done and after.
pub(crate) fn slow(seed: u64) -> Tap {
    let tap = tap();
    let mut rng = fastrand::Rng::with_seed(seed);
    tap.inject(move |call| match call {
        Call::Commit => {
            Interference::Delay { before: millis(rng.u64(0..20)), after: millis(rng.u64(0..20)) }
        }
        _ => Interference::None,
    });
    tap
}

/// Interferes with the next calls of a method.
pub(crate) fn next(tap: &Tap, count: u32, call: Call, interference: Interference) {
    for _ in 0..count {
        tap.next(call, interference);
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
