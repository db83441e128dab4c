//! A worker that a test crashes and reopens.

use std::{fmt, panic::Location, sync::Arc, time::Duration};

use chrono::DateTime;
use tokio::{sync::watch, time::Instant};

use super::{CrashPoint, FaultyStore, Place, WallClock};
use crate::{
    Builder, RecoveryReport, Session, SessionHandle, ShutdownReport, Status, Supervisor, Workload,
    store::MemoryStore,
};

/// What a shutdown may take.
const BUDGET: Duration = Duration::from_secs(25);
/// The longest that anything is waited for, where time is paused and where it is real.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
const REAL_PATIENCE: Duration = Duration::from_secs(60);

pub(super) type Configure = Arc<dyn Fn(Builder) -> Builder + Send + Sync>;

/// A worker of a test, on a store that outlives it: it is crashed, or shut down, and reopened, as
/// often as the test likes.
///
/// The store is kept at a [`Place`], by default in memory, and each worker has it behind a new
/// [`FaultyStore`]. The jitter of its workers is seeded and their [`WallClock`] starts at the same
/// moment each time, so that ids repeat too.
///
/// It belongs on paused time, see [`block_on`](super::block_on), unless the store of the place
/// needs [real time](Place::PAUSED_TIME).
///
/// ```
/// use sessionkeeper::testing::{Do, Harness, Scripted, block_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// block_on(async {
///     let mut harness = Harness::start(|builder| builder.workload(Scripted::default())).await;
///     let start = Scripted::start().input(Do::Add(1));
///     let session = harness.supervisor().start(start).await?.into_handle();
///     harness.crash_and_reopen().await;
///
///     let session = harness.again(&session).await; // the same, seen by the next worker
///     session.send(Do::Add(1)).await?;
///     assert_eq!(harness.drained(&session).await.sum, 2);
///     Ok(())
/// })
/// # }
/// ```
///
/// # Panics
///
/// A test is told of what goes wrong by a panic: where a store cannot be opened, a worker does not
/// start, or something is waited for in vain.
///
/// # Cancel safety
///
/// Where a future that reopens is dropped, no worker is open: reopen again.
pub struct Harness<P: Place = MemoryStore> {
    place: P,
    configure: Configure,
    clock: WallClock,
    worker: Option<Worker<P>>,
    /// Where a worker is to be lost, by the commits of all of them.
    crash_at: Option<CrashPoint>,
    crashes: watch::Sender<bool>,
    /// The commits of the workers before the present one.
    commits: u64,
}

struct Worker<P: Place> {
    store: FaultyStore<P::Store>,
    /// None while it starts.
    supervisor: Option<Supervisor>,
}

impl Harness {
    /// Starts a worker on a new store in memory. The closure registers the workloads and makes
    /// all settings; it is called again at each reopening.
    pub async fn start(configure: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        Self::start_at(MemoryStore::new(), configure).await
    }
}

impl<P: Place> Harness<P> {
    /// Starts a worker on what is at this place.
    pub async fn start_at(
        place: P,
        configure: impl Fn(Builder) -> Builder + Send + Sync + 'static,
    ) -> Self {
        let mut harness = Self::closed(place, Arc::new(configure));
        harness.open().await;
        harness
    }

    /// Without a worker.
    pub(super) fn closed(place: P, configure: Configure) -> Self {
        let began = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        Self {
            place,
            configure,
            clock: WallClock::starting_at(began),
            worker: None,
            crash_at: None,
            crashes: watch::Sender::new(false),
            commits: 0,
        }
    }

    /// The supervisor of the present worker.
    ///
    /// # Panics
    /// Where no worker is open.
    pub fn supervisor(&self) -> &Supervisor {
        let supervisor = self.worker.as_ref().and_then(|worker| worker.supervisor.as_ref());
        supervisor.expect("a worker is open: reopen after a crash or a shutdown")
    }

