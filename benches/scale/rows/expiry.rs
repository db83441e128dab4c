//! How late the verdict on silent sessions is: from the deadline to the moment at which the run is
//! called silent, which a line in the traces tells; and to that at which its future is gone. The commit
//! that follows is not waited for.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, stream};
use sessionkeeper::{
    Context, Outcome, Policy, SessionHandle, Start, State, Supervisor, Workload, WorkloadError,
    store::SledStore,
};
use tokio::time::Instant;
use tracing::{
    Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

use crate::{
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, CALLERS},
};

pub(crate) const ROW: Row = Row {
    name: "expiry",
    what: "lateness of the verdict on silent sessions; spread: 10,000 a second; at once: all",
    floor: "lateness of as many tasks that sleep",
    figures: &[
        Figure { name: "spread p99", unit: Unit::Time, reach: Reach::Above(5e6) },
        Figure { name: "spread p99.9", unit: Unit::Time, reach: Reach::Above(10e6) },
        Figure { name: "at once p99", unit: Unit::Time, reach: Reach::Above(5e6) },
        Figure { name: "at once p99.9", unit: Unit::Time, reach: Reach::Above(10e6) },
        Figure { name: "at once gone p99", unit: Unit::Time, reach: Reach::Above(1e9) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// How many deadlines there are in a second, where they are spread.
const RATE: usize = 10_000;
/// How much too early a deadline in whole milliseconds can be, and a little.
const EARLY: Duration = Duration::from_millis(2);
/// All that is late is here by then.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let mut readings = Readings::default();
    let verdicts = Verdicts::listen()?;
    for (when, name) in [(When::Spread, "spread"), (When::AtOnce, "at once")] {
        let (mut late, mut gone) = match side {
            Side::Ours => ours(scene, when, &verdicts).await?,
            Side::Floor => {
                let late = floor(scene.sessions, when).await?;
                (late.clone(), late)
            }
        };
        readings = readings
            .time(&format!("{name} p99"), late.quantile(0.99))
            .time(&format!("{name} p99.9"), late.quantile(0.999))
            .time(&format!("{name} gone p99"), gone.quantile(0.99));
    }
    Ok(readings)
}

/// When deadlines are.
#[derive(Clone, Copy)]
enum When {
    Spread,
    AtOnce,
}

impl When {
    /// How long one of the sessions may be silent: long enough for all to be brought up.
    fn timeout(self, number: usize, sessions: usize) -> Duration {
        let base = Duration::from_secs(5) + Duration::from_micros(30) * sessions as u32;
        match self {
            Self::Spread => base + Duration::from_secs(1) * number as u32 / RATE as u32,
            Self::AtOnce => base,
        }
    }
}

/// How late the verdicts were, and the ends of the futures.
async fn ours(scene: &Scene, when: When, verdicts: &Verdicts) -> anyhow::Result<(Times, Times)> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let board = Arc::new(Board::new(scene.sessions));
    let supervisor = Supervisor::builder(SledStore::open(folder.path())?)
        .workload(Silent { board: Arc::clone(&board) })
        .start()
        .await?;
    let sessions = start(&supervisor, scene.sessions, when).await?;
    board.all_begun().await?;
    verdicts.expect(sessions.len());
    // The last signs of all, close to one another.
    let mut deadlines = Vec::with_capacity(sessions.len());
    for (number, session) in sessions.iter().enumerate() {
        deadlines.push(Instant::now() + when.timeout(number, sessions.len()));
        session.heartbeat()?;
    }
    let gone = board.lateness(&deadlines).await?;
    let late = verdicts.lateness(&deadlines)?;
    // Looking at all of them would take longer than all of the rest.
    for session in sessions.iter().step_by(sessions.len().div_ceil(1_000)) {
        let status = session.wait_for(&[State::Expired]).await?;
        ensure!(status.record().runs.restarts == 0, "{} ran again", session.id());
    }
    Ok((late, gone))
}

/// Starts all, and gives signs of life for them meanwhile.
async fn start(
    supervisor: &Supervisor,
    count: usize,
    when: When,
) -> anyhow::Result<Vec<SessionHandle<Silent>>> {
    let bar = workloads::progress("start", count);
    let mut sessions: Vec<SessionHandle<Silent>> = Vec::with_capacity(count);
    let mut signs = Instant::now();
    while sessions.len() < count {
        let numbers = sessions.len()..count.min(sessions.len() + 8 * CALLERS);
        let started = stream::iter(numbers)
            .map(async |number| {
                let timeout = when.timeout(number, count);
                let policy = Policy::builder().heartbeat_timeout(timeout).build()?;
                let start = Start::<Silent>::new(number).policy(policy);
                Ok::<_, anyhow::Error>(supervisor.start(start).await?.into_handle())
            })
            .buffered(CALLERS)
            .try_collect::<Vec<_>>()
            .await?;
        bar.inc(started.len() as u64);
        sessions.extend(started);
        if signs.elapsed() > Duration::from_millis(500) {
            signs = Instant::now();
            for session in &sessions {
                // A run that has not begun yet gives its first sign by itself.
                let _ = session.heartbeat();
            }
        }
    }
    bar.finish_and_clear();
    Ok(sessions)
}

async fn floor(count: usize, when: When) -> anyhow::Result<Times> {
    let board = Arc::new(Board::new(count));
    let now = Instant::now();
    let deadlines: Vec<_> = (0..count).map(|number| now + when.timeout(number, count)).collect();
    for (number, deadline) in deadlines.iter().copied().enumerate() {
        let board = Arc::clone(&board);
        tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            board.note(number);
        });
    }
    board.lateness(&deadlines).await
}

