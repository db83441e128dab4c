//! The index rows that follow from a record, and the searches that walk over them.
//!
//! A row is a key of bytes, ordered as bytes, with a small value. All keys begin with one byte
//! that names the index; texts end with a zero byte, which no text can contain; places in a
//! listing are the time of creation and the id, so that a walk downwards is newest first.
//!
//! | index | key after the first byte | value |
//! | --- | --- | --- |
//! | `a` all | place | – |
//! | `t` state | state, place | – |
//! | `k` kind | kind, place | – |
//! | `l` label | key, value, place | – |
//! | `n` name | name, place | – |
//! | `h` holder of a name | name | session |
//! | `x` external id | id, place | – |
//! | `s` start key | key | session, digest |
//! | `d` due | lane, time, session | – |
//! | `r` related | the session that it comes from, relation, place | – |
//!
//! Those of the log of all sessions (`journal`) and of runs (`runs.rs`) follow from events.

use std::collections::BTreeMap;

use chrono::DateTime;
use uuid::Uuid;

use super::{Cursor, Due, Key, Page, Query, Related, StoreError};
use crate::{
    faults::{self, Bug},
    model::{
        ids::{ExternalId, Kind, Name, SessionId, StartKey},
        labels::Labels,
        lineage::{Links, Relation},
        record::{Lane, SessionRecord, StartRequest},
        state::State,
        time::{LaneTime, Timestamp},
    },
};

/// Index rows by their keys.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows that can be looked up.
pub(super) trait Lookup {
    /// The value of a key.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Ordered rows that can be searched.
pub(super) trait Index: Lookup {
    /// The largest key below `bound`.
    fn below(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The smallest key above `bound`.
    fn above(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The value of a key, where that can be read.
    fn sound(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// Rows as they will be, once a record is stored in the place of an old one.
pub(super) struct After<'a, L> {
    rows: &'a L,
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl<'a, L: Lookup> After<'a, L> {
    pub(super) fn new(rows: &'a L, old: Option<&SessionRecord>, new: &SessionRecord) -> Self {
        Self { rows, changes: changes(old, new) }
    }
}

impl<L: Lookup> Lookup for After<'_, L> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.iter().find(|(changed, _)| changed == key) {
            Some((_, value)) => Ok(value.clone()),
            None => self.rows.value(key),
        }
    }
}

/// What of a record its rows follow from.
#[derive(PartialEq)]
struct Indexed<'a> {
    session: SessionId,
    created_at: Timestamp,
    state: State,
    kind: &'a Kind,
    labels: &'a Labels,
    external_id: Option<&'a ExternalId>,
    name: Option<&'a Name>,
    start: Option<&'a StartRequest>,
    links: Option<&'a Links>,
    is_deleted: bool,
    due: [(Lane, Option<LaneTime>); Lane::ALL.len()],
}

impl<'a> Indexed<'a> {
    fn of(record: &'a SessionRecord) -> Self {
        Self {
            session: record.id,
            created_at: record.created_at,
            state: record.state(),
            kind: &record.kind,
            labels: &record.labels,
            external_id: record.external_id.as_ref(),
            name: record.name.as_ref(),
            start: record.start_key.as_ref(),
            links: record.lineage.as_deref(),
            is_deleted: record.is_deleted(),
            due: Lane::ALL.map(|lane| (lane, record.due(lane))),
        }
    }

