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
        self.collect_to(|spare| spare, engine, || clock::real() < until)
    }

    /// Collects while nobody waits.
    pub(super) fn collect_while(
        &mut self,
        engine: &Engine,
        go_on: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        self.collect_to(|_| 0, engine, go_on)
    }

    /// Collects until so many of the dead rows are left.
    fn collect_to(
        &mut self,
        left: impl Fn(usize) -> usize,
        engine: &Engine,
        go_on: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        if !self.is_due() {
            return Ok(());
        }
        let length = engine.length();
        if length < FROM {
            self.dead = 0;
            return Ok(());
        }
        let spare = usize::try_from(length / SPARE).unwrap_or(usize::MAX);
        // What could not be done in time is not made up for later: nobody would see an end of it.
        self.dead = self.dead.min(spare.saturating_mul(2));
        let pages = self.dead.saturating_sub(left(spare)) / ROWS;
        self.dead -= ROWS * engine.collect(pages, go_on)?;
        Ok(())
    }
}
