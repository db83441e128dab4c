//! The counters of sessions, as rows of the index.

use std::collections::BTreeMap;

use super::{
    engine::{Engine, reading},
    meta::Meta,
    plan::Plan,
    read,
    table::Table,
    value,
};
use crate::{
    model::{
        counts::{Scope, StateCounts, counted},
        footprint::StateBytes,
        state::State,
    },
    store::{
        StoreError,
        codec::{self, Reader, Unreadable},
        counts, index,
    },
};

/// How many counters are written at once where there were none.
const GROUP: usize = 4096;

/// How many sessions are in each state.
pub(super) fn read(engine: &Engine, scope: &Scope) -> Result<StateCounts, StoreError> {
    let key = counts::key(scope);
    let Some(body) = value::read(engine, Table::Index, &key)? else {
        return Ok(StateCounts::default());
    };
    decode(&body).map_err(|why| engine.damages.value(Table::Index, &key, &why, &body))
}

/// A counter as it is in the database. One that cannot be read is counted anew, by a walk over what it counts.
pub(super) fn sound(engine: &Engine, key: &[u8]) -> Result<StateCounts, StoreError> {
    let Some(raw) = engine.raw(Table::Index, key)? else { return Ok(StateCounts::default()) };
    let read = codec::unseal(Table::Index.frame(), &raw).and_then(decode);
    match read {
        Ok(counts) => Ok(counts),
        Err(why) => {
            engine.damages.value(Table::Index, key, &why, &raw);
            recount(engine, key)
        }
    }
}

fn recount(engine: &Engine, key: &[u8]) -> Result<StateCounts, StoreError> {
    let mut found = StateCounts::default();
    let Some(prefix) = counts::counted_by(key) else { return Ok(found) };
    let mut rows = engine.tree(Table::Index).scan_prefix(prefix).keys();
    while let Some(key) = reading(|| rows.next().transpose())? {
        let Some(session) = index::session_under(prefix, &key) else { continue };
        // One that is damaged is in the list of damages.
        let record = match read::record(engine, session) {
            Err(StoreError::Damaged { .. }) => None,
            answer => answer?,
        };
        if let Some(state) = record.as_ref().and_then(counted) {
            found.add(state);
        }
    }
    Ok(found)
}

/// Counts all sessions, unless they are counted: in a store that was written before they were. Interrupted, it begins
/// anew the next time.
pub(super) fn place(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    let of_all = counts::key(&Scope::All);
    if engine.raw(Table::Index, &of_all)?.is_some() {
        return Ok(());
    }
    let mut found: BTreeMap<Vec<u8>, StateCounts> = BTreeMap::new();
    let mut rows = engine.tree(Table::Records).iter().keys();
    while let Some(key) = reading(|| rows.next().transpose())? {
        let Some(session) = Table::Records.session(&key) else { continue };
        let record = match read::record(engine, session) {
            Err(StoreError::Damaged { .. }) => None,
            answer => answer?,
        };
        let Some(record) = record else { continue };
        let Some(state) = counted(&record) else { continue };
        for counter in counts::counters_of(&record) {
            found.entry(counter).or_default().add(state);
        }
    }
    // That of all says that the others are there, so it comes last.
    let Some(all) = found.remove(&of_all) else { return Ok(()) };
    let found: Vec<_> = found.into_iter().chain([(of_all, all)]).collect();
    for group in found.chunks(GROUP) {
        let mut plan = Plan::new(engine, meta.commit + 1);
        for (key, counts) in group {
            plan.put(Table::Index, key.clone(), &encode(counts));
        }
        meta.commit = plan.number;
        plan.apply(meta)?;
    }
    engine.flush()?;
    engine.sync()
}

/// Sums up what all sessions hold, unless that is known: in a store that was written before it was counted, or put together anew.
pub(super) fn weigh(engine: &Engine, meta: &mut Meta) -> Result<(), StoreError> {
    if meta.held.is_some() {
        return Ok(());
    }
    let mut held = StateBytes::default();
    let mut rows = engine.tree(Table::Records).iter().keys();
    while let Some(key) = reading(|| rows.next().transpose())? {
        let Some(session) = Table::Records.session(&key) else { continue };
        match read::record(engine, session) {
            Ok(record) => record.iter().for_each(|record| held.add(record)),
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    meta.held = Some(held);
    if held.total() == 0 {
        return Ok(());
    }
    let plan = Plan::new(engine, meta.commit + 1);
    meta.commit = plan.number;
    plan.apply(meta)?;
    engine.flush()?;
    engine.sync()
}

/// The row of a counter.
pub(super) fn encode(counts: &StateCounts) -> Vec<u8> {
    BY_NUMBER.iter().flat_map(|state| counts.of(*state).to_le_bytes()).collect()
}

fn decode(body: &[u8]) -> Result<StateCounts, Unreadable> {
    let mut reader = Reader(body);
    let mut counts = StateCounts::default();
    for state in BY_NUMBER {
        counts.set(state, reader.u64()?);
    }
    Ok(counts)
}

/// The states in the order in which they are on disk, which stays.
pub(super) const BY_NUMBER: [State; 8] = [
    State::Pending,
    State::Active,
    State::Paused,
    State::Stopping,
    State::Stopped,
    State::Completed,
    State::Failed,
    State::Expired,
];
