//! The only reader of clocks: wall-clock time for labels, worker time for heartbeats, supervised
//! time for waiting. Ids are made here too, since they carry the time.
//!
//! Worker time is driven by a sentinel that ticks once a second: between two ticks it follows
//! tokio's clock, but never for more than [`MAX_GAP`]. A process that was stopped, or a laptop
//! that slept, therefore loses at most that much, and no healthy session is taken for a silent
//! one because nobody was there to see its signs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::SubsecRound;
use tokio::time::Instant;
use uuid::Uuid;

use crate::model::{
    ids::{RunId, SessionId, WorkerGeneration},
    time::{SupervisedTime, Timestamp, WorkerTime},
};

/// How often the sentinel ticks.
const TICK: Duration = Duration::from_secs(1);
/// The most that worker time advances without a tick.
const MAX_GAP: Duration = Duration::from_secs(2);

/// The clock of one worker. Clones show the same time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    origin: Instant,
    /// Milliseconds from the origin to the last tick.
    ticked: AtomicU64,
    /// Milliseconds up to the last tick that were not worker time.
    lost: AtomicU64,
    /// Supervised time at the origin.
    supervised: SupervisedTime,
}

impl Clock {
    /// A clock that begins now; `supervised` is the total that the store remembers.
    pub(crate) fn new(supervised: SupervisedTime) -> Self {
        Self {
            inner: Arc::new(Inner {
                origin: Instant::now(),
                ticked: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                supervised,
            }),
        }
    }

    fn tick(&self) {
        let elapsed = self.elapsed();
        let gap = elapsed.saturating_sub(self.inner.ticked.load(Ordering::Relaxed));
        // `lost` before `ticked`, read in the opposite order: a reader in between sees a time
        // that is too early, never one that is too late.
        self.inner.lost.fetch_add(gap.saturating_sub(MAX_GAP_MILLIS), Ordering::Release);
        self.inner.ticked.store(elapsed, Ordering::Release);
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
        let ticked = self.inner.ticked.load(Ordering::Acquire);
        let lost = self.inner.lost.load(Ordering::Acquire);
        let seen = self.elapsed().min(ticked.saturating_add(MAX_GAP_MILLIS));
        WorkerTime::from_millis(seen.saturating_sub(lost))
    }

    /// Time during which some worker had the store open.
    pub(crate) fn supervised(&self) -> SupervisedTime {
        self.inner.supervised.after(Duration::from_millis(self.worker().as_millis()))
    }

    /// Wall-clock time, in whole milliseconds.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of wall-clock time")]
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from(std::time::SystemTime::now()).trunc_subsecs(3)
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
            tokio::time::sleep(rest).await;
        }
    }

    /// Sleeps until a moment of supervised time, as [`sleep_until`](Self::sleep_until) does.
    pub(crate) async fn sleep_until_supervised(&self, moment: SupervisedTime) {
        let span = moment.since(self.inner.supervised);
        self.sleep_until(WorkerTime::default().after(span)).await;
    }

    /// An id for a new session.
    pub(crate) fn session_id(&self) -> SessionId {
        SessionId::from_uuid(new_uuid())
    }

    /// An id for a new run.
    pub(crate) fn run_id(&self) -> RunId {
        RunId::from_uuid(new_uuid())
    }

    fn elapsed(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.inner.origin);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// An id for a worker that begins.
pub(crate) fn new_generation() -> WorkerGeneration {
    WorkerGeneration::from_uuid(new_uuid())
}

#[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::cast_possible_truncation, reason = "a constant of two seconds")]
const MAX_GAP_MILLIS: u64 = MAX_GAP.as_millis() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gap_without_ticks_counts_at_most_two_seconds() {
        let clock = Clock::new(SupervisedTime::from_millis(500));
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
        let clock = Clock::new(SupervisedTime::default());
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
