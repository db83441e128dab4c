//! What a commit changes about the snapshots of its session: which rows, pieces and chunks are
//! written, and which are removed.

use std::collections::HashSet;

use super::{
    chunks::{self, Address, Cut, Head},
    known::Known,
    plan::Plan,
    slots::{self, Place, Row, slot},
    table::{Table, chunk_key, part_key},
    value,
};
use crate::{
    faults::{self, Bug},
    model::ids::SessionId,
    store::{
        Commit, StoreError,
        codec::{self, Frame, Unreadable},
    },
};

#[cfg(test)]
mod tests;

impl Plan<'_> {
    /// Plans the snapshots of a commit, and says where those are that it keeps.
    pub(super) fn snapshots(
        &mut self,
        commit: &Commit,
        cut: Option<&Cut>,
        old: Option<&Known>,
    ) -> Result<Vec<Row>, StoreError> {
        let record = &commit.record;
        let newest = record.snapshot().zip(commit.snapshot.as_deref());
        let cut = cut.filter(|_| newest.is_some());
        let is_kept = |sequence| record.snapshots.iter().any(|kept| kept.sequence == sequence);
        let is_replaced = |sequence| newest.is_some_and(|(newest, _)| newest.sequence == sequence);
        let old = old.into_iter().flat_map(Known::snapshots);
        let (mut staying, mut going): (Vec<Row>, Vec<Row>) =
            old.partition(|row| is_kept(row.sequence) && !is_replaced(row.sequence));
        let in_newest_slot =
            |sequence| newest.is_some_and(|(newest, _)| slot(newest.sequence) == slot(sequence));
        for row in staying.iter_mut().filter(|row| in_newest_slot(row.sequence)).chain(&mut going) {
            *row = row.found(self.engine, record.id)?;
        }
        let is_in_its_way = |row: &Row| {
            let has_slot = row.place == Place::Slot && in_newest_slot(row.sequence);
            has_slot && !faults::planted(Bug::TakeKeptSlot)
        };
        let place = newest.map(|(_, bytes)| match cut {
            None if slots::fits(bytes) && !staying.iter().any(is_in_its_way) => Place::Slot,
            None if !value::is_in_pieces(bytes) => Place::Row,
            None | Some(_) => Place::Split,
        });
        if cut.is_some() || going.iter().any(|row| row.may_be_split()) {
            self.chunks(record.id, cut, &staying, &going)?;
        }
        for row in going {
            self.remove_snapshot(record.id, row)?;
        }
        if let (Some((newest, bytes)), Some(place)) = (newest, place) {
            let key = part_key(record.id, newest.sequence);
            match (place, cut) {
                (Place::Slot, _) => {
                    let row = slots::seal(newest.sequence, bytes);
                    self.write(Table::Slots, slots::key(record.id, newest.sequence), Some(row));
                }
                (_, Some(cut)) => self.write(Table::Snapshots, key, Some(cut.head().to_vec())),
                (_, None) => self.put(Table::Snapshots, key, bytes),
            }
            staying.push(Row { sequence: newest.sequence, place });
        }
        Ok(staying)
    }

    /// Plans the removal of a snapshot's rows but for its chunks. What is planned for the same rows
    /// after that takes its place.
    fn remove_snapshot(&mut self, session: SessionId, row: Row) -> Result<(), StoreError> {
        let key = part_key(session, row.sequence);
        match row.place {
            Place::Slot => self.write(Table::Slots, slots::key(session, row.sequence), None),
            Place::Row => self.write(Table::Snapshots, key, None),
            Place::Split | Place::Unknown => {
                self.remove_pieces(Table::Snapshots, &key)?;
                self.write(Table::Snapshots, key, None);
            }
        }
        Ok(())
    }

    /// Plans a snapshot where none is. Its session has no chunks yet but those of another new one.
    pub(super) fn new_snapshot(&mut self, session: SessionId, sequence: u64, bytes: Vec<u8>) {
        let key = part_key(session, sequence);
        if !chunks::is_large(&bytes) {
            return self.put(Table::Snapshots, key, &bytes);
        }
        let cut = Cut::new(session, bytes.into());
        let engine = self.engine;
        cut.missing(
            |address| matches!(value::chunk(engine, session, address), Ok(Some(_))),
            |key, row| self.write(Table::Chunks, key, Some(row)),
        );
        self.write(Table::Snapshots, key, Some(cut.head().to_vec()));
    }

    /// Finds the chunks of an old snapshot. One that is damaged hinders no commit.
    fn named(
        &self,
        session: SessionId,
        row: &Row,
        is_known: impl Fn(&Address) -> bool,
    ) -> Result<Named, StoreError> {
        let key = part_key(session, row.sequence);
        let raw = if row.may_be_split() { self.engine.raw(Table::Snapshots, &key)? } else { None };
        let Some(raw) = raw else {
            return Ok(Named::none());
        };
        if codec::claims(Frame::Snapshot, &raw) || value::is_head(&raw) {
            return Ok(Named::none());
        }
        let mut addresses = HashSet::new();
        let found = Head::read(&raw).and_then(|head| {
            let row = |address: &_| {
                value::chunk(self.engine, session, address)
                    .map_err(|error| Unreadable::Content(error.into()))
            };
            head.name(session, is_known, row, &mut addresses)
        });
        let is_whole = found.is_ok();
        if let Err(why) = found {
            // The error is for those who want to read it.
            let _ = self.engine.damages.value(Table::Snapshots, &key, &why, &raw);
        }
        // Of one that could not be read, any chunk may be missing.
        let is_stored = !self.engine.damages.has_snapshot(&key);
        let is_stored = is_stored || faults::planted(Bug::TrustDamagedSnapshot);
        Ok(Named { addresses, is_whole, is_stored })
    }

    /// Plans the chunks of a new snapshot that no old one has, and the removal of those that only the
    /// going ones have.
    fn chunks(
        &mut self,
        session: SessionId,
        cut: Option<&Cut>,
        staying: &[Row],
        going: &[Row],
    ) -> Result<(), StoreError> {
        let has = |address: &_| cut.is_some_and(|cut| cut.has(address));
        let mut stored = HashSet::new();
        let mut needed = HashSet::new();
        let mut is_sure = true;
        for row in staying {
            let named = self.named(session, row, has)?;
            is_sure &= named.is_whole;
            stored.extend(named.stored());
            needed.extend(named.addresses);
        }
        let mut gone = HashSet::new();
        for row in going {
            let named = self.named(session, row, |list| has(list) || needed.contains(list))?;
            stored.extend(named.stored());
            gone.extend(named.addresses);
        }
        if let Some(cut) = cut {
            cut.missing(
                |address| stored.contains(address),
                |key, row| self.write(Table::Chunks, key, Some(row)),
            );
        }
        // Where it is not known what the others need, chunks are left behind that nobody does.
        if is_sure {
            let is_needed = |address: &_| {
                let by_others = needed.contains(address);
                has(address) || (by_others && !faults::planted(Bug::RemoveNeededChunk))
            };
            for address in gone.iter().filter(|address| !is_needed(address)) {
                self.write(Table::Chunks, chunk_key(session, address), None);
            }
        }
        Ok(())
    }
}

/// The chunks of a stored snapshot.
#[derive(Default)]
struct Named {
    /// Without those below a list that was known before.
    addresses: HashSet<Address>,
    /// Whether these are all of them.
    is_whole: bool,
    /// Whether all of them are stored, as far as it is known.
    is_stored: bool,
}

impl Named {
    fn none() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    fn stored(&self) -> impl Iterator<Item = Address> {
        self.addresses.iter().filter(|_| self.is_stored).copied()
    }
}
