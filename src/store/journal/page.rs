//! One page of the log, read either way.

use std::ops::RangeInclusive;

use super::{Entry, Group, LogEnd, LogItem, LogPage, LogQuery, Logged, Order, Walk};
use crate::{
    faults::{self, Bug},
    model::{event::EventRecord, event_type::EventType, ids::SessionId},
    store::{StoreError, index::Index},
};

/// How many rows are looked at for one page: what is not found in them is looked for in the next.
const ROWS: usize = 1024;

/// See [`Store::log`](crate::store::Store::log). `load` gives events of a session, as far as they are there and
/// can be read.
pub(in crate::store) fn page(
    index: &impl Index,
    end: LogEnd,
    query: &LogQuery,
    load: impl FnMut(SessionId, RangeInclusive<u64>) -> Result<Vec<EventRecord>, StoreError>,
) -> Result<LogPage, StoreError> {
    let mut reader = Reader {
        walk: Walk::new(index, query.types),
        query,
        limit: query.limit.max(1),
        items: Vec::new(),
        events: 0,
        load,
    };
    let next = match query.order {
        Order::OldestFirst => reader.upwards(end.last)?,
        Order::NewestFirst => reader.downwards(end.last)?,
    };
    Ok(LogPage::new(reader.items, next, end))
}

struct Reader<'a, I, L> {
    walk: Walk<'a, I>,
    query: &'a LogQuery,
    limit: usize,
    items: Vec<LogItem>,
    /// How many of the items are events.
    events: usize,
    load: L,
}

impl<I, L> Reader<'_, I, L>
where
    I: Index,
    L: FnMut(SessionId, RangeInclusive<u64>) -> Result<Vec<EventRecord>, StoreError>,
{
    fn upwards(&mut self, last: u64) -> Result<u64, StoreError> {
        let mut next = self.query.from.max(1);
        // The group that it is in begins before it.
        let mut group = self.walk.floor(next)?.filter(|_| !faults::planted(Bug::LeaveGroupOut));
        for _ in 0..ROWS {
            if next > last || self.events == self.limit {
                return Ok(next);
            }
            let found = match group.take() {
                Some(found) => Some(found),
                None => self.walk.ceiling(next)?,
            };
            let Some(first) = found else {
                if self.query.types.is_all() {
                    self.gap(next, last);
                }
                return Ok(last.saturating_add(1));
            };
            if self.query.types.is_all() && first > next {
                self.gap(next, first - 1);
            }
            let Some(group) = self.walk.group(first)? else {
                let after = self.walk.after_unreadable(first, last)?;
                if next < after {
                    self.gap(next.max(first), after - 1);
                    next = after;
                }
                continue;
            };
            for (at, entry) in group.commits() {
                if at.saturating_add(entry.count()) <= next || !entry.matches(self.query) {
                    continue;
                }
                next = self.of_commit(at, &entry, next.max(at))?;
                if self.events == self.limit {
                    return Ok(next);
                }
            }
            next = next.max(group.after());
        }
        Ok(next)
    }

    /// Takes the events of a commit from a position on, and gives the one to go on at.
    fn of_commit(&mut self, at: u64, entry: &Entry, from: u64) -> Result<u64, StoreError> {
        let loaded = (self.load)(entry.session, entry.sequences(from - at))?;
        let mut due = from;
        for event in loaded {
            let position = at.saturating_add(event.sequence.saturating_sub(entry.first));
            if due < position {
                self.gap(due, position - 1);
            }
            due = position.saturating_add(1);
            if !self.query.types.admits(EventType::of(&event.fact)) {
                continue;
            }
            self.event(position, entry.session, event);
            if self.events == self.limit {
                return Ok(due);
            }
        }
        let after = at.saturating_add(entry.count());
        if due < after {
            self.gap(due, after - 1);
        }
        Ok(after)
    }

    fn downwards(&mut self, last: u64) -> Result<u64, StoreError> {
        let mut next = self.query.from.min(last);
        for _ in 0..ROWS {
            let Some(first) = self.walk.floor(next)? else { return Ok(0) };
            // One that cannot be read is passed over.
            let group = self.walk.group(first)?;
            for (at, entry) in group.iter().flat_map(Group::commits).rev() {
                if at > next || !entry.matches(self.query) {
                    continue;
                }
                let loaded = (self.load)(entry.session, entry.sequences(0))?;
                for event in loaded.into_iter().rev() {
                    let position = at.saturating_add(event.sequence.saturating_sub(entry.first));
                    let is_wanted = self.query.types.admits(EventType::of(&event.fact));
                    if position > next || !is_wanted {
                        continue;
                    }
                    self.event(position, entry.session, event);
                    if self.events == self.limit {
                        return Ok(position - 1);
                    }
                }
            }
            next = first.saturating_sub(1);
            if next == 0 {
                return Ok(0);
            }
        }
        Ok(next)
    }

    fn event(&mut self, position: u64, session: SessionId, event: EventRecord) {
        self.events += 1;
        self.items.push(LogItem::Event(Logged { position, session, event: event.into() }));
    }

    fn gap(&mut self, from: u64, to: u64) {
        if let Some(LogItem::Gap { to: before, .. }) = self.items.last_mut()
            && before.saturating_add(1) == from
        {
            *before = to;
            return;
        }
        self.items.push(LogItem::Gap { from, to });
    }
}
