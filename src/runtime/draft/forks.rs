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
    /// Makes a new session a fork, and gives it what was copied.
    pub(crate) fn fork(&mut self, forked: Forked, inputs: &[StoredInput], urgent: &[u64]) {
        self.record.lineage = Some(Box::new(Links::of_fork(forked.from)));
        self.record.usage = forked.usage.unwrap_or_default();
        self.take_over(inputs, urgent);
        if faults::planted(Bug::TellNoOrigin) {
            return;
        }
        let forked = Forked { inputs: inputs.len() as u64, ..forked };
        self.log(Lifecycle::Forked(Box::new(forked)));
    }

    /// Takes inputs of another session. They are numbered anew, and stay urgent where they are; the limits of the
    /// inbox do not hold for them, since they were accepted once.
    pub(super) fn take_over(&mut self, inputs: &[StoredInput], urgent: &[u64]) {
        for input in inputs {
            let is_urgent = urgent.contains(&input.sequence);
            let sequence = self.record.inbox.accept(input.payload.len() as u64, is_urgent);
            self.inputs.push(StoredInput { sequence, ..input.clone() });
        }
    }
}
