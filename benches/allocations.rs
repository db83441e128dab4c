//! How often the library allocates, and what it keeps: `cargo bench --bench allocations`. It counts
//! and takes no time, so it says the same on every machine. A heartbeat must not allocate, and a
//! session at rest must leave nothing in memory.
//!
//! The store is one that keeps nothing: what is counted is the library's own.

#![allow(clippy::print_stdout, reason = "it says what it counted")]

use std::{
    alloc::System, future::ready, hint::black_box, ops::RangeInclusive, sync::Arc, time::Duration,
};

use anyhow::{Context as _, ensure};
use sessionkeeper::{
    Context, Event, EventRecord, InputId, Lane, LaneTime, Outcome, Run, RunId, Scope,
    SessionHandle, SessionId, SessionRecord, Start, StateBytes, StateCounts, StoredInput,
    StoredStep, Supervisor, Turn, WorkerGeneration, Workload, WorkloadError,
    store::{
        AcceptedInput, Batch, Bookmark, Damage, Due, Key, LogPage, LogQuery, Opened, Page, Purge,
        Purged, Query, Refusal, Store, StoreFuture, StoredRun, Trim,
    },
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often each thing is done.
const TIMES: usize = 2_000;

/// Makes checkpoints when it is told to.
struct Writer {
    said: mpsc::UnboundedSender<Said>,
}

enum Said {
    /// It runs, and this is the run.
    Begun(Run),
    /// What its checkpoints came to.
    Checkpoints(Count),
}

impl Workload for Writer {
    const KIND: &'static str = "writer";
    const STATE_VERSION: u32 = 1;
    type State = u64;
    /// How many checkpoints.
    type Input = usize;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _ = self.said.send(Said::Begun(cx.run().clone()));
        while let Some(count) = cx.next_input().await? {
            // The first ends the turn.
            cx.checkpoint().await?;
            let region = Region::new(ALLOCATOR);
            for _ in 0..*count {
                *cx.state_mut() += 1;
                cx.checkpoint().await?;
            }
            let _ = self.said.send(Said::Checkpoints(Count::since(&region, *count)));
        }
        Ok(Outcome::Yielded)
    }
}

/// Waits for its inputs, and holds nothing.
struct Idle;

impl Workload for Idle {
    const KIND: &'static str = "idle";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

// One thread: nothing but what is counted goes on meanwhile.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (say, mut said) = mpsc::unbounded_channel();
    let supervisor = Supervisor::builder(KeepsNothing)
        .workload(Writer { said: say })
        .workload(Idle)
        .start()
        .await?;
    let session = supervisor.start(Start::<Writer>::new(0)).await?.into_handle();
    let Some(Said::Begun(run)) = said.recv().await else {
        anyhow::bail!("it does not run");
    };
    let id = session.id();
    println!("| what | allocations | bytes |");
    println!("| --- | ---: | ---: |");

    let beats = Count::of(TIMES, || run.heartbeat());
    beats.print("heartbeat, from inside");
    let by_handle = Count::of(TIMES, || session.heartbeat().is_ok());
    by_handle.print("heartbeat, by handle");

    let region = Region::new(ALLOCATOR);
    for _ in 0..TIMES {
        supervisor.status(id).await?;
    }
    Count::since(&region, TIMES).print("status, by id");
    let region = Region::new(ALLOCATOR);
    for _ in 0..TIMES {
        session.resume().await?;
    }
    Count::since(&region, TIMES).print("control call");
    let event = Event::terminal("cargo test", "all is well", 0);
    Count::of(100, || run.try_emit(&event).is_ok()).print("emit");
    session.send(TIMES).await?;
    let Some(Said::Checkpoints(checkpoints)) = said.recv().await else {
        anyhow::bail!("it makes no checkpoints");
    };
    checkpoints.print("checkpoint");
    let mut idle = Vec::with_capacity(TIMES);
    let region = Region::new(ALLOCATOR);
    for _ in 0..TIMES {
        idle.push(started(&supervisor).await?);
    }
    Count::since(&region, TIMES).print("start, until the run waits");
    drop(idle);
    let at_rest = at_rest(&supervisor).await?;
    println!("\na session at rest keeps {at_rest:.1} bytes");

    ensure!(beats.is_none() && by_handle.is_none(), "a heartbeat allocates");
    ensure!(at_rest < 4.0, "a session at rest keeps {at_rest} bytes");
    Ok(())
}

