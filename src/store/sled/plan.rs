//! What a group of commits comes to: rows to write and rows to remove.
//!
//! A commit is planned against the stored rows and those that were planned before it, then the
//! whole plan is written in one transaction. A session is in a plan at most once, so only the
//! rows that sessions share, those of the index, are looked for in the plan itself.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map},
    ops::Bound,
};

use ::sled::Batch;

use super::{
    counted,
    engine::Engine,
    events,
    known::{Cache, Known},
    meta::Meta,
    prepared::Ready,
    read,
    table::{META, Table, input_id_key, part_key, reader_key, session_key, step_key},
    value::{self, Value},
};
use crate::{
    model::{
        counts::StateCounts,
        footprint::{StateBytes, given_up},
        ids::{InputId, SessionId},
        record::SessionRecord,
    },
    store::{
        Bookmark, Commit, Refusal, StoreError,
        admit::{Verdict, admit, admit_successor},
        codec, counts,
        index::{self, After, Lookup},
        journal::{self, Entry},
        runs,
    },
};

pub(super) struct Plan<'a> {
    pub(super) engine: &'a Engine,
    /// The number that the commits of this plan will have.
    pub(super) number: u64,
    writes: BTreeMap<Table, Batch>,
    /// What is planned for the index, by its keys.
    index: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// The counters that change, as they will be.
    counts: HashMap<Vec<u8>, StateCounts>,
    /// What its records hold, and what those held that they replace.
    held: (StateBytes, StateBytes),
    sessions: HashSet<SessionId>,
    /// The events of its commits, in the order in which they are done.
    logged: Vec<Entry>,
    bytes: usize,
    dead: usize,
}

