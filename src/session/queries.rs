//! The events of a session, a page at a time, either way.

use std::ops::RangeInclusive;

use super::{Session, status};
use crate::{
    model::{
        event::EventRecord,
        event_type::{EventType, EventTypes},
    },
    runtime::error::SessionError,
    store::Order,
};

/// How many events are read from the store at once, and how often for one page: what is not found in
/// them is looked for in the next.
const PART: u64 = 256;
const PARTS: usize = 16;

/// Which events of a session are wanted.
///
/// By default the newest 100, of all types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventQuery {
    /// The number to begin at, itself included.
    pub from: u64,
    /// Which way.
    pub order: Order,
    /// Only events of these types.
    pub types: EventTypes,
    /// How many at most; 0 counts as 1.
    pub limit: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { from: u64::MAX, order: Order::NewestFirst, types: EventTypes::ALL, limit: 100 }
    }
}

/// Some events of a session.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct EventPage {
    /// The events, in the order that was asked for.
    pub events: Vec<EventRecord>,
    /// The number to go on at, if there may be more.
    pub next: Option<u64>,
    /// The numbers of events that were looked for and are gone, where only the [newest are kept](crate::Retention::events). Whether they
    /// would have been wanted is not known.
    pub gap: Option<RangeInclusive<u64>>,
}

impl Session {
    /// Events of the session, the newest first unless asked for otherwise. The store leads to them by
    /// their number; those of other types are passed over, so a page may have few of them and still
    /// not be the last.
    ///
    /// ```no_run
    /// # use sessionkeeper::{EventQuery, EventType, Session};
    /// # async fn example(session: Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let errors = EventQuery { types: EventType::Error.into(), ..EventQuery::default() };
    /// for event in session.query_events(errors).await?.events {
    ///     println!("{} {:?}", event.at, event.fact);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn query_events(&self, query: EventQuery) -> Result<EventPage, SessionError> {
        self.events_within(query, 1..=u64::MAX, |_| true).await
    }

    /// The same of some of the events.
    pub(crate) async fn events_within(
        &self,
        query: EventQuery,
        range: RangeInclusive<u64>,
        wanted: impl Fn(&EventRecord) -> bool,
    ) -> Result<EventPage, SessionError> {
        let record = status(&self.core, self.id).await?.into_record();
        let (first, last) = (*range.start(), record.last_event.min(*range.end()));
        let limit = query.limit.max(1);
        let mut page = EventPage::default();
        let mut at = match query.order {
            Order::OldestFirst => query.from.max(first),
            Order::NewestFirst => query.from.min(last),
        };
        let whole = match query.order {
            Order::OldestFirst => at..=last,
            Order::NewestFirst => first..=at,
        };
        let gap = self.gone(&whole, record.trimmed_to()).await?;
        // What is gone is passed over at once: there may be much of it.
        let first = gap.as_ref().map_or(first, |gap| first.max(gap.end().saturating_add(1)));
        if query.order == Order::OldestFirst {
            at = at.max(first);
        }
        'parts: for _ in 0..PARTS {
            if at < first || at > last {
                break;
            }
            let (range, beyond) = match query.order {
                Order::OldestFirst => {
                    let end = at.saturating_add(PART - 1).min(last);
                    (at..=end, end.saturating_add(1))
                }
                Order::NewestFirst => {
                    let begin = at.saturating_sub(PART - 1).max(first);
                    (begin..=at, begin - 1)
                }
            };
            let mut events = self.events(range, usize::MAX).await?;
            if query.order == Order::NewestFirst {
                events.reverse();
            }
            for event in events {
                if !query.types.admits(EventType::of(&event.fact)) || !wanted(&event) {
                    continue;
                }
                if page.events.len() == limit {
                    at = event.sequence;
                    break 'parts;
                }
                page.events.push(event);
            }
            at = beyond;
        }
        page.next = Some(at).filter(|at| (first..=last).contains(at));
        // It is older than all that is left: the oldest first, it comes before, and else after all of that.
        page.gap = gap.filter(|_| query.order == Order::OldestFirst || page.next.is_none());
        Ok(page)
    }

    /// Which of these events are gone: all up to one, of those that may be.
    async fn gone(
        &self,
        wanted: &RangeInclusive<u64>,
        trimmed_to: u64,
    ) -> Result<Option<RangeInclusive<u64>>, SessionError> {
        let (from, to) = (*wanted.start(), trimmed_to.min(*wanted.end()));
        if from > to {
            return Ok(None);
        }
        let oldest = self.events(from..=to, 1).await?.first().map(|oldest| oldest.sequence);
        let to = oldest.map_or(to, |oldest| oldest.saturating_sub(1));
        Ok((from <= to).then_some(from..=to))
    }
}
