//! The same scenario again and again, with a crash at each of its commits.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use chrono::TimeDelta;

use super::{
    CrashPoint, Harness, Place, WallClock,
    harness::{Configure, patience},
    time,
};
use crate::{
    Builder,
    store::{BoxError, MemoryStore, with_sources},
};

/// Runs a scenario again and again on a new store in memory, and loses the worker at its first
/// commit, at its second, and so on, each once before the commit is done and once after, until the
/// scenario comes to its end. Each time the next worker recovers, and must pass the check. Gives
/// how many commits the scenario has.
///
/// - `configure` registers the workload and makes all settings, for each worker.
/// - `scenario` is what callers do. The crash drops its future in the middle, as a kill takes the
///   callers in its process with it. It writes down what it was told *as soon as it was told*;
///   what is written down is what must not be lost.
/// - `check` sees the next worker after its recovery, and what was written down. Where it sends
///   what was not acknowledged again (with a [start key](crate::Start::key) and [input
///   ids](crate::SessionHandle::send_with_id), as a good caller does), the end must be the same as
///   without a crash.
///
/// [`CrashSweep`] does the same for other stores, and for one crash alone.
///
/// # Panics
///
/// Where the scenario or the check panics, gives an error or does not come to an end, with the
/// [`CrashPoint`]. And inside of a runtime: it makes its own, so a test of it is a plain `#[test]`.
///
/// # Example
///
/// See [the module](super).
pub fn crash_at_every_commit<T: Default>(
    configure: impl Fn(Builder) -> Builder + Send + Sync + 'static,
    scenario: impl AsyncFn(&mut Harness, &mut T) -> Result<(), BoxError>,
    check: impl AsyncFn(&mut Harness, &T) -> Result<(), BoxError>,
) -> u64 {
    CrashSweep::new().run(configure, scenario, check)
}

/// How [`crash_at_every_commit`] goes about it: on which store, and at which commits.
///
/// The scenario gets the [`Harness`], so it can crash and reopen its worker too: then the sweep
/// goes through the commits of a recovery.
///
/// ```
/// use sessionkeeper::testing::{CrashSweep, Do, Harness, Scripted};
///
/// let commits = CrashSweep::new().run(
///     |builder| builder.workload(Scripted::default()),
///     async |harness: &mut Harness, sent: &mut i64| {
///         let start = Scripted::start().key("one".parse()?);
///         let session = harness.supervisor().start(start).await?.into_handle();
///         session.send(Do::Add(1)).await?;
///         *sent = 1;
///         harness.shutdown_and_reopen().await;
///         Ok(())
///     },
///     async |harness, sent| {
///         let start = Scripted::start().key("one".parse()?);
///         let session = harness.supervisor().start(start).await?.into_handle();
///         let sum = harness.drained(&session).await.sum;
///         assert!(sum == *sent || sum == 1, "{sent} was acknowledged, and the sum is {sum}");
///         Ok(())
///     },
/// );
/// assert!(commits > 3);
/// ```
#[must_use = "a sweep begins with `run`"]
pub struct CrashSweep<P: Place = MemoryStore> {
    place: Box<dyn Fn() -> P>,
    only: Option<CrashPoint>,
}

impl CrashSweep {
    /// At every commit, on a store in memory.
    pub fn new() -> Self {
        Self { place: Box::new(MemoryStore::new), only: None }
    }
}

impl Default for CrashSweep {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Place> CrashSweep<P> {
    /// On another store, each time at a new place. It runs in real time where the place
    /// [needs that](Place::PAUSED_TIME).
    pub fn at<Q: Place>(self, place: impl Fn() -> Q + 'static) -> CrashSweep<Q> {
        CrashSweep { place: Box::new(place), only: self.only }
    }

    /// At one commit only: to look into what a sweep has found.
    pub const fn only(mut self, point: CrashPoint) -> Self {
        self.only = Some(point);
        self
    }

