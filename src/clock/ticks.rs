//! The ticks of the sentinel, and the time that they allow.

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The most that worker time advances without a tick.
const MAX_GAP: u64 = Duration::from_secs(2).as_secs() * 1000;

/// What is known of the last tick.
///
/// Both halves of it are read together, or a reader would see a time that never was. A tick is
/// written where no reader looks, and then shown; a reader that was overtaken by one looks again.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    count: AtomicU64,
    even: Tick,
    odd: Tick,
}

#[derive(Debug, Default)]
struct Tick {
    /// Milliseconds from the origin to the tick.
    at: AtomicU64,
    /// Milliseconds up to it that were not worker time.
    lost: AtomicU64,
}

impl Ticks {
    /// Ticks; there is one sentinel that does.
    pub(crate) fn tick(&self, elapsed: u64) {
        let count = self.count.load(Ordering::Relaxed);
        let (at, lost) = self.last();
        let gap = elapsed.saturating_sub(at);
        let next = self.numbered(count.wrapping_add(1));
        next.at.store(elapsed, Ordering::Release);
        next.lost.store(lost + gap.saturating_sub(MAX_GAP), Ordering::Release);
        self.count.store(count.wrapping_add(1), Ordering::Release);
    }

    /// The worker time when so much has elapsed since the origin.
    pub(crate) fn worker(&self, elapsed: u64) -> u64 {
        let (at, lost) = self.last();
        elapsed.min(at.saturating_add(MAX_GAP)).saturating_sub(lost)
    }

    fn last(&self) -> (u64, u64) {
        loop {
            let count = self.count.load(Ordering::Acquire);
            let tick = self.numbered(count);
            let read = (tick.at.load(Ordering::Acquire), tick.lost.load(Ordering::Acquire));
            if self.count.load(Ordering::Relaxed) == count {
                return read;
            }
        }
    }

    const fn numbered(&self, count: u64) -> &Tick {
        if count.is_multiple_of(2) { &self.even } else { &self.odd }
    }
}

#[cfg(all(test, sessionkeeper_loom))]
mod explored {
    use loom::{model, sync::Arc};

    use super::*;
    use crate::sync::both;

    /// G6: a reader that is overtaken by a tick sees the time before it or after it. A time in
    /// between would be a beat long ago: the run that gives it would be taken for silent.
    #[test]
    fn a_reader_of_the_clock_sees_no_time_that_never_was() {
        model(|| {
            let ticks = Arc::new(Ticks::default());
            let reader = Arc::clone(&ticks);
            // After a sleep of ten seconds, of which eight are lost, and then in time.
            let sentinel = move || {
                ticks.tick(10_000);
                ticks.tick(11_000);
            };
            let ((), seen) = both(sentinel, move || reader.worker(11_000));
            assert!((2_000..=3_000).contains(&seen), "{seen}");
        });
    }
}