    fn rows(&self) -> Rows {
        let place = place(self.created_at, self.session);
        let id = self.session.as_uuid().into_bytes();
        let mut rows = Rows::new();
        for (lane, at) in self.due {
            if let Some(at) = at {
                let key = with(due_prefix(lane), &at.as_millis().to_be_bytes());
                rows.insert(with(key, &id), Vec::new());
            }
        }
        if let Some(start) = self.start {
            let value = with(id.to_vec(), &start.digest.to_be_bytes());
            rows.insert(start_key(&start.key), value);
        }
        // What was deleted is found by nobody; only its start key stays known.
        if self.is_deleted && !faults::planted(Bug::ListDeleted) {
            return rows;
        }
        let mut flag = |prefix: Vec<u8>| {
            rows.insert(with(prefix, &place), Vec::new());
        };
        flag(ALL.to_vec());
        flag(vec![b't', state_byte(self.state)]);
        flag(of_kind(self.kind));
        for (key, value) in self.labels.iter() {
            flag(label(key, value));
        }
        if let Some(links) = self.links.filter(|_| !faults::planted(Bug::ForgetRelations)) {
            for (relation, source) in links.sources() {
                flag(related(relation, source));
            }
        }
        if let Some(external) = self.external_id {
            flag(text(b'x', external.as_str()));
        }
        if let Some(name) = self.name {
            flag(text(b'n', name.as_str()));
            if !self.state.is_terminal() {
                rows.insert(holder_key(name), id.to_vec());
            }
        }
        rows
    }
}

/// Every index row of a record.
#[cfg(any(test, fuzzing))]
pub(super) fn rows(record: &SessionRecord) -> Rows {
    Indexed::of(record).rows()
}

/// What the rows of the index of all sessions begin with.
pub(super) const ALL: &[u8] = b"a";

/// The session in a key of [`ALL`].
#[cfg(feature = "sled")]
pub(super) fn session_of(key: &[u8]) -> Option<SessionId> {
    session_under(ALL, key)
}

/// The session in a key that is what it begins with and a place.
#[cfg(feature = "sled")]
pub(super) fn session_under(prefix: &[u8], key: &[u8]) -> Option<SessionId> {
    let place = key.strip_prefix(prefix)?;
    if place.len() != PLACE {
        return None;
    }
    read_place(place).ok().map(|place| place.session)
}

/// What a new record, in the place of an old one, changes: keys to write with their values, and keys
/// to remove.
pub(super) fn changes(
    old: Option<&SessionRecord>,
    new: &SessionRecord,
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let (old, new) = (old.map(Indexed::of), Indexed::of(new));
    // As it is with most commits.
    if old.as_ref() == Some(&new) {
        return Vec::new();
    }
    rows_between(old, Some(new))
}

/// What changes where a tombstone is removed.
pub(super) fn forgotten(old: &SessionRecord) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    rows_between(Some(Indexed::of(old)), None)
}

fn rows_between(
    old: Option<Indexed<'_>>,
    new: Option<Indexed<'_>>,
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let (old, new) = (
        old.map(|old| old.rows()).unwrap_or_default(),
        new.map(|new| new.rows()).unwrap_or_default(),
    );
    let stays = |key: &[u8]| faults::planted(Bug::LeaveStaleDueTime) && key.starts_with(b"d");
    let gone = old.keys().filter(|key| !new.contains_key(*key) && !stays(key));
    let set = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    gone.map(|key| (key.clone(), None))
        .chain(set.map(|(key, value)| (key.clone(), Some(value.clone()))))
        .collect()
}

/// The session that holds a name: the one that has it and has not ended.
pub(super) fn holder(index: &impl Lookup, name: &Name) -> Result<Option<SessionId>, StoreError> {
    let value = index.value(&holder_key(name))?;
    value.map(|value| session_at(&value, 0)).transpose()
}

/// The session that a start key belongs to, with the digest of its request.
pub(super) fn started(
    index: &impl Lookup,
    key: &StartKey,
) -> Result<Option<(SessionId, u64)>, StoreError> {
    let Some(value) = index.value(&start_key(key))? else {
        return Ok(None);
    };
    let digest =
        value.get(16..).and_then(|digest| digest.try_into().ok()).ok_or_else(|| odd_row(&value))?;
    Ok(Some((session_at(&value, 0)?, u64::from_be_bytes(digest))))
}

/// See [`Store::find`](super::Store::find).
pub(super) fn find(index: &impl Index, key: &Key) -> Result<Option<SessionId>, StoreError> {
    let prefix = match key {
        Key::Start(key) => return Ok(started(index, key)?.map(|(session, _)| session)),
        Key::Name(name) => {
            if let Some(holder) = holder(index, name)? {
                return Ok(Some(holder));
            }
            text(b'n', name.as_str())
        }
        Key::ExternalId(id) => text(b'x', id.as_str()),
    };
    let newest = step_down(index, &prefix, None)?;
    Ok(newest.map(|place| place.session))
}