    /// Does it: see [`crash_at_every_commit`].
    ///
    /// # Panics
    /// As [`crash_at_every_commit`]; and where the scenario does not come as far as the commit that
    /// was [asked for](Self::only).
    pub fn run<T: Default>(
        self,
        configure: impl Fn(Builder) -> Builder + Send + Sync + 'static,
        scenario: impl AsyncFn(&mut Harness<P>, &mut T) -> Result<(), BoxError>,
        check: impl AsyncFn(&mut Harness<P>, &T) -> Result<(), BoxError>,
    ) -> u64 {
        let configure: Configure = Arc::new(configure);
        let once = |point: CrashPoint| {
            let harness = Harness::closed((self.place)(), Arc::clone(&configure));
            let going = AssertUnwindSafe(|| crash_once(harness, point, &scenario, &check));
            catch_unwind(going).unwrap_or_else(|panic| failed(point, &*panic))
        };
        if let Some(point) = self.only {
            let end = once(point);
            assert!(end.crashed, "the scenario has {} commits only: {point:?}", end.commits);
            return end.commits;
        }
        for commit in 1.. {
            let end = once(CrashPoint::BeforeCommit(commit));
            if !end.crashed {
                return end.commits;
            }
            once(CrashPoint::AfterCommit(commit));
        }
        u64::MAX
    }
}

impl<P: Place> fmt::Debug for CrashSweep<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashSweep").field("only", &self.only).finish_non_exhaustive()
    }
}

struct End {
    crashed: bool,
    commits: u64,
}

/// The scenario up to the crash or its end, in one runtime, and the recovery and the check in
/// another: so nothing of the lost worker lives on, and nothing of its callers either.
fn crash_once<P: Place, T: Default>(
    mut harness: Harness<P>,
    point: CrashPoint,
    scenario: &impl AsyncFn(&mut Harness<P>, &mut T) -> Result<(), BoxError>,
    check: &impl AsyncFn(&mut Harness<P>, &T) -> Result<(), BoxError>,
) -> End {
    let mut told = T::default();
    harness.crash_at(Some(point));
    let runtime = time::runtime(P::PAUSED_TIME);
    let (end, moment) = runtime.block_on(async {
        let mut crashes = harness.crashes();
        let going = async {
            harness.reopen().await;
            scenario(&mut harness, &mut told).await
        };
        let ended = tokio::select! {
            biased;
            _ = crashes.wait_for(|crashed| *crashed) => None,
            ended = tokio::time::timeout(patience::<P>(), going) => Some(ended),
        };
        if let Some(ended) = &ended {
            let ended = ended.as_ref().expect("the scenario comes to an end");
            ended.as_ref().unwrap_or_else(|error| wrong("the scenario", error));
        }
        let commits = harness.commits();
        harness.crash().await;
        (End { crashed: ended.is_none(), commits }, harness.clock().now())
    });
    time::end(runtime);

    harness.crash_at(None);
    let runtime = time::runtime(P::PAUSED_TIME);
    runtime.block_on(async {
        // Later than anything the lost worker has seen: so no id is made twice.
        let moment = moment.checked_add_signed(TimeDelta::seconds(1)).unwrap_or(moment);
        harness.set_clock(WallClock::starting_at(moment));
        harness.reopen().await;
        let checked = tokio::time::timeout(patience::<P>(), check(&mut harness, &told)).await;
        let checked = checked.expect("the check comes to an end");
        checked.unwrap_or_else(|error| wrong("the check", &error));
        harness.crash().await;
    });
    time::end(runtime);
    end
}

fn wrong(what: &str, error: &BoxError) -> ! {
    panic!("{what} failed: {}", with_sources(error.to_string(), &**error))
}

/// Says at which crash it panicked.
fn failed(point: CrashPoint, panic: &(dyn Any + Send)) -> ! {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    panic!("with a crash at {point:?}: {}", text.unwrap_or("it panicked"))
}
