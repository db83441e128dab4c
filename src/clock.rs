//! The only reader of clocks: wall-clock time for labels, worker time for heartbeats, supervised
//! time for waiting, and real time for the watchdog. Ids are made here too, since they carry the
//! wall-clock time (see [`wall`]).
//!
//! Worker time is driven by a sentinel that ticks once a second: between two ticks it follows
//! tokio's clock, but never for more than two seconds (see [`ticks`]). A process that was stopped, or a laptop
//! that slept, therefore loses at most that much, and no healthy session is taken for a silent
//! one because nobody was there to see its signs.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{ticks::Ticks, wall::Wall};
use crate::{
    faults::{self, Bug},
    model::{
        ids::{RunId, SessionId},
        record::Lane,
        time::{LaneTime, SupervisedTime, Timestamp, WorkerTime},
    },
};

pub(crate) mod ticks;
pub(crate) mod wall;

/// How often the sentinel ticks.
const TICK: Duration = Duration::from_secs(1);

/// The clock of one worker. Clones show the same time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    origin: Instant,
    ticks: Ticks,
    /// Supervised time at the origin.
    supervised: SupervisedTime,
    wall: Wall,
}

impl Clock {
    /// A clock that begins now; `supervised` is the total that the store remembers.
    pub(crate) fn new(supervised: SupervisedTime, wall: Wall) -> Self {
        Self {
            inner: Arc::new(Inner {
                origin: Instant::now(),
                ticks: Ticks::default(),
                supervised,
                wall,
            }),
        }
    }

    fn tick(&self) {
        self.inner.ticks.tick(self.elapsed());
    }

    /// The sentinel: ticks for as long as it is polled.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tick();
        }
    }

    /// Time that the worker was really running.
    pub(crate) fn worker(&self) -> WorkerTime {
        if faults::planted(Bug::CountLostTime) {
            return WorkerTime::from_millis(self.elapsed());
        }
        WorkerTime::from_millis(self.inner.ticks.worker(self.elapsed()))
    }

    /// Time during which some worker had the store open.
    pub(crate) fn supervised(&self) -> SupervisedTime {
        self.inner.supervised.after(Duration::from_millis(self.worker().as_millis()))
    }

    /// Now, in the time of a lane.
    pub(crate) fn now_in(&self, lane: Lane) -> LaneTime {
        match lane {
            Lane::Ready
            | Lane::Timeout
            | Lane::Removal
            | Lane::Stopped
            | Lane::Completed
            | Lane::Failed
            | Lane::Expired
            | Lane::Family
            | Lane::Trim => self.supervised().into(),
            Lane::Alarm => self.wall().into(),
        }
    }

    /// Wall-clock time, in whole milliseconds.
    pub(crate) fn wall(&self) -> Timestamp {
        self.inner.wall.now()
    }

    /// Sleeps for a span, by tokio's clock.
    pub(crate) async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span.saturating_add(self.inner.wall.lateness())).await;
    }

    /// Sleeps until a moment of worker time.
    ///
    /// Cancel safe: dropping it forgets the sleep and nothing else.
    pub(crate) async fn sleep_until(&self, moment: WorkerTime) {
        loop {
            let rest = moment.since(self.worker());
            if rest.is_zero() {
                return;
            }
            self.sleep(rest).await;
        }
    }

    /// Sleeps until a moment of supervised time, as [`sleep_until`](Self::sleep_until) does.
    pub(crate) async fn sleep_until_supervised(&self, moment: SupervisedTime) {
        let span = moment.since(self.inner.supervised);
        self.sleep_until(WorkerTime::default().after(span)).await;
    }

    /// An id for a new session.
    pub(crate) fn session_id(&self) -> SessionId {
        SessionId::from_uuid(self.inner.wall.uuid())
    }

    /// An id for a new run.
    pub(crate) fn run_id(&self) -> RunId {
        RunId::from_uuid(self.inner.wall.uuid())
    }

    fn elapsed(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.inner.origin);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Real time, whatever tokio's clock shows: for threads that no runtime drives.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of real time")]
pub(crate) fn real() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_without_ticks_counts_at_most_two_seconds() {
        let clock = Clock::new(SupervisedTime::from_millis(500), Wall::System);
        for _ in 0..5 {
            tokio::time::advance(TICK).await;
            clock.tick();
        }
        assert_eq!(clock.worker(), WorkerTime::from_millis(5_000));

        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(clock.worker(), WorkerTime::from_millis(7_000), "before the next tick");
        clock.tick();
        assert_eq!(clock.worker(), WorkerTime::from_millis(7_000), "and after it");

        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(clock.worker(), WorkerTime::from_millis(7_010));
        assert_eq!(clock.supervised(), SupervisedTime::from_millis(7_510));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_in_worker_time_outlasts_a_gap() {
        let clock = Clock::new(SupervisedTime::default(), Wall::System);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(WorkerTime::from_millis(10_000)).await }
        });
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        clock.tick();
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished(), "only two seconds of the gap were worker time");
        for _ in 0..8 {
            tokio::time::advance(TICK).await;
            clock.tick();
            tokio::task::yield_now().await;
        }
        sleeper.await.unwrap();
    }
}