/// See [`Store::due`](super::Store::due).
pub(super) fn due(
    index: &impl Index,
    lane: Lane,
    until: LaneTime,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let prefix = due_prefix(lane);
    let mut found = Vec::new();
    let mut bound = prefix.clone();
    while found.len() < limit {
        let Some(key) = index.above(&bound)? else {
            break;
        };
        let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
            break;
        };
        let (at, _) = rest.split_first_chunk::<8>().ok_or_else(|| odd_row(&key))?;
        let at = LaneTime::from_millis(u64::from_be_bytes(*at));
        if at > until {
            break;
        }
        let session = session_at(rest, 8)?;
        found.push(Due { at, session });
        bound = key;
    }
    Ok(found)
}

/// See [`Store::list`](super::Store::list). `load` gives a record, or `None` where it cannot be
/// read: such a session is left out, its damage is reported elsewhere.
pub(super) fn list(
    index: &impl Index,
    query: &Query,
    mut load: impl FnMut(SessionId) -> Result<Option<SessionRecord>, StoreError>,
) -> Result<Page, StoreError> {
    let limit = query.limit.max(1);
    let mut walks = sources(query)
        .into_iter()
        .map(|prefix| {
            let next = step_down(index, &prefix, query.after)?;
            Ok((prefix, next))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let mut records: Vec<SessionRecord> = Vec::new();
    let mut last = None;
    loop {
        let newest = walks
            .iter_mut()
            .filter_map(|(prefix, next)| next.map(|place| (place, prefix, next)))
            .max_by_key(|(place, ..)| *place);
        let Some((place, prefix, next)) = newest else {
            return Ok(Page::new(records, None));
        };
        *next = step_down(index, prefix, Some(place))?;
        // A session that changes its state during the walk can turn up in two of the indexes.
        if last.replace(place) == Some(place) {
            continue;
        }
        let Some(record) = load(place.session)? else {
            continue;
        };
        if !query.matches(&record) {
            continue;
        }
        if records.len() == limit {
            let last = records
                .last()
                .map(|record| Cursor { created_at: record.created_at, session: record.id });
            return Ok(Page::new(records, last));
        }
        records.push(record);
    }
}

/// The indexes that together hold every match: those of the condition that is likely to leave
/// the fewest.
fn sources(query: &Query) -> Vec<Vec<u8>> {
    if let Some(Related { to, relations }) = &query.related {
        let any = Relation::ALL.to_vec();
        let mut relations = if relations.is_empty() { any } else { relations.clone() };
        relations.sort_unstable();
        relations.dedup();
        relations.into_iter().map(|relation| related(relation, *to)).collect()
    } else if let Some((key, value)) = query.labels.first() {
        vec![label(key, value)]
    } else if !query.states.is_empty() {
        let mut states = query.states.clone();
        states.sort_unstable();
        states.dedup();
        states.into_iter().map(|state| vec![b't', state_byte(state)]).collect()
    } else if let Some(kind) = &query.kind {
        vec![of_kind(kind)]
    } else {
        vec![ALL.to_vec()]
    }
}

/// The newest place under a prefix that is older than `before`.
fn step_down(
    index: &impl Index,
    prefix: &[u8],
    before: Option<Cursor>,
) -> Result<Option<Cursor>, StoreError> {
    let bound = match before {
        Some(cursor) => with(prefix.to_vec(), &place(cursor.created_at, cursor.session)),
        None => with(prefix.to_vec(), &[u8::MAX; PLACE + 1]),
    };
    let Some(key) = index.below(&bound)? else {
        return Ok(None);
    };
    match key.strip_prefix(prefix) {
        Some(rest) if rest.len() == PLACE => read_place(rest).map(Some),
        // A longer rest belongs to another text that begins with the same bytes; the zero byte
        // at the end of every text rules that out.
        Some(_) => Err(odd_row(&key)),
        None => Ok(None),
    }
}

const PLACE: usize = 8 + 4 + 16;

/// A place in a listing, as bytes in the same order.
fn place(created_at: Timestamp, session: SessionId) -> [u8; PLACE] {
    // Flipping the sign bit puts negative seconds before positive ones.
    let seconds = created_at.timestamp().cast_unsigned() ^ (1 << 63);
    let mut place = [0; PLACE];
    let bytes = seconds
        .to_be_bytes()
        .into_iter()
        .chain(created_at.timestamp_subsec_nanos().to_be_bytes())
        .chain(session.as_uuid().into_bytes());
    for (slot, byte) in place.iter_mut().zip(bytes) {
        *slot = byte;
    }
    place
}

fn read_place(bytes: &[u8]) -> Result<Cursor, StoreError> {
    let read = || {
        let (seconds, rest) = bytes.split_first_chunk::<8>()?;
        let (nanos, _) = rest.split_first_chunk::<4>()?;
        let seconds = (u64::from_be_bytes(*seconds) ^ (1 << 63)).cast_signed();
        DateTime::from_timestamp(seconds, u32::from_be_bytes(*nanos))
    };
    Ok(Cursor {
        created_at: read().ok_or_else(|| odd_row(bytes))?,
        session: session_at(bytes, 12)?,
    })
}

pub(super) fn session_at(bytes: &[u8], at: usize) -> Result<SessionId, StoreError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<16>())
        .map(|id| SessionId::from_uuid(Uuid::from_bytes(*id)))
        .ok_or_else(|| odd_row(bytes))
}

