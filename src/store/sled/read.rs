//! Reading what was committed.

use std::ops::Bound;

use super::{
    engine::{Engine, reading},
    table::{
        Table, input_id_key, part_key, part_number, reader_of, session_key, step_of, turn_key,
    },
    value,
};
use crate::{
    model::{
        ids::{InputId, SessionId},
        record::{SessionRecord, StoredInput},
        step::{StoredStep, Turn},
    },
    store::{
        Bookmark, Refusal, StoreError,
        codec::{self, Unreadable},
        index::{Index, Lookup},
    },
};

pub(super) fn record(
    engine: &Engine,
    session: SessionId,
) -> Result<Option<SessionRecord>, StoreError> {
    let key = session_key(session);
    let Some(body) = value::read(engine, Table::Records, &key)? else {
        return Ok(None);
    };
    let record = codec::read_record(session, &body)
        .map_err(|why| engine.damages.value(Table::Records, &key, &why, &body))?;
    Ok(Some(record))
}

/// The record of a session that something is to be done to: one that cannot be read refuses that.
pub(super) fn record_to_change(
    engine: &Engine,
    session: SessionId,
) -> Result<Result<Option<SessionRecord>, Refusal>, StoreError> {
    match record(engine, session) {
        Ok(record) => Ok(Ok(record)),
        Err(StoreError::Damaged { reason, .. }) => Ok(Err(Refusal::Damaged { reason })),
        Err(error) => Err(error),
    }
}

pub(super) fn inputs(
    engine: &Engine,
    session: SessionId,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredInput>, StoreError> {
    let range =
        (Bound::Excluded(part_key(session, after)), Bound::Included(part_key(session, u64::MAX)));
    let mut found = Vec::new();
    if after == u64::MAX {
        return Ok(found);
    }
    let mut rows = engine.tree(Table::Inputs).range(range);
    while found.len() < limit
        && let Some((key, raw)) = reading(|| rows.next().transpose())?
    {
        let sequence = part_number(session, &key).unwrap_or(0);
        let body = value::check(engine, Table::Inputs, &key, &raw)?;
        let input = codec::read_input(sequence, &body)
            .map_err(|why| engine.damages.value(Table::Inputs, &key, &why, &raw))?;
        found.push(input);
    }
    Ok(found)
}

/// The bookmarks that can be read; the others are noted.
pub(super) fn bookmarks(engine: &Engine) -> Result<Vec<Bookmark>, StoreError> {
    let mut found = Vec::new();
    let mut rows = engine.tree(Table::Bookmarks).iter();
    while let Some((key, raw)) = reading(|| rows.next().transpose())? {
        // Damage to one is in the list of damages then, and its reader begins anew.
        let Ok(body) = value::check(engine, Table::Bookmarks, &key, &raw) else { continue };
        let Some(reader) = reader_of(&key) else {
            engine.damages.value(Table::Bookmarks, &key, &Unreadable::Misplaced, &raw);
            continue;
        };
        match codec::read_bookmark(reader, &body) {
            Ok(bookmark) => found.push(bookmark),
            Err(why) => drop(engine.damages.value(Table::Bookmarks, &key, &why, &raw)),
        }
    }
    Ok(found)
}

pub(super) fn steps(
    engine: &Engine,
    session: SessionId,
    after: Turn,
) -> Result<Vec<StoredStep>, StoreError> {
    let mut found = Vec::new();
    for row in step_rows(engine, session, (Bound::Excluded(after), Bound::Unbounded))? {
        // The writer may have removed it meanwhile.
        let Some(body) = value::read(engine, Table::Steps, &row)? else { continue };
        found.push(step(engine, session, &row, &body)?);
    }
    found.sort_unstable_by(|a, b| (a.turn, &a.key).cmp(&(b.turn, &b.key)));
    Ok(found)
}

/// The step in a row.
pub(super) fn step(
    engine: &Engine,
    session: SessionId,
    row: &[u8],
    body: &[u8],
) -> Result<StoredStep, StoreError> {
    step_of(session, row)
        .ok_or(Unreadable::Misplaced)
        .and_then(|(turn, key)| codec::read_step(turn, &key, body))
        .map_err(|why| engine.damages.value(Table::Steps, row, &why, body))
}

/// The keys of the rows of the steps of some turns.
pub(super) fn step_rows(
    engine: &Engine,
    session: SessionId,
    turns: (Bound<Turn>, Bound<Turn>),
) -> Result<Vec<Vec<u8>>, StoreError> {
    // What follows the begin of a row is at most a length and a key.
    let first_of = |turn| turn_key(session, turn);
    let last_of = |turn| [first_of(turn), vec![u8::MAX; 3]].concat();
    let ends = Turn { input: u64::MAX, interlude: u64::MAX };
    let from = match turns.0 {
        Bound::Included(turn) => first_of(turn),
        Bound::Excluded(turn) => last_of(turn),
        Bound::Unbounded => first_of(Turn::default()),
    };
    let to = match turns.1 {
        Bound::Included(turn) => last_of(turn),
        Bound::Excluded(turn) => first_of(turn),
        Bound::Unbounded => last_of(ends),
    };
    let mut keys = engine.tree(Table::Steps).range(from..to).keys();
    let mut rows = Vec::new();
    while let Some(key) = reading(|| keys.next().transpose())? {
        rows.push(key.to_vec());
    }
    Ok(rows)
}

pub(super) fn input_id(
    engine: &Engine,
    session: SessionId,
    id: &InputId,
) -> Result<Option<(u64, u32)>, StoreError> {
    let key = input_id_key(session, id);
    let Some(body) = value::read(engine, Table::InputIds, &key)? else {
        return Ok(None);
    };
    codec::read_input_id(&body)
        .map(Some)
        .map_err(|why| engine.damages.value(Table::InputIds, &key, &why, &body))
}

impl Lookup for Engine {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        value::read(self, Table::Index, key)
    }
}

impl Index for Engine {
    fn below(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let row = reading(|| self.tree(Table::Index).get_lt(bound))?;
        Ok(row.map(|(key, _)| key.to_vec()))
    }

    fn sound(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(raw) = self.raw(Table::Index, key)? else { return Ok(None) };
        // Its damage is noted.
        Ok(value::check(self, Table::Index, key, &raw).ok())
    }

    fn above(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let row = reading(|| self.tree(Table::Index).get_gt(bound))?;
        Ok(row.map(|(key, _)| key.to_vec()))
    }
}
