//! How a new session becomes a fork.

use crate::{
    faults::{self, Bug},
    model::{
        event::Lifecycle,
        lineage::{Forked, Links},
        record::StoredInput,
    },
};

use super::Draft;

impl Draft {
    /// Makes a new session a fork, and gives it what was copied. The inputs are numbered anew; the limits of
    /// the inbox do not hold for them, since they were accepted once.
    pub(crate) fn fork(&mut self, forked: Forked, inputs: &[StoredInput]) {
        self.record.lineage = Some(Box::new(Links::of_fork(forked.from)));
        self.record.usage = forked.usage.unwrap_or_default();
        for input in inputs {
            let inbox = &mut self.record.inbox;
            inbox.accepted += 1;
            inbox.waiting_bytes += input.payload.len() as u64;
            self.inputs.push(StoredInput { sequence: inbox.accepted, ..input.clone() });
        }
        if faults::planted(Bug::TellNoOrigin) {
            return;
        }
        let forked = Forked { inputs: inputs.len() as u64, ..forked };
        self.log(Lifecycle::Forked(Box::new(forked)));
    }
}
