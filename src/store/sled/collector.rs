//! Keeps the log from growing far beyond what is live.
//!
//! Sled collects too little where most of what is stored never changes, see [`Engine::collect`]. So
//! for the rows that are written pages are collected: while others wait only for a part of the time
//! that their rows took, and for the rest when there is nothing else to do.

use std::time::Duration;

use super::engine::Engine;
use crate::{clock, store::StoreError};

/// A log that is shorter than this may be as dead as it likes.
const FROM: u64 = 64 << 20;

/// For how many rows a page is collected: five times as many as sled moves by itself. With a fifth
/// of that a store of hot and cold rows in random order stays at eight times what is live, with
/// this at three to four.
const ROWS: usize = 2;

/// Which part of the time that rows took to be written may go into collecting, where others wait.
const PART: u32 = 2;

/// For more rows than these nothing is made up for later.
const MOST: usize = 1 << 18;

#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Rows that were written and not collected for.
    rows: usize,
}

impl Collector {
    pub(super) fn wrote(&mut self, rows: usize) {
        self.rows = (self.rows + rows).min(MOST);
    }

    /// Whether there is anything to do.
    pub(super) const fn is_due(&self) -> bool {
        self.rows >= ROWS
    }

    /// Collects while others wait, whose rows took so long to be written.
    pub(super) fn collect(&mut self, engine: &Engine, took: Duration) -> Result<(), StoreError> {
        let until = clock::real() + took / PART;
        self.collect_while(engine, || clock::real() < until)
    }

    pub(super) fn collect_while(
        &mut self,
        engine: &Engine,
        go_on: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        if !self.is_due() {
            return Ok(());
        }
        if engine.length() < FROM {
            self.rows = 0;
        } else {
            self.rows -= ROWS * engine.collect(self.rows / ROWS, go_on)?;
        }
        Ok(())
    }
}