async fn started(supervisor: &Supervisor) -> anyhow::Result<SessionHandle<Idle>> {
    let session = supervisor.start(Start::<Idle>::new(())).await?.into_handle();
    while *session.status().await?.activity() != sessionkeeper::Activity::Idle {
        tokio::task::yield_now().await;
    }
    Ok(session)
}

/// How many bytes of each session stay when it is at rest. Sessions come and go in waves; the first
/// waves fill what is there once, such as the tables of maps. Those also grow a little and shrink
/// again in turn, which is a byte for each of so many sessions.
async fn at_rest(supervisor: &Supervisor) -> anyhow::Result<f64> {
    const WAVE: usize = 200;
    const WAVES: usize = 200;
    let mut wave = Vec::with_capacity(WAVE);
    let mut kept = Vec::with_capacity(WAVES);
    for _ in 0..WAVES {
        for _ in 0..WAVE {
            wave.push(started(supervisor).await?);
        }
        for (number, session) in wave.drain(..).enumerate() {
            if number.is_multiple_of(2) {
                session.pause().await?;
            } else {
                session.complete().await?;
            }
        }
        // What was cancelled needs a moment to be gone.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let Stats { bytes_allocated, bytes_deallocated, .. } = ALLOCATOR.stats();
        kept.push(bytes_allocated as f64 - bytes_deallocated as f64);
    }
    // The least of some waves: now and then something is still under way.
    let least = |waves: &[f64]| waves.iter().copied().fold(f64::INFINITY, f64::min);
    let early = least(kept.get(WAVES / 2..WAVES / 2 + 10).context("there are as many")?);
    let late = least(kept.get(WAVES - 10..).context("there are as many")?);
    Ok((late - early) / ((WAVES / 2 - 10) * WAVE) as f64)
}

/// What some calls came to.
struct Count {
    stats: Stats,
    times: usize,
}

impl Count {
    fn since(region: &Region<'_, System>, times: usize) -> Self {
        Self { stats: region.change(), times }
    }

    /// Of calls that wait for nothing.
    fn of<T>(times: usize, call: impl Fn() -> T) -> Self {
        let region = Region::new(ALLOCATOR);
        for _ in 0..times {
            black_box(call());
        }
        Self::since(&region, times)
    }

    const fn is_none(&self) -> bool {
        self.stats.allocations == 0 && self.stats.reallocations == 0
    }

    fn print(&self, what: &str) {
        let each = |count: usize| count as f64 / self.times as f64;
        let Stats { allocations, reallocations, bytes_allocated, .. } = self.stats;
        let (calls, bytes) = (each(allocations + reallocations), each(bytes_allocated));
        println!("| {what} | {calls:.1} | {bytes:.0} |");
    }
}

/// A store that takes everything and keeps nothing. Sessions of a worker that never looks back do
/// not notice.
struct KeepsNothing;

fn nothing<T: Default + Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(ready(Ok(T::default())))
}

impl Store for KeepsNothing {
    fn begin(&self, _: WorkerGeneration) -> StoreFuture<'_, Opened> {
        nothing()
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        Box::pin(ready(Ok(vec![Ok(()); batch.commits.len()])))
    }

    fn load(&self, _: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        nothing()
    }

    fn find(&self, _: Key) -> StoreFuture<'_, Option<SessionId>> {
        nothing()
    }

    fn run(&self, _: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        Box::pin(async { Ok(None) })
    }

    fn list(&self, _: Query) -> StoreFuture<'_, Page> {
        nothing()
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        Box::pin(async { Ok(StateBytes::default()) })
    }

    fn due(&self, _: Lane, _: LaneTime, _: usize) -> StoreFuture<'_, Vec<Due>> {
        nothing()
    }

    fn snapshot(&self, _: SessionId, _: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        nothing()
    }

    fn inputs(&self, _: SessionId, _: u64, _: usize) -> StoreFuture<'_, Vec<StoredInput>> {
        nothing()
    }

    fn steps(&self, _: SessionId, _: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        nothing()
    }

    fn accepted(&self, _: SessionId, _: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        nothing()
    }

    fn events(
        &self,
        _: SessionId,
        _: RangeInclusive<u64>,
        _: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        nothing()
    }

    fn log(&self, _: LogQuery) -> StoreFuture<'_, LogPage> {
        nothing()
    }

    fn count(&self, _: Scope) -> StoreFuture<'_, StateCounts> {
        nothing()
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn purge(&self, _: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(async { Ok(Ok(Purged::Done)) })
    }

    fn trim(&self, _: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        Box::pin(async { Ok(Ok(Purged::Done)) })
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        nothing()
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        nothing()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        nothing()
    }
}
