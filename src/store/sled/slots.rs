//! Where the row of a snapshot is.
//!
//! A session has two slots, one for snapshots with even numbers and one for odd ones. A snapshot that
//! fits into one row lies in its slot, so that a checkpoint writes over the snapshot that is not kept
//! any more: to make a row and remove another costs sled half as much again. A larger snapshot has a row
//! with its number, and so has one whose slot is taken by another that is still kept. Stores that were
//! repaired or imported have only such rows at first, as have those of earlier versions.
//!
//! ```text
//! slot   sequence: u64 | bytes
//! ```

use super::{
    engine::Engine,
    table::{Table, part_key, session_key},
    value,
};
use crate::{
    faults::{self, Bug},
    model::ids::SessionId,
    store::{
        StoreError,
        codec::{self, Frame, Reader, Unreadable},
    },
};

/// A snapshot that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sequence: u64,
    pub(super) place: Place,
}

/// Where a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In its slot.
    Slot,
    /// In a row with its number.
    Row,
    /// In a row with its number, and in pieces or chunks.
    Split,
    /// Nobody has looked yet.
    Unknown,
}

impl Row {
    /// Whether it may take more than one row.
    pub(super) const fn may_be_split(self) -> bool {
        matches!(self.place, Place::Split | Place::Unknown)
    }

    /// The same, with a place that is known.
    pub(super) fn found(self, engine: &Engine, session: SessionId) -> Result<Self, StoreError> {
        let place = match self.place {
            Place::Unknown if is_in_slot(engine, session, self.sequence)? => Place::Slot,
            // With its row goes whatever belongs to it.
            Place::Unknown => Place::Split,
            known @ (Place::Slot | Place::Row | Place::Split) => known,
        };
        Ok(Self { place, ..self })
    }
}

/// Which slot a snapshot lies in, if it lies in one.
pub(super) const fn slot(sequence: u64) -> u8 {
    (sequence % 2) as u8
}

/// The key of the slot for a snapshot.
pub(super) fn key(session: SessionId, sequence: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(16 + 1);
    key.extend_from_slice(&session_key(session));
    key.push(slot(sequence));
    key
}

/// Whether a snapshot is small enough for a slot.
pub(super) const fn fits(bytes: &[u8]) -> bool {
    bytes.len() + 8 + codec::OVERHEAD <= value::ROW
}

/// The row of a slot.
pub(super) fn seal(sequence: u64, bytes: &[u8]) -> Vec<u8> {
    codec::seal_with(Frame::Slot, 8 + bytes.len(), |row| {
        row.extend_from_slice(&sequence.to_le_bytes());
        row.extend_from_slice(bytes);
    })
}

/// The number and the bytes of the snapshot in a slot.
pub(super) fn unseal(row: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    numbered(codec::unseal(Frame::Slot, row)?)
}

/// The same, of the body of its row.
pub(super) fn numbered(body: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    let mut reader = Reader(body);
    let sequence = reader.u64()?;
    Ok((sequence, reader.0))
}

/// Reads a snapshot, wherever it is.
pub(super) fn read(
    engine: &Engine,
    session: SessionId,
    sequence: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key(session, sequence);
    let row = part_key(session, sequence);
    let mut raw = engine.raw(Table::Slots, &key)?;
    loop {
        let in_slot = raw.as_deref().map(unseal).transpose();
        if let Ok(Some((found, bytes))) = in_slot
            && (found == sequence || faults::planted(Bug::ReadAnySlot))
        {
            return Ok(Some(bytes.to_vec()));
        }
        if let Some(bytes) = value::read(engine, Table::Snapshots, &row)? {
            return Ok(Some(bytes));
        }
        // The writer may have put it into the slot meanwhile.
        let again = engine.raw(Table::Slots, &key)?;
        if again == raw {
            return match in_slot {
                Ok(_) => Ok(None),
                // What cannot be read may well be this one.
                Err(why) => Err(engine.damages.value(
                    Table::Snapshots,
                    &row,
                    &why,
                    again.as_deref().unwrap_or_default(),
                )),
            };
        }
        raw = again;
    }
}

/// Whether a snapshot is in its slot. One that cannot be read may be: it is written over.
fn is_in_slot(engine: &Engine, session: SessionId, sequence: u64) -> Result<bool, StoreError> {
    let raw = engine.raw(Table::Slots, &key(session, sequence))?;
    Ok(raw.is_some_and(|raw| unseal(&raw).is_ok_and(|(found, _)| found == sequence)))
}