    /// The store of the present worker, to interfere with. The next worker has another one around
    /// the same place. A clone that is kept keeps its inner store open.
    ///
    /// # Panics
    /// Where no worker is open.
    pub fn store(&self) -> &FaultyStore<P::Store> {
        let store = self.worker.as_ref().map(|worker| &worker.store);
        store.expect("a worker is open: reopen after a crash or a shutdown")
    }

    /// Where the store is kept.
    pub const fn place(&self) -> &P {
        &self.place
    }

    /// The wall clock of all workers.
    pub const fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// How many batches of commits were given to the stores of all workers, as a [`CrashPoint`]
    /// counts them.
    pub fn commits(&self) -> u64 {
        self.commits + self.worker.as_ref().map_or(0, |worker| worker.store.commits())
    }

    /// Makes other settings for the workers from the next reopening on: another policy, a newer
    /// version of a workload, or none of it.
    pub fn configure(&mut self, configure: impl Fn(Builder) -> Builder + Send + Sync + 'static) {
        self.configure = Arc::new(configure);
    }

    /// Ends the worker as a kill would: from now on nothing of it reaches the store, its runs are
    /// cancelled, and its store is dropped. On return the place is free.
    ///
    /// Unlike a kill it leaves what does not end by being dropped: clean-ups of runs that wait for
    /// something, runs on a runtime of their own, and tasks that the test itself has spawned.
    /// [`CrashSweep`](super::CrashSweep) ends them too.
    pub async fn crash(&mut self) {
        let Some(Worker { store, supervisor }) = self.worker.take() else {
            return;
        };
        store.fence();
        if let Some(supervisor) = supervisor {
            supervisor.crash();
        }
        self.retire(store).await;
    }

    /// Shuts the worker down, with a budget of 25 s, and says what became of its sessions. On
    /// return the place is free.
    ///
    /// # Panics
    /// Where no worker is open.
    pub async fn shutdown(&mut self) -> Arc<ShutdownReport> {
        let report = self.supervisor().shutdown(BUDGET).await;
        self.crash().await;
        report
    }

    /// Opens the place for the next worker, waits until it has taken up what the last one left,
    /// and says what that was. A worker that is still open is crashed.
    pub async fn reopen(&mut self) -> Arc<RecoveryReport> {
        self.crash().await;
        self.open().await;
        let recovered = tokio::time::timeout(patience::<P>(), self.supervisor().recovered()).await;
        let recovered = recovered.expect("the recovery comes to an end");
        recovered.expect("the worker lives until its recovery has come to an end")
    }

    /// [Crashes](Self::crash) and [reopens](Self::reopen).
    pub async fn crash_and_reopen(&mut self) -> Arc<RecoveryReport> {
        self.reopen().await
    }

    /// [Shuts down](Self::shutdown) and [reopens](Self::reopen).
    pub async fn shutdown_and_reopen(&mut self) -> Arc<RecoveryReport> {
        self.shutdown().await;
        self.reopen().await
    }

    /// The same session, seen by the present worker.
    ///
    /// # Panics
    /// Where there is no such session, or its kind is not registered any more.
    pub async fn again<W: Workload>(&self, session: &SessionHandle<W>) -> SessionHandle<W> {
        let found = self.supervisor().session(session.id()).await.and_then(Session::typed);
        found.unwrap_or_else(|error| panic!("the session is not there again: {error}"))
    }

    /// Waits until the status of a session is as the test says, and gives it.
    ///
    /// It looks every 10 ms, and after a second more and more rarely, so what a session only passes
    /// through may be missed.
    ///
    /// # Panics
    /// After six hours of paused time, or a minute of real time, with what the session is doing
    /// instead; and where the status cannot be read.
    #[track_caller]
    pub fn until(
        &self,
        session: &Session,
        is: impl Fn(&Status) -> bool + Send,
    ) -> impl Future<Output = Status> + Send {
        let called = Location::caller();
        wait(session.clone(), is, patience::<P>(), called)
    }

