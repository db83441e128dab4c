//! How what is left of a deleted session is removed.

use std::sync::Arc;

use super::{Data, Fault, Session};
use crate::{
    model::event::EventRecord,
    store::{Purge, Purged, Refusal, StoreError, Then, index, purge::Verdict, runs},
};

impl Data {
    pub(super) fn purge(&mut self, purge: &Purge) -> Result<Result<Purged, Refusal>, StoreError> {
        match self.faults.next()? {
            None => Ok(self.purge_rows(purge)),
            Some(fault @ Fault::NothingDone) => Err(self.faults.error(fault)),
            Some(fault @ Fault::AnswerLost) => {
                let _ = self.purge_rows(purge);
                Err(self.faults.error(fault))
            }
        }
    }

    fn purge_rows(&mut self, purge: &Purge) -> Result<Purged, Refusal> {
        if self.generation != Some(purge.generation) {
            return Err(Refusal::GenerationEnded);
        }
        let stored = self.sessions.get(&purge.session).map(|entry| Arc::clone(&entry.record));
        match purge.admit(stored.as_deref()) {
            Verdict::Refuse(refusal) => return Err(refusal),
            Verdict::AlreadyDone => return Ok(Purged::Done),
            Verdict::Do => {}
        }
        let (Some(old), Some(entry)) = (stored, self.sessions.get_mut(&purge.session)) else {
            return Ok(Purged::Done);
        };
        let (removed, all) = entry.remove(purge.rows.max(1));
        self.change_index(runs::forgotten(&removed));
        if !all {
            return Ok(Purged::More);
        }
        let Some(entry) = self.sessions.get_mut(&purge.session) else { return Ok(Purged::Done) };
        let changes = match &purge.then {
            Then::Keep(record) => {
                entry.record = Arc::clone(record);
                index::changes(Some(&old), record)
            }
            Then::Forget => {
                self.sessions.remove(&purge.session);
                index::forgotten(&old)
            }
        };
        self.change_index(changes);
        Ok(Purged::Done)
    }
}

impl Session {
    /// Removes at most so many rows. Gives the events among them, and whether nothing is left.
    fn remove(&mut self, rows: usize) -> (Vec<EventRecord>, bool) {
        // With the rows goes what was wrong with them.
        self.damaged.clear();
        let mut left = rows;
        let mut may = || {
            let may = left > 0;
            left = left.saturating_sub(1);
            may
        };
        while !self.snapshots.is_empty() && may() {
            self.snapshots.pop_first();
        }
        while !self.inputs.is_empty() && may() {
            self.inputs.pop_first();
        }
        self.input_ids.retain(|_, _| !may());
        while !self.steps.is_empty() && may() {
            self.steps.pop_first();
        }
        let mut removed = Vec::new();
        while !self.events.is_empty() && may() {
            removed.extend(self.events.pop_first().map(|(_, event)| event));
        }
        let all = self.snapshots.is_empty()
            && self.inputs.is_empty()
            && self.input_ids.is_empty()
            && self.steps.is_empty()
            && self.events.is_empty();
        (removed, all)
    }
}
