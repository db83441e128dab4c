//! How a run lets go of what it has besides its state.

use super::Run;
use crate::workload::{
    hold::Holding,
    line::{Ask, YieldReason},
};

impl Run {
    /// Ends the tasks that the run spawned.
    pub(crate) fn abort_tasks(&self) {
        for task in self.lock().tasks.drain(..) {
            task.abort();
        }
    }

    /// Hands the run what the one before it left.
    pub(crate) fn receive(&self, left: Vec<Holding>) {
        self.lock().left = left;
    }

    /// Whether the run came to rest by a pause, for want of work, or for a successor: then what may stay stays.
    pub(crate) fn may_leave(&self) -> bool {
        match self.ask() {
            Ask::GoOn => true,
            Ask::Yield(request) => match request.reason {
                YieldReason::Pause | YieldReason::Rollover => true,
                YieldReason::Stop | YieldReason::Shutdown => false,
            },
            Ask::Cancel => false,
        }
    }

    /// Takes out what may stay while the session is paused.
    pub(crate) fn leave(&self) -> Vec<Holding> {
        let mut shared = self.lock();
        let mut leaving = Vec::new();
        for holding in std::mem::take(&mut shared.held) {
            match holding.keeps_for() {
                Some(_) => leaving.push(holding),
                None => shared.held.push(holding),
            }
        }
        leaving.append(&mut shared.left);
        leaving
    }

    /// How much the run must let go of.
    pub(crate) fn count_held(&self) -> usize {
        let shared = self.lock();
        shared.held.len() + shared.left.len()
    }

    /// What the run must let go of next: what it held last, then what it never took.
    pub(crate) fn let_go(&self) -> Option<Holding> {
        let mut shared = self.lock();
        shared.held.pop().or_else(|| shared.left.pop())
    }
}