pub(super) fn odd_row(bytes: &[u8]) -> StoreError {
    StoreError::Unavailable {
        what: format!("an index row of {} bytes makes no sense", bytes.len()),
        source: None,
    }
}

fn holder_key(name: &Name) -> Vec<u8> {
    text(b'h', name.as_str())
}

fn start_key(key: &StartKey) -> Vec<u8> {
    text(b's', key.as_str())
}

/// These numbers are on disk: a lane keeps its own for ever.
fn due_prefix(lane: Lane) -> Vec<u8> {
    let lane = match lane {
        Lane::Ready => 1,
        Lane::Timeout => 2,
        Lane::Alarm => 3,
        Lane::Removal => 4,
        Lane::Stopped => 5,
        Lane::Completed => 6,
        Lane::Failed => 7,
        Lane::Expired => 8,
        Lane::Family => 9,
        Lane::Trim => 10,
    };
    vec![b'd', lane]
}

/// What the rows of the sessions of a kind begin with.
pub(super) fn of_kind(kind: &Kind) -> Vec<u8> {
    text(b'k', kind.as_str())
}

/// What the rows of the sessions with a label begin with.
pub(super) fn label(key: &str, value: &str) -> Vec<u8> {
    let key = text(b'l', key);
    with(with(key, value.as_bytes()), &[0])
}

/// The session first, so that all who come from it are beside one another.
fn related(relation: Relation, source: SessionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + 16 + 1 + PLACE);
    key.push(b'r');
    key.extend_from_slice(source.as_uuid().as_bytes());
    key.push(relation_byte(relation));
    key
}

fn text(index: u8, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + text.len() + PLACE);
    key.push(index);
    key.extend_from_slice(text.as_bytes());
    key.push(0);
    key
}

fn with(mut key: Vec<u8>, more: &[u8]) -> Vec<u8> {
    key.extend_from_slice(more);
    key
}

/// These numbers are on disk: a relation keeps its own for ever.
const fn relation_byte(relation: Relation) -> u8 {
    match relation {
        Relation::Fork => 1,
        Relation::Child => 2,
        Relation::Successor => 3,
    }
}

/// These numbers are on disk: a state keeps its own for ever.
const fn state_byte(state: State) -> u8 {
    match state {
        State::Pending => 1,
        State::Active => 2,
        State::Paused => 3,
        State::Stopping => 4,
        State::Stopped => 5,
        State::Completed => 6,
        State::Failed => 7,
        State::Expired => 8,
    }
}