    /// Waits until a session has worked off all its inputs, and gives its committed state.
    ///
    /// # Panics
    /// As [`until`](Self::until), and where the state cannot be read.
    #[track_caller]
    pub fn drained<W: Workload>(
        &self,
        session: &SessionHandle<W>,
    ) -> impl Future<Output = W::State> + Send {
        let called = Location::caller();
        let session = session.clone();
        let all = |status: &Status| status.record().inbox.waiting() == 0;
        let drained = wait(Session::clone(&session), all, patience::<P>(), called);
        async move {
            drained.await;
            let snapshot = session.snapshot().await;
            snapshot.unwrap_or_else(|error| panic!("the state cannot be read: {error}")).state
        }
    }

    async fn open(&mut self) {
        let store = FaultyStore::signalling(self.place.open().await, self.crashes.clone());
        if let Some(point) = self.crash_at.and_then(|point| point.after(self.commits)) {
            store.crash_at(point);
        }
        let builder = Supervisor::builder(store.clone()).seed(7).wall_clock(self.clock.clone());
        let worker = self.worker.insert(Worker { store, supervisor: None });
        let started = (self.configure)(builder).start().await;
        worker.supervisor =
            Some(started.unwrap_or_else(|error| panic!("the worker does not start: {error}")));
    }

    /// Waits until nothing uses a store any more.
    async fn retire(&mut self, store: FaultyStore<P::Store>) {
        self.commits += store.commits();
        let in_use = store.in_use();
        drop(store);
        let mut tasks = Tasks::of_this_runtime();
        // Its last users are tasks that were aborted, and end as soon as they are looked at. A
        // task of the test may keep it for longer, and then opening it again fails.
        for _ in 0..100_000 {
            if in_use.strong_count() == 0 && tasks.are_quiet() {
                return;
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }

    /// From the next opening on, a worker is lost there.
    pub(super) const fn crash_at(&mut self, point: Option<CrashPoint>) {
        self.crash_at = point;
    }

    /// Hears of the crash at the point.
    pub(super) fn crashes(&self) -> watch::Receiver<bool> {
        self.crashes.subscribe()
    }

    /// Sets the clock for another runtime, whose time begins anew.
    pub(super) fn set_clock(&mut self, clock: WallClock) {
        self.clock = clock;
    }
}

impl<P: Place> fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness")
            .field("open", &self.worker.is_some())
            .field("commits", &self.commits())
            .finish_non_exhaustive()
    }
}

pub(super) const fn patience<P: Place>() -> Duration {
    if P::PAUSED_TIME { PATIENCE } else { REAL_PATIENCE }
}

/// Watches how tasks end.
struct Tasks {
    metrics: tokio::runtime::RuntimeMetrics,
    alive: usize,
    quiet: u32,
}

impl Tasks {
    fn of_this_runtime() -> Self {
        let metrics = tokio::runtime::Handle::current().metrics();
        Self { alive: metrics.num_alive_tasks(), metrics, quiet: 0 }
    }

    /// Whether no task has ended the last times that this was asked.
    fn are_quiet(&mut self) -> bool {
        let alive = self.metrics.num_alive_tasks();
        self.quiet = if alive == self.alive { self.quiet + 1 } else { 0 };
        self.alive = alive;
        self.quiet >= 20
    }
}

async fn wait(
    session: Session,
    is: impl Fn(&Status) -> bool,
    patience: Duration,
    called: &'static Location<'static>,
) -> Status {
    let began = Instant::now();
    loop {
        let status = session.status().await;
        let status =
            status.unwrap_or_else(|error| panic!("{called}: the status cannot be read: {error}"));
        if is(&status) {
            return status;
        }
        let waited = began.elapsed();
        let record = status.record();
        assert!(
            waited < patience,
            "{called}: waited in vain for {waited:?}: session {} is {} ({}), with {} inputs \
             waiting, after {} runs; its last moves: {:#?}",
            session.id(),
            status.state(),
            status.activity(),
            record.inbox.waiting(),
            record.runs.count,
            record.history,
        );
        let step = (waited / 100).clamp(Duration::from_millis(10), Duration::from_secs(60));
        tokio::time::sleep(step).await;
    }
}
