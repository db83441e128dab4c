//! How the older events of a session are removed, in whole rows.

use super::{
    engine::reading,
    events,
    plan::Plan,
    read,
    table::{Table, part_key, session_key},
};
use crate::store::{Purged, Refusal, StoreError, Trim, purge::Verdict, runs};

impl Plan<'_> {
    /// Plans a trim. The last row that begins with what is to go may hold what stays, and is left.
    pub(super) fn trim(&mut self, trim: &Trim) -> Result<Result<Purged, Refusal>, StoreError> {
        let stored = match read::record_to_change(self.engine, trim.session)? {
            Ok(stored) => stored,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match trim.admit(stored.as_ref()) {
            Verdict::Refuse(refusal) => return Ok(Err(refusal)),
            Verdict::AlreadyDone => return Ok(Ok(Purged::Done)),
            Verdict::Do => {}
        }
        // All that a row holds is older than what the next one begins with.
        let kept = part_key(trim.session, trim.to.saturating_add(1));
        let from = session_key(trim.session).to_vec();
        let mut rows = self.engine.tree(Table::Events).range(from..=kept);
        let Some(mut row) = reading(|| rows.next().transpose())? else {
            return Ok(Ok(Purged::Done));
        };
        let mut left = trim.rows.max(1);
        while let Some(next) = reading(|| rows.next().transpose())? {
            if left == 0 {
                return Ok(Ok(Purged::More));
            }
            left -= 1;
            let (key, raw) = std::mem::replace(&mut row, next);
            if let Some((_, events)) = events::lifecycle(self.engine, &key, &raw)? {
                self.change_index(runs::trimmed(&events));
            }
            self.remove_pieces(Table::Events, &key)?;
            self.write(Table::Events, key.to_vec(), None);
        }
        Ok(Ok(Purged::Done))
    }
}
