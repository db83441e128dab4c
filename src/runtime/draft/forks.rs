//! How a new session becomes a fork.

use crate::{
    faults::{self, Bug},
    model::{
        event::Lifecycle,
        lineage::{Forked, Links},
        record::StoredInput,
        sleep::Sleep,
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

    /// Lets a fork sleep as the session does that it was made of. It knows no more inputs than that one did when it fell asleep.
    pub(crate) fn sleep_too(&mut self, theirs: Sleep, inputs: &[StoredInput]) {
        let known = |after: u64| inputs.iter().filter(|input| input.sequence <= after).count();
        let woken_after = theirs.woken_after.map(|after| known(after) as u64);
        let slept = self.sleep(Sleep { woken_after, ..theirs });
        debug_assert!(slept.is_ok(), "what is new can be paused");
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
