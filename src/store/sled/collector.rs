//! Keeps the log from growing far beyond what is live.
//!
//! Sled collects too little where most of what is stored never changes, see [`Engine::collect`]. So
//! for the rows that were replaced or removed pages are collected. That can wait until there is
//! nothing else to do, as after a burst of commits; where too much of the log is dead, others wait
//! for it, for no longer than their rows took to be written.

use std::time::Duration;

use super::engine::Engine;
use crate::{clock, store::StoreError};

/// A log that is shorter than this may be as dead as it likes.
const FROM: u64 = 64 << 20;

/// For how many dead rows a page is collected. Sled moves one by itself for about ten; then a store
/// of hot and cold rows that are written in random order grows to ten times what is live, and with
/// these besides to three or four.
const ROWS: usize = 2;

/// For each so many bytes of the log there may be a dead row before others wait.
const SPARE: u64 = 4 << 10;

#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Dead rows that were not collected for.
    dead: usize,
}

impl Collector {
    pub(super) const fn left(&mut self, dead: usize) {
        self.dead += dead;
    }

    /// Whether there is anything to do.
    pub(super) const fn is_due(&self) -> bool {
        self.dead >= ROWS
    }

    /// Collects while others wait, whose rows took so long to be written.
    pub(super) fn collect(&mut self, engine: &Engine, took: Duration) -> Result<(), StoreError> {
        let until = clock::real() + took;
        self.work(engine, Urgency::OthersWait, || clock::real() < until)
    }

    /// Collects while nobody waits.
    pub(super) fn collect_while(
        &mut self,
        engine: &Engine,
        go_on: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        self.work(engine, Urgency::NobodyWaits, go_on)
    }

    fn work(
        &mut self,
        engine: &Engine,
        urgency: Urgency,
        go_on: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        if self.is_due() {
            let pages = self.pages(engine.length(), urgency);
            self.dead -= ROWS * engine.collect(pages, go_on)?;
        }
        Ok(())
    }

    /// How many pages are to be collected from a log of this length.
    fn pages(&mut self, length: u64, urgency: Urgency) -> usize {
        if length < FROM {
            self.dead = 0;
            return 0;
        }
        let spare = usize::try_from(length / SPARE).unwrap_or(usize::MAX);
        // What could not be done in time is not made up for later: nobody would see an end of it.
        self.dead = self.dead.min(spare.saturating_mul(2));
        let may_stay = match urgency {
            Urgency::OthersWait => spare,
            Urgency::NobodyWaits => 0,
        };
        self.dead.saturating_sub(may_stay) / ROWS
    }
}

/// Who waits while pages are collected.
#[derive(Debug, Clone, Copy)]
enum Urgency {
    /// Those whose rows were written and are not durable yet.
    OthersWait,
    NobodyWaits,
}

#[cfg(test)]
mod tests {
    use super::{Collector, FROM, Urgency};

    /// How many pages are to be collected where so many rows are dead, and how many rows still count.
    fn pages(dead: usize, length: u64, urgency: Urgency) -> (usize, usize) {
        let mut collector = Collector::default();
        collector.left(dead);
        let pages = collector.pages(length, urgency);
        (pages, collector.dead)
    }

    #[test]
    fn a_short_log_is_left_alone() {
        assert_eq!(pages(1_000_000, FROM - 1, Urgency::NobodyWaits), (0, 0));
    }

    #[test]
    fn nobody_waits_for_the_dead_rows_of_a_burst() {
        // In 64 MiB 16,384 rows may be dead.
        assert_eq!(pages(16_384, FROM, Urgency::OthersWait), (0, 16_384));
        assert_eq!(pages(16_384, FROM, Urgency::NobodyWaits), (8_192, 16_384));
        assert_eq!(pages(20_000, FROM, Urgency::OthersWait), (1_808, 20_000));
        assert_eq!(pages(20_000, 2 * FROM, Urgency::OthersWait), (0, 20_000));
    }

    #[test]
    fn what_is_to_be_made_up_for_has_an_end() {
        assert_eq!(pages(1_000_000, FROM, Urgency::OthersWait), (8_192, 32_768));
        assert_eq!(pages(1_000_000, FROM, Urgency::NobodyWaits), (16_384, 32_768));
    }
}
