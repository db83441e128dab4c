//! The events of all sessions: those that are there and those to come, as one stream.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use futures::{Stream, future::BoxFuture};

use crate::{
    hooks::HooksStatus,
    model::{
        event::EventRecord,
        event_type::{EventType, EventTypes},
        ids::{Kind, SessionId},
        log_cursor::LogCursor,
    },
    runtime::{
        core::Core,
        tail::{Follower, Newer, PAGE, Part, last_of},
    },
    sink::SinkStatus,
    store::{LogItem, LogPage, LogQuery, Logged, Order, StoreError},
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
    /// and who is further behind reads the store, 128 at a time. The stream ends when the worker has, behind the last event
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
        let follower = Follower::begin(core, end.last);
        Ok(Updates::new(Subscription {
            core: Arc::clone(core),
            follower,
            filter,
            log: end.log,
            next,
            part: Arc::default(),
            place: 0,
            read_to: next,
            known: HashMap::new(),
        }))
    }

    /// Events of all sessions, a page at a time: the newest first unless asked for otherwise, of one session or of
    /// some types where that is wanted. An index leads to those of a type. Those of one session are picked from the small rows of the whole
    /// log, of which there is one for each group of commits: [`Session::query_events`](crate::Session::query_events) goes to them at once,
    /// where their places among those of others do not matter. Only durable ones are seen.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.core().store()?.log(query).await
    }
}

impl Supervisor {
    /// How the [sinks](crate::sink) do, in the order in which they were added.
    ///
    /// # Errors
    /// A store that fails: where its log ends is part of the answer.
    pub async fn sinks(&self) -> Result<Vec<SinkStatus>, StoreError> {
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let end = self.core().store()?.log(newest).await?.end;
        Ok(self.core().sinks.status(end))
    }
}

impl Supervisor {
    /// How the [hooks](crate::hooks) do; none where there are none.
    pub fn hooks(&self) -> Option<HooksStatus> {
        self.core().hooks.as_ref().map(|hooks| hooks.status())
    }
}

/// What one who follows all sessions is given.
struct Updates(State);

enum State {
    /// What comes next is there, or has to be waited for.
    Has(Box<Subscription>),
    Waits(BoxFuture<'static, Option<Result<Box<Subscription>, LogError>>>),
    Over,
}

impl Updates {
    fn new(subscription: Subscription) -> Self {
        Self(State::Has(Box::new(subscription)))
    }
}

impl Stream for Updates {
    type Item = Result<LogUpdate, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            self.0 = match std::mem::replace(&mut self.0, State::Over) {
                State::Has(mut subscription) => match subscription.take() {
                    Some(update) => {
                        self.0 = State::Has(subscription);
                        return Poll::Ready(Some(Ok(update)));
                    }
                    None => State::Waits(Box::pin(subscription.more())),
                },
                State::Waits(mut more) => match more.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.0 = State::Waits(more);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(subscription))) => State::Has(subscription),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(None) => return Poll::Ready(None),
                },
                State::Over => return Poll::Ready(None),
            };
        }
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
    /// What comes next, and how much of it was taken.
    part: Arc<Part>,
    place: usize,
    /// The position up to which was looked for that.
    read_to: u64,
    /// Whether sessions are of the kind that is wanted.
    known: HashMap<SessionId, bool>,
}

impl Subscription {
    /// Takes what is wanted next of what is there.
    fn take(&mut self) -> Option<LogUpdate> {
        loop {
            let item = self.part.items.get(self.place)?;
            let due = std::mem::replace(&mut self.next, last_of(item) + 1);
            self.place += 1;
            match item {
                LogItem::Event(Logged { position, session, event }) => {
                    if self.wants(*session, event) {
                        return Some(LogUpdate::Event {
                            cursor: LogCursor::new(self.log, *position),
                            session: *session,
                            event: Arc::clone(event),
                        });
                    }
                }
                LogItem::Gap { from, to } => {
                    let from = due.max(*from);
                    return Some(LogUpdate::Gap { from, to: LogCursor::new(self.log, *to) });
                }
            }
        }
    }

    fn wants(&self, session: SessionId, event: &EventRecord) -> bool {
        self.filter.session.is_none_or(|wanted| wanted == session)
            && self.filter.types.admits(EventType::of(&event.fact))
            && (self.filter.kind.is_none() || self.known.get(&session) == Some(&true))
    }

    /// Waits until there is more; `None` where the worker has ended.
    async fn more(mut self: Box<Self>) -> Option<Result<Box<Self>, LogError>> {
        self.next = self.next.max(self.read_to);
        let read = match self.follower.newer(self.next).await {
            Newer::Part(part) => Ok(part),
            Newer::Stored => self.stored().await.map(|page| {
                self.read_to = page.next;
                Arc::new(Part::new(page.items))
            }),
            Newer::Over => return None,
        };
        let ready = match read {
            Ok(part) => {
                self.place = part.place_of(self.next);
                self.part = part;
                self.know_kinds().await
            }
            Err(error) => Err(error),
        };
        match ready {
            Ok(()) => Some(Ok(self)),
            // The worker has ended.
            Err(StoreError::Closed) => None,
            Err(error) => Some(Err(error.into())),
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

    /// Finds out which of the sessions that come next are of the kind that is wanted.
    async fn know_kinds(&mut self) -> Result<(), StoreError> {
        let Some(kind) = &self.filter.kind else { return Ok(()) };
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        for item in self.part.items.iter().skip(self.place) {
            let LogItem::Event(Logged { session, .. }) = item else { continue };
            if self.known.contains_key(session) {
                continue;
            }
            let record = match self.core.store()?.load(*session).await {
                Ok(record) => record,
                // Its record says nothing any more.
                Err(StoreError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            };
            self.known.insert(*session, record.is_some_and(|record| record.kind == *kind));
        }
        Ok(())
    }
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