impl<'a> Plan<'a> {
    pub(super) fn new(engine: &'a Engine, number: u64) -> Self {
        Self {
            engine,
            number,
            writes: BTreeMap::new(),
            index: HashMap::new(),
            counts: HashMap::new(),
            held: Default::default(),
            sessions: HashSet::new(),
            logged: Vec::new(),
            bytes: 0,
            dead: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes to write so far.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows it replaces or removes so far, which are dead in the log from then on. The small
    /// ones of the index are not counted.
    pub(super) const fn dead(&self) -> usize {
        self.dead
    }

    /// Whether a session of this commit is in it.
    pub(super) fn touches(&self, commit: &Commit) -> bool {
        commit.both().any(|one| self.sessions.contains(&one.record.id))
    }

    /// How many events its commits have.
    pub(super) fn logged(&self) -> u64 {
        self.logged.iter().map(Entry::count).sum()
    }

    /// What all sessions hold when it is done.
    pub(super) fn weigh(&self, held: &mut StateBytes) {
        let (added, removed) = &self.held;
        held.apply(added, removed);
    }

    /// Plans the places of some events in the log of all sessions.
    pub(super) fn log(&mut self, position: u64, entries: &[Entry]) {
        for (key, value) in journal::rows(position, entries) {
            self.put(Table::Index, key, &value);
        }
    }

    /// Writes the plan, wholly or not at all. The log ends with its events.
    pub(super) fn apply(mut self, meta: &Meta) -> Result<(), StoreError> {
        if let (Some(end), false) = (meta.log, self.logged.is_empty()) {
            let logged = std::mem::take(&mut self.logged);
            let count: u64 = logged.iter().map(Entry::count).sum();
            self.log(end.last + 1 - count, &logged);
        }
        for (key, counts) in std::mem::take(&mut self.counts) {
            if counts.total() > 0 || counts::is_of_all(&key) {
                self.put(Table::Index, key, &counted::encode(&counts));
            } else {
                self.write(Table::Index, key, None);
            }
        }
        self.put(Table::Meta, META.to_vec(), &meta.encode());
        self.engine.apply(self.writes.into_iter().collect())
    }

    /// Plans a commit, with that of its successor.
    pub(super) fn commit(
        &mut self,
        ready: Ready,
        cache: &mut Cache,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let old = match self.stored(ready.commit.record.id, cache)? {
            Ok(old) => old,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let answer = match self.admit(&ready, old.as_ref(), cache)? {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::AlreadyIn => Ok(()),
            Verdict::Do => {
                self.store(ready, old.as_ref(), cache)?;
                return Ok(Ok(()));
            }
        };
        if let Some(old) = old {
            cache.put(old);
        }
        Ok(answer)
    }

    /// Plans how far a reader of the log has come.
    pub(super) fn bookmark(&mut self, bookmark: &Bookmark) -> Result<(), StoreError> {
        let key = reader_key(&bookmark.reader);
        self.remove_pieces(Table::Bookmarks, &key)?;
        self.put(Table::Bookmarks, key, &codec::bookmark(bookmark));
        Ok(())
    }

    /// What is stored of a session, where that can be read.
    fn stored(
        &self,
        session: SessionId,
        cache: &mut Cache,
    ) -> Result<Result<Option<Known>, Refusal>, StoreError> {
        if let Some(known) = cache.take(session) {
            return Ok(Ok(Some(known)));
        }
        let stored = read::record_to_change(self.engine, session)?;
        Ok(stored.map(|old| old.map(Known::read)))
    }

    fn admit(
        &self,
        ready: &Ready,
        old: Option<&Known>,
        cache: &mut Cache,
    ) -> Result<Verdict, StoreError> {
        let commit = &ready.commit;
        let stored = old.map(|old| &*old.record);
        let used = |id: &InputId| match stored {
            Some(_) => read::input_id(self.engine, commit.record.id, id),
            None => Ok(None),
        };
        let verdict = admit(commit, stored, self, used)?;
        let (Verdict::Do, Some(successor)) = (&verdict, &commit.successor) else {
            return Ok(verdict);
        };
        let found = match self.stored(successor.record.id, cache)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Verdict::Refuse(Refusal::Successor(Box::new(refusal)))),
        };
        let after = After::new(self, stored, &commit.record);
        let there = found.as_ref().map(|found| &*found.record);
        let refusal = admit_successor(commit, successor, there, &after)?;
        if let Some(found) = found {
            cache.put(found);
        }
        Ok(refusal.map_or(Verdict::Do, Verdict::Refuse))
    }

    /// Plans a commit that was admitted, and then its successor.
    fn store(
        &mut self,
        ready: Ready,
        old: Option<&Known>,
        cache: &mut Cache,
    ) -> Result<(), StoreError> {
        let Ready { commit, record, events, cut, successor } = ready;
        let session = commit.record.id;
        self.sessions.insert(session);
        // A tombstone removes nothing: that is what a purge does.
        let snapshots = if commit.record.is_deleted() {
            Vec::new()
        } else {
            self.inputs(&commit, old)?;
            self.steps(&commit, old)?;
            self.snapshots(&commit, cut.as_ref(), old)?
        };
        events::append(self, session, &events)?;
        self.change_index(runs::rows(session, &commit.events));
        self.logged.extend(Entry::of(session, &commit.events));
        let in_pieces = matches!(record, Value::InPieces(_));
        self.record(&commit.record, record, old)?;
        cache.put(Known::written(&commit.record, in_pieces, snapshots));
        match successor {
            Some(successor) => self.store(*successor, None, cache),
            None => Ok(()),
        }
    }

    /// Plans a record where none is, and its index rows.
    pub(super) fn new_record(&mut self, record: &SessionRecord) -> Result<(), StoreError> {
        self.index_rows(None, record)?;
        let key = session_key(record.id).to_vec();
        self.put(Table::Records, key, &codec::record(record));
        Ok(())
    }

    pub(super) fn record(
        &mut self,
        record: &SessionRecord,
        value: Value,
        old: Option<&Known>,
    ) -> Result<(), StoreError> {
        self.index_rows(old.map(|old| &*old.record), record)?;
        let key = session_key(record.id);
        if let Some(old) = old {
            self.dead += 1;
            if old.in_pieces {
                self.remove_pieces(Table::Records, &key)?;
            }
        }
        match value {
            Value::Row(row) => self.write(Table::Records, key.to_vec(), Some(row)),
            Value::InPieces(body) => self.put(Table::Records, key.to_vec(), &body),
        }
        Ok(())
    }

    fn index_rows(
        &mut self,
        old: Option<&SessionRecord>,
        new: &SessionRecord,
    ) -> Result<(), StoreError> {
        self.change_index(index::changes(old, new));
        self.held.0.add(new);
        if let Some(old) = given_up(old) {
            self.held.1.add(old);
        }
        for (key, step) in counts::steps(old, new) {
            let counts = match self.counts.entry(key) {
                hash_map::Entry::Occupied(planned) => planned.into_mut(),
                hash_map::Entry::Vacant(entry) => {
                    let stored = counted::sound(self.engine, entry.key())?;
                    entry.insert(stored)
                }
            };
            step.apply(counts);
        }
        Ok(())
    }

    pub(super) fn change_index(
        &mut self,
        changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
    ) {
        for (key, value) in changes {
            match &value {
                Some(value) => self.put(Table::Index, key.clone(), value),
                None => self.write(Table::Index, key.clone(), None),
            }
            self.index.insert(key, value);
        }
    }

    fn inputs(&mut self, commit: &Commit, old: Option<&Known>) -> Result<(), StoreError> {
        let record = &commit.record;
        let covered = record.inputs_covered();
        if let Some(Known { record: old, .. }) = old {
            for sequence in old.inputs_covered() + 1..=covered.min(old.inbox.accepted) {
                let key = part_key(record.id, sequence);
                self.remove_pieces(Table::Inputs, &key)?;
                self.write(Table::Inputs, key, None);
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

    fn steps(&mut self, commit: &Commit, old: Option<&Known>) -> Result<(), StoreError> {
        let record = &commit.record;
        let covered = record.steps_covered();
        let old = old.map(|old| &old.record).filter(|old| old.steps.is_some());
        if old.is_some_and(|old| old.steps_covered() < covered) {
            let gone = (Bound::Unbounded, Bound::Included(covered));
            for row in read::step_rows(self.engine, record.id, gone)? {
                self.remove_pieces(Table::Steps, &row)?;
                self.write(Table::Steps, row, None);
            }
        }
        for step in commit.steps.iter().filter(|step| step.turn > covered) {
            let row = step_key(record.id, step.turn, &step.key);
            if old.is_some() {
                self.remove_pieces(Table::Steps, &row)?;
            }
            self.put(Table::Steps, row, &codec::step(step));
        }
        Ok(())
    }

    /// Writes a value. Where one was that may be in pieces, they are to be removed before.
    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, body: &[u8]) {
        let value = value::encode(table, &key, self.number, body);
        for (key, piece) in value.pieces {
            self.write(Table::Pieces, key, Some(piece));
        }
        self.write(table, key, Some(value.row));
    }

    pub(super) fn remove_pieces(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if let Some(raw) = self.engine.raw(table, key)? {
            for piece in value::piece_keys(self.engine, table, key, &raw)? {
                self.write(Table::Pieces, piece, None);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        let batch = self.writes.entry(table).or_default();
        match value {
            Some(value) => batch.insert(key, value),
            None => {
                self.dead += usize::from(table != Table::Index);
                batch.remove(key);
            }
        }
    }
}

impl Lookup for Plan<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.index.get(key) {
            Some(planned) => Ok(planned.clone()),
            None => value::read(self.engine, Table::Index, key),
        }
    }
}
