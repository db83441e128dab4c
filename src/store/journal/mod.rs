//! The log of all sessions: every event of a store has a position in it, in the order in which the
//! commits were done.
//!
//! Positions begin at 1. A commit takes as many as it has events, one after the other; so an event is
//! found by the row of its group of commits, and in that by counting. The rows lie among those of the
//! [`index`](super::index):
//!
//! | rows | key after the first byte | value |
//! | --- | --- | --- |
//! | `j` groups of commits | position of their first event | session, first sequence, count and types of each |
//! | `y` types of events | type, position of the first event of such a group | – |
//!
//! Events themselves are kept once, with their session.

use std::{ops::RangeInclusive, sync::Arc};

use uuid::Uuid;

mod page;

pub(super) use self::page::page;

use super::{StoreError, index::Index};
use crate::model::{
    event::EventRecord,
    event_type::{EventType, EventTypes},
    ids::{SessionId, WorkerGeneration},
};

/// Where the log of a store ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogEnd {
    /// Tells the logs of different stores apart. It is 0 where no worker has ever begun.
    pub log: u64,
    /// The position of the newest event; 0 where there is none.
    pub last: u64,
}

impl LogEnd {
    /// A log has its id from the first worker that begins on it.
    pub(super) const fn begin(&mut self, generation: WorkerGeneration) {
        if self.log == 0 {
            self.log = generation.as_uuid().as_u64_pair().1;
        }
    }
}

/// What to read of the log of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// The position to begin at, itself included.
    pub from: u64,
    /// Which way.
    pub order: Order,
    /// Only events of this session.
    pub session: Option<SessionId>,
    /// Only events of these types.
    pub types: EventTypes,
    /// How many events at most; 0 counts as 1.
    pub limit: usize,
}

impl Default for LogQuery {
    /// The newest of all, newest first.
    fn default() -> Self {
        Self {
            from: u64::MAX,
            order: Order::NewestFirst,
            session: None,
            types: EventTypes::default(),
            limit: 100,
        }
    }
}

/// Which way events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// As they happened.
    OldestFirst,
    /// The latest first.
    NewestFirst,
}

/// A part of the log of all sessions.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LogPage {
    /// What was found, in the order that was asked for.
    pub items: Vec<LogItem>,
    /// The position to go on at: nothing between it and the last item matches. Beyond the end, or 0, all was
    /// looked at.
    pub next: u64,
    /// Where the log ends now.
    pub end: LogEnd,
}

impl LogPage {
    /// A page; see its fields.
    pub const fn new(items: Vec<LogItem>, next: u64, end: LogEnd) -> Self {
        Self { items, next, end }
    }
}

/// Something in the log of all sessions.
#[derive(Debug, Clone, PartialEq)]
pub enum LogItem {
    /// An event.
    Event(Logged),
    /// What was at these positions is gone, or cannot be read. Only read the oldest first.
    Gap {
        /// The first of them.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// An event of any session.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Its position in the log of all sessions.
    pub position: u64,
    /// Whose it is.
    pub session: SessionId,
    /// The event.
    pub event: Arc<EventRecord>,
}

/// The events of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    session: SessionId,
    first: u64,
    count: u32,
    types: EventTypes,
}

impl Entry {
    /// Those of a session, which have no gaps.
    pub(super) fn of(session: SessionId, events: &[EventRecord]) -> Option<Self> {
        let first = events.first()?.sequence;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let types = events.iter().map(|event| EventType::of(&event.fact)).collect();
        Some(Self { session, first, count, types })
    }

    pub(super) const fn count(&self) -> u64 {
        self.count as u64
    }

    /// Whose events they are.
    #[cfg(feature = "sled")]
    pub(super) const fn session(&self) -> SessionId {
        self.session
    }

    /// How many of them come before the first that has this number or a later one; none where there is no such.
    #[cfg(feature = "sled")]
    pub(super) fn before(&self, number: u64) -> Option<u64> {
        let skipped = number.saturating_sub(self.first);
        (skipped < self.count()).then_some(skipped)
    }

    /// The events from one on that is counted from 0.
    const fn sequences(&self, skipped: u64) -> RangeInclusive<u64> {
        self.first.saturating_add(skipped)..=self.first.saturating_add(self.count() - 1)
    }

    fn matches(&self, query: &LogQuery) -> bool {
        query.session.is_none_or(|session| session == self.session)
            && (query.types.is_all() || query.types.iter().any(|one| self.has(one)))
    }

    const fn has(&self, one: EventType) -> bool {
        !self.types.is_all() && self.types.admits(one)
    }

    const LENGTH: usize = 16 + 8 + 4 + 2;

    fn push(&self, row: &mut Vec<u8>) {
        row.extend_from_slice(self.session.as_uuid().as_bytes());
        row.extend_from_slice(&self.first.to_be_bytes());
        row.extend_from_slice(&self.count.to_be_bytes());
        row.extend_from_slice(&self.types.bits().to_be_bytes());
    }

