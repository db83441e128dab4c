//! What a group of commits comes to: rows to write and rows to remove.
//!
//! A commit is planned against the stored rows and those that were planned before it, then the
//! whole plan is written in one transaction. A session is in a plan at most once, so only the
//! rows that sessions share, those of the index, are looked for in the plan itself.

use std::collections::{BTreeMap, HashSet};

use ::sled::Batch;

use super::{
    engine::Engine,
    events,
    meta::Meta,
    read,
    table::{META, Table, input_id_key, part_key, session_key},
    value,
};
use crate::{
    model::{
        ids::{InputId, SessionId},
        record::SessionRecord,
    },
    store::{
        Commit, Refusal, StoreError,
        admit::{Verdict, admit},
        codec,
        index::{self, Lookup},
    },
};

type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub(super) struct Plan<'a> {
    pub(super) engine: &'a Engine,
    /// The number that the commits of this plan will have.
    pub(super) number: u64,
    writes: BTreeMap<Table, Writes>,
    sessions: HashSet<SessionId>,
    bytes: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(engine: &'a Engine, number: u64) -> Self {
        Self {
            engine,
            number,
            writes: BTreeMap::new(),
            sessions: HashSet::new(),
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes to write so far.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn touches(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// Writes the plan, wholly or not at all.
    pub(super) fn apply(mut self, meta: &Meta) -> Result<(), StoreError> {
        self.put(Table::Meta, META.to_vec(), &meta.encode());
        let writes = self.writes.into_iter().map(|(table, writes)| {
            let mut batch = Batch::default();
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            (table, batch)
        });
        self.engine.apply(writes.collect())
    }

    /// Plans a commit.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<Result<(), Refusal>, StoreError> {
        let session = commit.record.id;
        let old = match read::record(self.engine, session) {
            Ok(old) => old,
            Err(StoreError::Damaged { reason, .. }) => {
                return Ok(Err(Refusal::Damaged { reason }));
            }
            Err(error) => return Err(error),
        };
        let used = |id: &InputId| read::input_id(self.engine, session, id);
        match admit(commit, old.as_ref(), self, used)? {
            Verdict::Refuse(refusal) => return Ok(Err(refusal)),
            Verdict::AlreadyIn => return Ok(Ok(())),
            Verdict::Do => {}
        }
        self.sessions.insert(session);
        self.snapshots(commit, old.as_ref())?;
        self.inputs(commit, old.as_ref())?;
        events::append(self, session, &commit.events)?;
        self.record(&commit.record, old.as_ref())?;
        Ok(Ok(()))
    }

    /// Plans a record and its index rows.
    pub(super) fn record(
        &mut self,
        record: &SessionRecord,
        old: Option<&SessionRecord>,
    ) -> Result<(), StoreError> {
        let before = old.map(index::rows).unwrap_or_default();
        for (key, value) in index::difference(&before, index::rows(record)) {
            match value {
                Some(value) => self.put(Table::Index, key, &value),
                None => self.write(Table::Index, key, None),
            }
        }
        let key = session_key(record.id);
        self.replace(Table::Records, &key, &codec::record(record))
    }

    fn snapshots(
        &mut self,
        commit: &Commit,
        old: Option<&SessionRecord>,
    ) -> Result<(), StoreError> {
        let record = &commit.record;
        let kept = |sequence| {
            record
                .snapshots
                .iter()
                .any(|kept| kept.sequence == sequence)
        };
        for gone in old.into_iter().flat_map(|old| &old.snapshots) {
            if !kept(gone.sequence) {
                self.remove(Table::Snapshots, &part_key(record.id, gone.sequence))?;
            }
        }
        if let (Some(newest), Some(bytes)) = (record.snapshot(), &commit.snapshot) {
            let key = part_key(record.id, newest.sequence);
            self.replace(Table::Snapshots, &key, bytes)?;
        }
        Ok(())
    }

    fn inputs(&mut self, commit: &Commit, old: Option<&SessionRecord>) -> Result<(), StoreError> {
        let record = &commit.record;
        let covered = record.inputs_covered();
        if let Some(old) = old {
            for sequence in old.inputs_covered() + 1..=covered.min(old.inbox.accepted) {
                self.remove(Table::Inputs, &part_key(record.id, sequence))?;
            }
        }
        for input in &commit.inputs {
            if input.sequence > covered {
                let key = part_key(record.id, input.sequence);
                self.put(Table::Inputs, key, &codec::input(input));
            }
            if let Some(id) = &input.id {
                let known = codec::input_id(input.sequence, crc32fast::hash(&input.payload));
                self.put(Table::InputIds, input_id_key(record.id, id), &known);
            }
        }
        Ok(())
    }

    /// Writes a value where nothing is, or something small.
    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, body: &[u8]) {
        let value = value::encode(table, &key, self.number, body);
        for (key, piece) in value.pieces {
            self.write(Table::Pieces, key, Some(piece));
        }
        self.write(table, key, Some(value.row));
    }

    /// Writes a value over what is there, with its pieces.
    pub(super) fn replace(
        &mut self,
        table: Table,
        key: &[u8],
        body: &[u8],
    ) -> Result<(), StoreError> {
        self.remove_pieces(table, key)?;
        self.put(table, key.to_vec(), body);
        Ok(())
    }

    /// Removes a value with its pieces.
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.remove_pieces(table, key)?;
        self.write(table, key.to_vec(), None);
        Ok(())
    }

    fn remove_pieces(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(raw) = self.engine.raw(table, key)? {
            for piece in value::piece_keys(self.engine, table, key, &raw)? {
                self.write(Table::Pieces, piece, None);
            }
        }
        Ok(())
    }

    fn write(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.writes.entry(table).or_default().insert(key, value);
    }
}

impl Lookup for Plan<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let planned = self
            .writes
            .get(&Table::Index)
            .and_then(|writes| writes.get(key));
        match planned {
            Some(None) => Ok(None),
            Some(Some(raw)) => {
                let body = codec::unseal(Table::Index.frame(), raw);
                Ok(Some(body.expect("it was sealed in this plan").to_vec()))
            }
            None => value::read(self.engine, Table::Index, key),
        }
    }
}
