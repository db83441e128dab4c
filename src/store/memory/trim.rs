//! How the older events of a session are removed.

use super::{Data, Fault, Part};
use crate::store::{Purged, Refusal, StoreError, Trim, purge::Verdict, runs};

impl Data {
    pub(super) fn trim(&mut self, trim: &Trim) -> Result<Result<Purged, Refusal>, StoreError> {
        match self.faults.next()? {
            None => Ok(self.trim_rows(trim)),
            Some(fault @ Fault::NothingDone) => Err(self.faults.error(fault)),
            Some(fault @ Fault::AnswerLost) => {
                let _ = self.trim_rows(trim);
                Err(self.faults.error(fault))
            }
        }
    }

    fn trim_rows(&mut self, trim: &Trim) -> Result<Purged, Refusal> {
        if self.generation != Some(trim.generation) {
            return Err(Refusal::GenerationEnded);
        }
        let Some(entry) = self.sessions.get_mut(&trim.session) else { return Ok(Purged::Done) };
        if entry.damaged.contains(&Part::Record) {
            return Err(Refusal::Damaged { reason: super::fault::REASON.to_owned() });
        }
        match trim.admit(Some(&entry.record)) {
            Verdict::Refuse(refusal) => return Err(refusal),
            Verdict::AlreadyDone => return Ok(Purged::Done),
            Verdict::Do => {}
        }
        let mut removed = Vec::new();
        let mut is_done = true;
        while let Some(first) = entry.events.first_entry().filter(|it| *it.key() <= trim.to) {
            if removed.len() == trim.rows.max(1) {
                is_done = false;
                break;
            }
            entry.damaged.remove(&Part::Event(*first.key()));
            removed.push(first.remove());
        }
        self.change_index(runs::trimmed(&removed));
        Ok(if is_done { Purged::Done } else { Purged::More })
    }
}
