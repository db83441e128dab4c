//! Reading what was committed.

use std::ops::Bound;

use super::{
    engine::{Engine, reading},
    table::{Table, input_id_key, part_key, part_number, session_key},
    value,
};
use crate::{
    model::{
        ids::{InputId, SessionId},
        record::{SessionRecord, StoredInput},
    },
    store::{
        StoreError, codec,
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
