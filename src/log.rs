//! The events of all sessions: those that are there and those to come, as one stream.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use futures::{Stream, StreamExt, stream};

use crate::{
    model::{
        event::EventRecord,
        event_type::{EventType, EventTypes},
        ids::{Kind, SessionId},
        log_cursor::LogCursor,
    },
    runtime::{
        core::Core,
        tail::{Follower, Item, Newer, PAGE},
    },
    store::{LogItem, LogPage, LogQuery, Order, StoreError},
    supervisor::Supervisor,
};

/// Of how many sessions it is remembered whether they are of the kind that is wanted.
const MOST_KNOWN: usize = 4096;

/// Which events of all sessions are wanted. All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// Only those of sessions of this kind.
    pub kind: Option<Kind>,
    /// Only those of these types.
    pub types: EventTypes,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFrom {
    /// With the first event that there is.
    Beginning,
    /// With the next.
    Now,
    /// Behind one that was seen.
    After(LogCursor),
}

impl From<LogCursor> for LogFrom {
    fn from(cursor: LogCursor) -> Self {
        Self::After(cursor)
    }
}

/// What a subscriber to the log of all sessions is given next.
#[derive(Debug, Clone, PartialEq)]
pub enum LogUpdate {
    /// An event.
    Event {
        /// The place behind it.
        cursor: LogCursor,
        /// Whose it is.
        session: SessionId,
        /// The event itself.
        event: Arc<EventRecord>,
    },
    /// Some events are not there any more, or cannot be read; whether they would have been wanted is not known.
    Gap {
        /// The position of the first.
        from: u64,
        /// The place behind the last.
        to: LogCursor,
    },
}

impl Supervisor {
    /// The events of all sessions from a place in their log on: first those that are there, then each as soon as it is
    /// durable, in the order in which they were committed, none twice and none left out. Keep the cursor of the last
    /// that was dealt with, and go on from it later, also in another process.
    ///
    /// Nobody is waited for: the newest 1,024 events (4 MiB at most) are kept in memory once for all subscribers,
    /// and who is further behind reads the store, 64 at a time. The stream ends when the worker has, behind the last event
    /// of its shutdown for whoever keeps up, and after an error.
    ///
    /// ```no_run
    /// # use futures::StreamExt;
    /// # use sessionkeeper::{EventType, LogFilter, LogFrom, LogUpdate, Supervisor};
    /// # async fn example(supervisor: Supervisor) -> Result<(), Box<dyn std::error::Error>> {
    /// let failures = LogFilter { types: EventType::Error.into(), ..LogFilter::default() };
    /// let mut updates = supervisor.subscribe(failures, LogFrom::Beginning).await?;
    /// while let Some(update) = updates.next().await {
    ///     match update? {
    ///         LogUpdate::Event { cursor, session, event } => println!("{cursor} {session}: {event:?}"),
    ///         LogUpdate::Gap { from, to } => println!("{from} to {} are gone", to.position()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LogError`]: a cursor of another store, or one that is ahead of this one; a store that fails.
    ///
    /// # Cancel safety
    /// Of the stream: wholly.
    pub async fn subscribe(
        &self,
        filter: LogFilter,
        from: LogFrom,
    ) -> Result<impl Stream<Item = Result<LogUpdate, LogError>> + Send + Unpin + use<>, LogError>
    {
        let core = self.core();
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let end = core.store()?.log(newest).await?.end;
        let next = match from {
            LogFrom::Beginning => 1,
            LogFrom::Now => end.last + 1,
            LogFrom::After(cursor) if cursor.log() != end.log => {
                return Err(LogError::OtherLog { cursor, log: end.log });
            }
            LogFrom::After(cursor) if cursor.position() > end.last => {
                let newest = LogCursor::new(end.log, end.last);
                return Err(LogError::Ahead { cursor, newest });
            }
            LogFrom::After(cursor) => cursor.position() + 1,
        };
        let subscription = Subscription {
            core: Arc::clone(core),
            follower: Follower::begin(core, end.last).await,
            filter,
            log: end.log,
            next,
            batch: VecDeque::new(),
            read_to: next,
            known: HashMap::new(),
        };
        let updates = stream::unfold(Some(subscription), async |subscription| {
            let mut subscription = subscription?;
            let update = subscription.update().await?;
            let is_last = update.is_err();
            Some((update, (!is_last).then_some(subscription)))
        });
        Ok(updates.boxed())
    }

