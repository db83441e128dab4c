//! What a run declares while a guard lives.

use super::run::Run;
use crate::{
    faults::{self, Bug},
    model::time::WorkerTime,
};

/// A declared silent operation; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the operation ends when the guard is dropped"]
pub struct BusyGuard {
    run: Run,
    token: u64,
    until: WorkerTime,
}

impl BusyGuard {
    pub(super) const fn new(run: Run, token: u64, until: WorkerTime) -> Self {
        Self { run, token, until }
    }

    /// When the declaration ends at the latest.
    pub const fn until(&self) -> WorkerTime {
        self.until
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.run.undeclare(self.token);
    }
}

/// A declared wait for a person; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the wait ends when the guard is dropped"]
pub struct AwaitingGuard {
    run: Run,
    token: u64,
}

impl AwaitingGuard {
    pub(super) const fn new(run: Run, token: u64) -> Self {
        Self { run, token }
    }
}

impl Drop for AwaitingGuard {
    fn drop(&mut self) {
        self.run.undeclare(self.token);
    }
}

/// The run asks for its next input, until this is dropped.
pub(super) struct Asking<'a>(&'a Run);

impl<'a> Asking<'a> {
    pub(super) fn begin(run: &'a Run) -> Self {
        run.begin_next();
        Self(run)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if faults::planted(Bug::LoseInputOfDroppedRequest) {
            drop(self.0.take_delivery());
        }
        self.0.end_next();
    }
}