/// Notes when runs are called silent, and hears of nothing else.
#[derive(Clone)]
struct Verdicts(Arc<Mutex<Vec<Instant>>>);

impl Verdicts {
    /// Listens from now on, to all of this process.
    fn listen() -> anyhow::Result<Self> {
        let verdicts = Self(Arc::default());
        tracing::subscriber::set_global_default(verdicts.clone())?;
        Ok(verdicts)
    }

    fn at(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for so many, and forgets those before.
    fn expect(&self, count: usize) {
        *self.at() = Vec::with_capacity(count);
    }

    /// How late they were. They fall in the order of the deadlines.
    fn lateness(&self, deadlines: &[Instant]) -> anyhow::Result<Times> {
        let heard = self.at();
        let all = deadlines.len();
        // One can be found silent by its alarm and by its actor at the same moment.
        ensure!(heard.len() >= all, "{} runs were called silent, and not {all}", heard.len());
        let mut deadlines = deadlines.to_vec();
        deadlines.sort_unstable();
        let mut late = Times::default();
        for (at, deadline) in heard.iter().copied().zip(deadlines) {
            ensure!(at + EARLY > deadline, "one was silent {:?} too early", deadline - at);
            late.push(at.saturating_duration_since(deadline));
        }
        Ok(late)
    }
}

impl Subscriber for Verdicts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sessionkeeper" && metadata.name() == "silent"
    }

    fn event(&self, _: &tracing::Event<'_>) {
        self.at().push(Instant::now());
    }

    // No span is enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// When each of them was over.
struct Board {
    origin: Instant,
    /// In nanoseconds since the origin, and how often.
    over: Vec<(AtomicU64, AtomicU64)>,
    count: AtomicU64,
    begun: AtomicU64,
}

impl Board {
    fn new(count: usize) -> Self {
        let over = (0..count).map(|_| Default::default()).collect();
        Self { origin: Instant::now(), over, count: AtomicU64::new(0), begun: AtomicU64::new(0) }
    }

    async fn all_begun(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.begun.load(Ordering::Acquire) < self.over.len() as u64 {
            ensure!(Instant::now() < until, "some did not begin");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn note(&self, number: usize) {
        let now = self.origin.elapsed();
        if let Some((at, times)) = self.over.get(number) {
            at.store(now.as_nanos() as u64, Ordering::Relaxed);
            times.fetch_add(1, Ordering::Release);
        }
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Waits until all are over, and says how late each was.
    async fn lateness(&self, deadlines: &[Instant]) -> anyhow::Result<Times> {
        let all = self.over.len() as u64;
        let last = deadlines.iter().max().copied().unwrap_or(self.origin);
        // One that was over before its time is found below.
        while self.count.load(Ordering::Acquire) < all && Instant::now() < last + PATIENCE {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut late = Times::default();
        for ((at, times), deadline) in self.over.iter().zip(deadlines) {
            let times = times.load(Ordering::Acquire);
            ensure!(times == 1, "one of {all} was over {times} times");
            let at = self.origin + Duration::from_nanos(at.load(Ordering::Relaxed));
            ensure!(at + EARLY > *deadline, "one was over {:?} too early", *deadline - at);
            late.push(at.saturating_duration_since(*deadline));
        }
        Ok(late)
    }
}

/// Gives no sign of life, ever.
struct Silent {
    board: Arc<Board>,
}

impl Workload for Silent {
    const KIND: &'static str = "silent";
    const STATE_VERSION: u32 = 1;
    /// Its number.
    type State = usize;
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        self.board.begun.fetch_add(1, Ordering::Release);
        let _over = Over { board: &self.board, number: *cx.state() };
        std::future::pending().await
    }
}

/// Notes when a run is over.
struct Over<'a> {
    board: &'a Board,
    number: usize,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.board.note(self.number);
    }
}