    /// Events of all sessions, a page at a time: the newest first unless asked for otherwise, of one session or of
    /// some types where that is wanted. An index leads to them; only durable ones are seen.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.core().store()?.log(query).await
    }
}

/// One who follows all sessions.
struct Subscription {
    core: Arc<Core>,
    follower: Follower,
    filter: LogFilter,
    log: u64,
    /// The position that is due.
    next: u64,
    /// What comes next, and the position up to which that was looked for.
    batch: VecDeque<Arc<Item>>,
    read_to: u64,
    /// Whether sessions are of the kind that is wanted.
    known: HashMap<SessionId, bool>,
}

impl Subscription {
    async fn update(&mut self) -> Option<Result<LogUpdate, LogError>> {
        loop {
            if let Some(item) = self.batch.front().map(Arc::clone) {
                let update = match self.of_item(&item).await {
                    Ok(update) => update,
                    Err(error) => return over_or(error),
                };
                self.batch.pop_front();
                self.next = item.to() + 1;
                match update {
                    Some(update) => return Some(Ok(update)),
                    None => continue,
                }
            }
            self.next = self.next.max(self.read_to);
            match self.follower.newer(self.next).await {
                Newer::Items(items) => self.batch = items,
                Newer::Stored => match self.stored().await {
                    Ok(page) => {
                        self.read_to = page.next;
                        self.batch = page.items.into_iter().map(Item::new).collect();
                    }
                    Err(error) => return over_or(error),
                },
                Newer::Over => return None,
            }
        }
    }

    async fn stored(&self) -> Result<LogPage, StoreError> {
        let query = LogQuery {
            from: self.next,
            order: Order::OldestFirst,
            session: self.filter.session,
            types: self.filter.types,
            limit: PAGE,
        };
        self.core.store()?.log(query).await
    }

    /// What an item means to this subscriber, if it is wanted.
    async fn of_item(&mut self, item: &Item) -> Result<Option<LogUpdate>, StoreError> {
        let logged = match &item.what {
            LogItem::Event(logged) => logged,
            LogItem::Gap { from, to } => {
                let from = (*from).max(self.next);
                return Ok(Some(LogUpdate::Gap { from, to: LogCursor::new(self.log, *to) }));
            }
        };
        let is_wanted = self.filter.session.is_none_or(|session| session == logged.session)
            && self.filter.types.admits(EventType::of(&logged.event.fact))
            && self.is_of_kind(logged.session).await?;
        Ok(is_wanted.then(|| LogUpdate::Event {
            cursor: LogCursor::new(self.log, logged.position),
            session: logged.session,
            event: Arc::clone(&logged.event),
        }))
    }

    async fn is_of_kind(&mut self, session: SessionId) -> Result<bool, StoreError> {
        let Some(kind) = &self.filter.kind else { return Ok(true) };
        if let Some(known) = self.known.get(&session) {
            return Ok(*known);
        }
        let record = match self.core.store()?.load(session).await {
            Ok(record) => record,
            // Its record says nothing any more.
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_wanted = record.is_some_and(|record| record.kind == *kind);
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(session, is_wanted);
        Ok(is_wanted)
    }
}

/// Where the store is closed, the worker has ended.
fn over_or(error: StoreError) -> Option<Result<LogUpdate, LogError>> {
    let is_over = matches!(error, StoreError::Closed);
    (!is_over).then(|| Err(error.into()))
}

/// Why the log of all sessions cannot be subscribed to, or not any longer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The cursor comes from the log of another store.
    #[error(
        "the cursor {cursor} belongs to another store, this one has log {log:016x}; subscribe from the beginning, or to the store that it came from"
    )]
    OtherLog {
        /// The cursor that was given.
        cursor: LogCursor,
        /// Which log this store has.
        log: u64,
    },
    /// There are not so many events: the store may have been put back to an older state.
    #[error(
        "the cursor {cursor} is ahead of the log, which ends at {newest}; subscribe from there"
    )]
    Ahead {
        /// The cursor that was given.
        cursor: LogCursor,
        /// The place behind the newest event.
        newest: LogCursor,
    },
    /// The store failed.
    #[error("the store failed; subscribe again from the last cursor")]
    Store(#[source] Arc<StoreError>),
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
