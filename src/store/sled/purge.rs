//! How what is left of a deleted session is removed, a part at a time.
//!
//! Every key of a session begins with its id, so what is left is found by looking: nothing has to say what there was,
//! and what damage or an earlier version left behind goes too.

use super::{
    engine::reading,
    events,
    known::{Cache, Known},
    plan::Plan,
    read,
    table::{Table, session_key},
    value::Value,
};
use crate::{
    faults::{self, Bug},
    model::ids::SessionId,
    store::{Purge, Purged, Refusal, StoreError, Then, codec, index, purge::Verdict, runs},
};

/// Where the parts of a session are. Pieces of their values come with them.
const PARTS: [Table; 7] = [
    Table::Slots,
    Table::Snapshots,
    Table::Chunks,
    Table::Inputs,
    Table::InputIds,
    Table::Steps,
    Table::Events,
];

impl Plan<'_> {
    /// Plans a purge.
    pub(super) fn purge(
        &mut self,
        purge: &Purge,
        cache: &mut Cache,
    ) -> Result<Result<Purged, Refusal>, StoreError> {
        let session = purge.session;
        let stored = match read::record_to_change(self.engine, session)? {
            Ok(stored) => stored,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match purge.admit(stored.as_ref()) {
            Verdict::Refuse(refusal) => return Ok(Err(refusal)),
            Verdict::AlreadyDone => return Ok(Ok(Purged::Done)),
            Verdict::Do => {}
        }
        let Some(old) = stored else { return Ok(Ok(Purged::Done)) };
        if !self.remove_parts(session, purge.rows.max(1))? {
            return Ok(Ok(Purged::More));
        }
        cache.take(session);
        match &purge.then {
            Then::Keep(record) => {
                let value = Value::new(Table::Records, codec::record(record));
                self.record(record, value, Some(&Known::read(old)))?;
            }
            Then::Forget => {
                self.change_index(index::forgotten(&old));
                let key = session_key(session);
                self.remove_pieces(Table::Records, &key)?;
                self.write(Table::Records, key.to_vec(), None);
            }
        }
        Ok(Ok(Purged::Done))
    }

    /// Plans the removal of at most so many rows, and says whether nothing is left.
    fn remove_parts(&mut self, session: SessionId, rows: usize) -> Result<bool, StoreError> {
        let key = session_key(session);
        let mut left = rows;
        for table in PARTS {
            let forgotten = table == Table::Steps && faults::planted(Bug::PurgeAllButSteps);
            if forgotten {
                continue;
            }
            let pieces = table.pieces_of(&key);
            // The pieces first: without the value that they belong to nobody would look for them.
            let all = (table != Table::Events || self.remove_events(session, &mut left)?)
                && self.remove_rows(Table::Pieces, &pieces, &mut left)?
                && self.remove_rows(table, &key, &mut left)?;
            if !all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Plans the removal of the events of a session, each row with its pieces and the runs that begin or end in it, and
    /// says whether these are all. What cannot be read says nothing of runs: they lead to nobody from then on.
    fn remove_events(&mut self, session: SessionId, left: &mut usize) -> Result<bool, StoreError> {
        let mut rows = self.engine.tree(Table::Events).scan_prefix(session_key(session));
        while let Some((key, raw)) = reading(|| rows.next().transpose())? {
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            let events = events::lifecycle(self.engine, &key, &raw)?;
            if let Some((_, events)) = events {
                self.change_index(runs::forgotten(&events));
                self.remove_pieces(Table::Events, &key)?;
            }
            self.write(Table::Events, key.to_vec(), None);
        }
        Ok(true)
    }

    /// Plans the removal of the rows whose keys begin so, and says whether these are all.
    fn remove_rows(
        &mut self,
        table: Table,
        prefix: &[u8],
        left: &mut usize,
    ) -> Result<bool, StoreError> {
        let mut keys = self.engine.tree(table).scan_prefix(prefix).keys();
        while let Some(key) = reading(|| keys.next().transpose())? {
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            self.write(table, key.to_vec(), None);
        }
        Ok(true)
    }
}
