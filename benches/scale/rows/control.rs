//! A control call that goes through the mailbox of a session and back, and commits nothing: the
//! resume of a session that runs already.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use sessionkeeper::{
    Context, Outcome, SessionHandle, Start, Supervisor, Workload, WorkloadError, store::SledStore,
};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    floor::actors,
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Idle},
};

pub(crate) const ROW: Row = Row {
    name: "control",
    what: "a resume of a session that runs, of up to 10,000 in random order; loaded: while others commit 10,000 checkpoints a second",
    floor: "a call of a linked actor",
    figures: &[
        Figure { name: "p50", unit: Unit::Time, reach: Reach::AtMost(1.25) },
        Figure { name: "p99", unit: Unit::Time, reach: Reach::AtMost(1.5) },
        Figure { name: "loaded p99", unit: Unit::Time, reach: Reach::Below(20e6) },
        // How much of the load there was; the floor says how much there was to be.
        Figure { name: "load", unit: Unit::Rate, reach: Reach::AtLeast(0.9) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// How many calls are made on idle sessions.
const CALLS: usize = 200_000;
/// How many sessions write, and how many checkpoints a second they make together.
const WRITERS: u32 = 64;
const CHECKPOINTS: u32 = 10_000;
/// How long they get before they are measured, and how much a checkpoint writes.
const RUN_UP: Duration = Duration::from_millis(500);
const STATE: usize = 1 << 10;
/// How long it is from one call to the next while they do.
const PAUSE: Duration = Duration::from_millis(1);

fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let scene = scene.clone();
    // Where callers are in a worker: in a task.
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match side {
            Side::Ours => tokio::spawn(async move { ours(&scene).await }).await?,
            Side::Floor => tokio::spawn(async move { floor(&scene).await }).await?,
        }
    })
}

/// As many as a processor's own memory holds: else it is that of the machine that is measured.
fn called(scene: &Scene) -> usize {
    scene.sessions.min(100)
}

async fn ours(scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let committed = Arc::new(AtomicU64::new(0));
    let supervisor = Supervisor::builder(SledStore::open(folder.path())?)
        .workload(Idle)
        .workload(Writer { committed: Arc::clone(&committed) })
        .start()
        .await?;
    let mut sessions = workloads::start::<Idle>(&supervisor, called(scene), || ()).await?;
    // As they come in: not in the order in which they lie in memory.
    fastrand::shuffle(&mut sessions);
    workloads::all_run(&sessions).await?;
    let mut idle = Times::default();
    for session in sessions.iter().cycle().take(CALLS) {
        idle.of(session.resume()).await?;
    }

    let writers = write(&supervisor).await?;
    tokio::time::sleep(RUN_UP).await;
    let (before, began) = (committed.load(Ordering::Relaxed), Instant::now());
    let calls = scene.sessions.clamp(200, 5_000);
    let mut loaded = Times::default();
    for session in sessions.iter().cycle().take(calls) {
        loaded.of(session.resume()).await?;
        tokio::time::sleep(PAUSE).await;
    }
    let written = committed.load(Ordering::Relaxed) - before;
    let rate = written as f64 / began.elapsed().as_secs_f64();
    check(&writers, &committed).await?;
    Ok(Readings::default()
        .time("p50", idle.quantile(0.5))
        .time("p99", idle.quantile(0.99))
        .time("loaded p99", loaded.quantile(0.99))
        .and("load", rate))
}

async fn floor(scene: &Scene) -> anyhow::Result<Readings> {
    let parent = actors::parent().await;
    let mut all = actors::bring_up(&parent, called(scene)).await?;
    fastrand::shuffle(&mut all);
    let (mut times, mut answers) = (Times::default(), 0);
    for pair in all.iter().cycle().take(CALLS) {
        answers += u64::from(times.of(pair.call()).await? > 0);
    }
    ensure!(answers == CALLS as u64, "only {answers} of {CALLS} calls were answered");
    Ok(Readings::default()
        .time("p50", times.quantile(0.5))
        .time("p99", times.quantile(0.99))
        .and("load", f64::from(CHECKPOINTS)))
}

/// Makes checkpoints in time, and catches up with those that it missed.
struct Writer {
    /// The checkpoints of all.
    committed: Arc<AtomicU64>,
}

impl Workload for Writer {
    const KIND: &'static str = "writer";
    const STATE_VERSION: u32 = 1;
    type State = (u64, String);
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let mut turns = tokio::time::interval(Duration::from_secs(1) * WRITERS / CHECKPOINTS);
        turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !cx.is_yield_requested() {
            turns.tick().await;
            cx.state_mut().0 += 1;
            cx.checkpoint().await?;
            self.committed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Outcome::Yielded)
    }
}

/// Starts the sessions that write, one a little after the other.
async fn write(supervisor: &Supervisor) -> anyhow::Result<Vec<SessionHandle<Writer>>> {
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let start = Start::<Writer>::new((0, "x".repeat(STATE)));
        writers.push(supervisor.start(start).await?.into_handle());
    }
    Ok(writers)
}

/// What the sessions that write say they committed is what there is.
async fn check(writers: &[SessionHandle<Writer>], committed: &AtomicU64) -> anyhow::Result<()> {
    let mut stored = 0;
    for writer in writers {
        writer.pause().await?;
        stored += writer.snapshot().await?.state.0;
    }
    let committed = committed.load(Ordering::Relaxed);
    ensure!(stored == committed && stored > 0, "{stored} of {committed} checkpoints are stored");
    Ok(())
}