    fn read(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let types = rest.first_chunk::<2>()?;
        let count = u32::from_be_bytes(*count);
        (count > 0).then(|| Self {
            session: SessionId::from_uuid(Uuid::from_bytes(*session)),
            first: u64::from_be_bytes(*first),
            count,
            types: EventTypes::from_bits(u16::from_be_bytes(*types)),
        })
    }
}

/// The rows of a group of commits whose first event has this position.
pub(super) fn rows(position: u64, entries: &[Entry]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut row = Vec::with_capacity(entries.len() * Entry::LENGTH);
    let mut types = 0;
    for entry in entries {
        entry.push(&mut row);
        types |= entry.types.bits();
    }
    let by_type =
        EventTypes::from_bits(types).iter().map(|one| (key(&of_type(one), position), Vec::new()));
    std::iter::once((key(GROUPS, position), row)).chain(by_type).collect()
}

const GROUPS: &[u8] = b"j";

const fn of_type(one: EventType) -> [u8; 2] {
    [b'y', one.number()]
}

fn key(prefix: &[u8], position: u64) -> Vec<u8> {
    [prefix, &position.to_be_bytes()].concat()
}

/// The rows that are walked along: those of all groups, or of some types.
struct Walk<'a, I> {
    index: &'a I,
    prefixes: Vec<Vec<u8>>,
}

impl<'a, I: Index> Walk<'a, I> {
    fn new(index: &'a I, types: EventTypes) -> Self {
        let prefixes = if types.is_all() {
            vec![GROUPS.to_vec()]
        } else {
            types.iter().map(|one| of_type(one).to_vec()).collect()
        };
        Self { index, prefixes }
    }

    /// The last group that begins at this position or before.
    fn floor(&self, position: u64) -> Result<Option<u64>, StoreError> {
        let mut found = None;
        for prefix in &self.prefixes {
            let bound = [key(prefix, position), vec![0]].concat();
            found = found.max(position_in(self.index.below(&bound)?, prefix)?);
        }
        Ok(found)
    }

    /// The first group that begins at this position or after.
    fn ceiling(&self, position: u64) -> Result<Option<u64>, StoreError> {
        let mut found: Option<u64> = None;
        for prefix in &self.prefixes {
            let bound = match position.checked_sub(1) {
                Some(before) => key(prefix, before),
                None => prefix.clone(),
            };
            let next = position_in(self.index.above(&bound)?, prefix)?;
            found = [found, next].into_iter().flatten().min();
        }
        Ok(found)
    }

    /// The group that begins at a position, unless its row cannot be read.
    fn group(&self, position: u64) -> Result<Option<Group>, StoreError> {
        let row = self.index.sound(&key(GROUPS, position))?.unwrap_or_default();
        let (entries, rest) = row.as_chunks::<{ Entry::LENGTH }>();
        let entries: Option<Vec<Entry>> = entries.iter().map(Entry::read).collect();
        let entries = entries.filter(|entries| rest.is_empty() && !entries.is_empty());
        Ok(entries.map(|entries| Group { first: position, entries }))
    }

    /// The position after a group that cannot be read.
    fn after_unreadable(&self, position: u64, last: u64) -> Result<u64, StoreError> {
        let next = position_in(self.index.above(&key(GROUPS, position))?, GROUPS)?;
        Ok(next.unwrap_or_else(|| last.saturating_add(1)))
    }
}

/// The position in a key, where that is of such rows.
fn position_in(found: Option<Vec<u8>>, prefix: &[u8]) -> Result<Option<u64>, StoreError> {
    let Some(found) = found else { return Ok(None) };
    let Some(rest) = found.strip_prefix(prefix) else { return Ok(None) };
    match rest.try_into() {
        Ok(position) => Ok(Some(u64::from_be_bytes(position))),
        Err(_) => Err(odd_row(0)),
    }
}

fn odd_row(position: u64) -> StoreError {
    StoreError::Unavailable {
        what: format!("a row of the log of all sessions makes no sense, at {position}"),
        source: None,
    }
}

/// A group of commits.
struct Group {
    first: u64,
    entries: Vec<Entry>,
}

impl Group {
    /// Its commits, with the position of the first event of each.
    fn commits(&self) -> impl DoubleEndedIterator<Item = (u64, Entry)> {
        let mut next = self.first;
        let placed: Vec<_> = self
            .entries
            .iter()
            .map(|entry| {
                let first = next;
                next = next.saturating_add(entry.count());
                (first, *entry)
            })
            .collect();
        placed.into_iter()
    }

    /// The position after its last event.
    fn after(&self) -> u64 {
        self.entries.iter().fold(self.first, |next, entry| next.saturating_add(entry.count()))
    }
}
