//! How a draft says what its session holds in the store, and which of its events are too many.

use super::Draft;
use crate::{
    model::{
        footprint::Footprint,
        step::{StepProgress, StoredStep},
        trimmed::Trimmed,
    },
    policy::Retention,
    workload,
};

impl Draft {
    /// Counts what the draft brings and leaves out what is not kept, where that is counted.
    pub(super) fn weigh(&mut self, retention: &Retention) {
        if self.record.is_deleted() {
            return;
        }
        if self.record.footprint.is_none() {
            // Steps that were there before are not counted: it begins when there are none.
            let begins = self.record.version == 0 || self.record.steps.is_none();
            if retention.most_bytes().is_none() || !begins {
                return;
            }
            let before = self.record.last_event.saturating_sub(self.events.len() as u64);
            self.record.footprint = Some(Box::new(Footprint::after(before)));
        }
        let covered = self.record.steps_covered();
        let Some(held) = &mut self.record.footprint else { return };
        for event in &self.events {
            held.events = held.events.saturating_add(workload::bytes_of(&event.fact));
            if let Some(newest) = retention.newest() {
                held.mark(event.sequence, newest.get().div_ceil(2));
            }
        }
        for StoredStep { turn, progress, .. } in &self.steps {
            if let StepProgress::Finished(result) = progress {
                held.add_step(*turn, result.len() as u64);
            }
        }
        held.forget_steps(covered);
    }

    /// Says which events go, where there are more than are kept.
    pub(super) fn trim(&mut self, retention: &Retention) {
        let Some(to) = retention.trims(&self.record) else { return };
        let gone = self.record.trimmed_to();
        // Where they are counted, it must be known what goes with them.
        let to = match &mut self.record.footprint {
            Some(held) => held.forget_events(gone, to),
            None => Some(to),
        };
        if let Some(to) = to {
            let trimmed = Trimmed { to, since: Some(self.moment.supervised) };
            self.record.trimmed = Some(Box::new(trimmed));
        }
    }
}
