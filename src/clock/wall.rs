//! Wall-clock time, and the ids that carry it.

use std::time::Duration;

use chrono::SubsecRound;
use uuid::Uuid;

use crate::model::{ids::WorkerGeneration, time::Timestamp};

/// Where wall-clock time comes from.
#[derive(Debug, Clone, Default)]
pub(crate) enum Wall {
    /// The system's clock.
    #[default]
    System,
    /// One that a test sets.
    #[cfg(feature = "testing")]
    Played(WallClock),
}

impl Wall {
    /// The time, in whole milliseconds.
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::System => system_time(),
            #[cfg(feature = "testing")]
            Self::Played(clock) => clock.now(),
        }
    }

    /// How much later than it should a timer rings.
    pub(super) fn lateness(&self) -> Duration {
        match self {
            Self::System => Duration::ZERO,
            #[cfg(feature = "testing")]
            Self::Played(clock) => clock.lateness(),
        }
    }

    pub(super) fn uuid(&self) -> Uuid {
        match self {
            Self::System => new_uuid(),
            #[cfg(feature = "testing")]
            Self::Played(clock) => clock.uuid(),
        }
    }

    /// An id for a worker that begins.
    pub(crate) fn new_generation(&self) -> WorkerGeneration {
        WorkerGeneration::from_uuid(self.uuid())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one reader of wall-clock time")]
fn system_time() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now()).trunc_subsecs(3)
}

#[expect(clippy::disallowed_methods, reason = "ids are made here and nowhere else")]
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

#[cfg(feature = "testing")]
pub use self::played::WallClock;

#[cfg(feature = "testing")]
mod played {
    use std::{
        fmt,
        sync::{
            Arc, Mutex, PoisonError,
            atomic::{AtomicI64, AtomicU64, Ordering},
        },
        time::Duration,
    };

    use chrono::TimeDelta;
    use tokio::time::Instant;
    use uuid::{Builder, Uuid};

    use crate::model::time::Timestamp;

    /// A wall clock that a test sets. It goes on with tokio's time, which a test may have paused,
    /// and jumps where it is told to.
    ///
    /// The ids of sessions, runs and workers are made from it and from a counter, so that with it
    /// they are the same in every repetition of a test. Clones are the same clock: give one to
    /// each supervisor of a test, so that no id is made twice.
    #[derive(Debug, Clone)]
    pub struct WallClock {
        inner: Arc<Inner>,
    }

    #[derive(Debug)]
    struct Inner {
        origin: Instant,
        began: Timestamp,
        /// How far it was moved, in milliseconds.
        moved: AtomicI64,
        ids: AtomicU64,
        late: Mutex<Late>,
    }

    /// How late timers ring.
    #[derive(Default)]
    struct Late(Option<Box<dyn FnMut() -> Duration + Send>>);

    impl fmt::Debug for Late {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(if self.0.is_some() { "as told" } else { "never" })
        }
    }

    impl WallClock {
        /// A clock that shows this time now.
        pub fn starting_at(time: Timestamp) -> Self {
            let inner = Inner {
                origin: Instant::now(),
                began: time,
                moved: AtomicI64::new(0),
                ids: AtomicU64::new(0),
                late: Mutex::default(),
            };
            Self { inner: Arc::new(inner) }
        }

        /// What it shows, in whole milliseconds. Where it would leave the range of dates, it stays
        /// where it began.
        pub fn now(&self) -> Timestamp {
            let elapsed = self.inner.origin.elapsed().as_millis();
            let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
            let moved = elapsed.saturating_add(self.inner.moved.load(Ordering::SeqCst));
            TimeDelta::try_milliseconds(moved)
                .and_then(|moved| self.inner.began.checked_add_signed(moved))
                .unwrap_or(self.inner.began)
        }

        /// Moves it, forward or back, at once.
        pub fn jump(&self, by: TimeDelta) {
            self.inner.moved.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }

        /// Makes the timers of supervisors with this clock ring late, each by as much as it is
        /// told.
        pub fn delay_timers(&self, late: impl FnMut() -> Duration + Send + 'static) {
            let mut present = self.inner.late.lock().unwrap_or_else(PoisonError::into_inner);
            present.0 = Some(Box::new(late));
        }

        pub(super) fn lateness(&self) -> Duration {
            let mut late = self.inner.late.lock().unwrap_or_else(PoisonError::into_inner);
            late.0.as_mut().map_or(Duration::ZERO, |late| late())
        }

        pub(super) fn uuid(&self) -> Uuid {
            let number = self.inner.ids.fetch_add(1, Ordering::SeqCst);
            let mut random = [0; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            let millis = u64::try_from(self.now().timestamp_millis()).unwrap_or(0);
            Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
        }
    }
}
