//! Events, packed: small ones share a row.
//!
//! A row holds a run of events and is keyed by the first. New events are appended to the last
//! row until it has [`FULL`] bytes; then a row begins. So a commit rewrites at most that much,
//! and a log of small events has rows of 4 to 8 KiB.

use ::sled::Tree;

use super::{
    engine::{Engine, reading},
    plan::Plan,
    table::{Table, part_key, part_number},
    value,
};
use crate::{
    model::{event::EventRecord, ids::SessionId},
    store::{StoreError, codec},
};

/// A row of this size takes no more.
const FULL: usize = 4 << 10;

/// A row grows beyond this size only if its first event does.
const MOST: usize = 8 << 10;

/// Events as they are stored, one after the other.
#[derive(Debug, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    /// Their numbers, and where each ends.
    ends: Vec<(u64, usize)>,
}

impl Packed {
    pub(super) fn new(events: &[EventRecord]) -> Self {
        let mut packed = Self::default();
        for event in events {
            codec::push_event(&mut packed.bytes, event);
            packed.ends.push((event.sequence, packed.bytes.len()));
        }
        packed
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut begin = 0;
        self.ends.iter().map(move |(sequence, end)| {
            let event = self.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            (*sequence, event)
        })
    }
}

/// Plans the new events of a session.
pub(super) fn append(
    plan: &mut Plan<'_>,
    session: SessionId,
    new: &Packed,
) -> Result<(), StoreError> {
    let Some((first, _)) = new.iter().next() else {
        return Ok(());
    };
    // Events are counted from the first of their row: after a gap, which a repair can leave, a
    // row must begin.
    let follows =
        |start: u64, body: &[u8]| codec::after_events(start, body).is_ok_and(|next| next == first);
    // A row that grows is in no pieces: it is too small for that. Nothing is where a row begins.
    let (mut start, mut body) = match small_row(plan.engine, session, first)? {
        Some((start, Ok(body))) if follows(start, &body) => (start, body),
        // A row that cannot be read stays as it is.
        Some((_, Ok(_) | Err(StoreError::Damaged { .. }))) | None => (first, Vec::new()),
        Some((_, Err(error))) => return Err(error),
    };
    for (sequence, event) in new.iter() {
        if body.is_empty() && event.len() >= FULL {
            // It fills a row by itself, and need not be copied into one.
            plan.put(Table::Events, part_key(session, sequence), event);
            start = sequence.saturating_add(1);
            continue;
        }
        let before = body.len();
        body.extend_from_slice(event);
        if before > 0 && body.len() > MOST {
            let next = body.split_off(before);
            plan.put(Table::Events, part_key(session, start), &body);
            (start, body) = (sequence, next);
        } else if body.len() >= FULL {
            plan.put(Table::Events, part_key(session, start), &body);
            (start, body) = (sequence.saturating_add(1), Vec::new());
        }
    }
    if !body.is_empty() {
        plan.put(Table::Events, part_key(session, start), &body);
    }
    Ok(())
}

/// Reads events in order, at most `limit`.
pub(super) fn read(
    engine: &Engine,
    session: SessionId,
    range: &std::ops::RangeInclusive<u64>,
    limit: usize,
) -> Result<Vec<EventRecord>, StoreError> {
    let mut found = Vec::new();
    if range.is_empty() {
        return Ok(found);
    }
    let tree = engine.tree(Table::Events);
    // The row that holds the first event begins at or before it.
    let begin = row_before(tree, session, range.start().saturating_add(1))?
        .map_or_else(|| part_key(session, *range.start()), |(key, _)| key.to_vec());
    let mut rows = tree.range(begin..=part_key(session, *range.end()));
    while found.len() < limit
        && let Some((key, raw)) = reading(|| rows.next().transpose())?
    {
        let first = part_number(session, &key).unwrap_or(0);
        let body = value::check(engine, Table::Events, &key, &raw)?;
        let events = codec::read_events(first, &body, |sequence| range.contains(&sequence))
            .map_err(|why| engine.damages.value(Table::Events, &key, &why, &raw))?;
        found.extend(events);
    }
    found.truncate(limit);
    Ok(found)
}

/// The events of a row, with their session and the number of the first; none where they cannot be read.
pub(super) fn row(
    engine: &Engine,
    key: &[u8],
    raw: &[u8],
) -> Result<Option<(SessionId, u64, Vec<EventRecord>)>, StoreError> {
    let Some((session, first, body)) = body(engine, key, raw)? else { return Ok(None) };
    let events = codec::read_events(first, &body, |_| true).ok();
    Ok(events.map(|events| (session, first, events)))
}

/// Of the events of a row all that the library has recorded, with their session; none where they cannot be read.
pub(super) fn lifecycle(
    engine: &Engine,
    key: &[u8],
    raw: &[u8],
) -> Result<Option<(SessionId, Vec<EventRecord>)>, StoreError> {
    let Some((session, first, body)) = body(engine, key, raw)? else { return Ok(None) };
    let events = codec::read_lifecycle(first, &body).ok();
    Ok(events.map(|events| (session, events)))
}

/// The body of a row, with its session and the number of its first event; none where it cannot be read.
fn body(
    engine: &Engine,
    key: &[u8],
    raw: &[u8],
) -> Result<Option<(SessionId, u64, Vec<u8>)>, StoreError> {
    let Some(session) = Table::Events.session(key) else { return Ok(None) };
    let first = part_number(session, key).unwrap_or(0);
    match value::check(engine, Table::Events, key, raw) {
        Ok(body) => Ok(Some((session, first, body))),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads events in order, those that can be read.
pub(super) fn read_sound(
    engine: &Engine,
    session: SessionId,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Vec<EventRecord>, StoreError> {
    let or_nothing = |answer| match answer {
        Err(StoreError::Damaged { .. }) => Ok(None),
        answer => answer.map(Some),
    };
    if let Some(all) = or_nothing(read(engine, session, &range, usize::MAX))? {
        return Ok(all);
    }
    let mut found = Vec::new();
    for sequence in range {
        let one = or_nothing(read(engine, session, &(sequence..=sequence), 1))?;
        found.extend(one.unwrap_or_default());
    }
    Ok(found)
}

type LastRow = (u64, Result<Vec<u8>, StoreError>);

/// The last row of a session before this event, with its number and body, where that may grow.
fn small_row(
    engine: &Engine,
    session: SessionId,
    before: u64,
) -> Result<Option<LastRow>, StoreError> {
    let row = row_before(engine.tree(Table::Events), session, before)?;
    let may_grow = |raw: &[u8]| !value::is_head(raw) && raw.len() < FULL + codec::OVERHEAD;
    Ok(row.filter(|(_, raw)| may_grow(raw)).map(|(key, raw)| {
        let start = part_number(session, &key).unwrap_or(0);
        (start, value::check(engine, Table::Events, &key, &raw))
    }))
}

fn row_before(
    tree: &Tree,
    session: SessionId,
    before: u64,
) -> Result<Option<(::sled::IVec, ::sled::IVec)>, StoreError> {
    let row = reading(|| tree.get_lt(part_key(session, before)))?;
    Ok(row.filter(|(key, _)| part_number(session, key).is_some()))
}
