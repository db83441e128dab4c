//! What happens to sessions, given on to the outside: a file, a warehouse, a message queue.
//!
//! A [`Sink`] is given everything in the log of all sessions, in its order, and how each session stands after
//! that. How far it has come is kept in the store, so the next worker goes on where this one ended. What it is
//! given it may be given again: after a failure, or where the worker was lost before its place was kept. So delivery is *at
//! least once*, and an event is told by its session and sequence. Sinks have the connectors of Kafka and the
//! exporters of OpenTelemetry as their model.
//!
//! A sink is called when the worker starts, every two minutes, at once when a session ends, and in a shutdown. One that
//! fails is left alone for a second, and twice as long after each further failure, up to five minutes; it delays
//! no session and no other sink. [`Supervisor::sinks`](crate::Supervisor::sinks) says how they do.
//!
//! ```no_run
//! use sessionkeeper::{
//!     Supervisor,
//!     sink::{self, JsonLines, SinkBatch},
//!     store::SledStore,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let supervisor = Supervisor::builder(SledStore::open("data")?)
//!     .sink("files", JsonLines::open("log")?)
//!     .sink("count", sink::from_fn(|batch: SinkBatch| async move {
//!         println!("{} of them", batch.items().len());
//!         Ok::<(), std::io::Error>(())
//!     }))
//!     .start()
//!     .await?;
//! # Ok(())
//! # }
//! ```

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    model::{event::EventRecord, ids::SessionId, log_cursor::LogCursor, record::SessionRecord},
    store::BoxError,
};

mod json_lines;

pub use self::json_lines::{JsonLines, JsonLinesOptions};

/// Where that goes which happens to sessions. The [module](self) says when it is called.
pub trait Sink: Send + Sync + 'static {
    /// Takes a batch, and answers how many of its items it has taken for good, counted from the first. The
    /// others come again, at the head of the next batch.
    ///
    /// An error, a panic, more time than [`SinkOptions::timeout`], an answer of more than there are, and one of nothing are
    /// failures: the same batch comes again. No two calls are made at a time.
    ///
    /// # Errors
    /// Whatever went wrong. It shows in [`SinkStatus::trouble`] and in the trace.
    fn deliver(&self, batch: SinkBatch) -> impl Future<Output = Result<usize, BoxError>> + Send;
}

/// A sink out of an async function that takes whole batches.
pub fn from_fn<F, R, E>(deliver: F) -> impl Sink
where
    F: Fn(SinkBatch) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    FnSink(deliver)
}

struct FnSink<F>(F);

impl<F, R, E> Sink for FnSink<F>
where
    F: Fn(SinkBatch) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    async fn deliver(&self, batch: SinkBatch) -> Result<usize, BoxError> {
        let count = batch.items().len();
        (self.0)(batch).await.map(|()| count).map_err(Into::into)
    }
}

/// A part of the log of all sessions, for a sink. Clones share it.
#[derive(Debug, Clone)]
pub struct SinkBatch {
    items: Arc<[SinkItem]>,
    from: usize,
}

impl SinkBatch {
    pub(crate) fn new(items: Vec<SinkItem>) -> Self {
        Self { items: items.into(), from: 0 }
    }

    /// What is in it, in order; at least one item, and at most 128 events.
    pub fn items(&self) -> &[SinkItem] {
        self.items.get(self.from..).unwrap_or_default()
    }

    /// Leaves out the first of them.
    pub(crate) fn skip(&mut self, count: usize) {
        self.from += count;
    }

    /// Behind the last event that was taken with all that belongs to it.
    pub(crate) fn reached(&self) -> Option<LogCursor> {
        let (taken, rest) = self.items.split_at_checked(self.from)?;
        let next = rest.first().map(SinkItem::cursor);
        // A record has the place of the event that it stands behind: without it that is not done.
        taken.iter().rev().map(SinkItem::cursor).find(|cursor| Some(*cursor) != next)
    }
}

/// What a sink is given. As JSON it is an object with a field `item` that says which it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "item", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SinkItem {
    /// Something happened.
    Event {
        /// The place behind it in the log of all sessions.
        cursor: LogCursor,
        /// Whose it is.
        session: SessionId,
        /// The event itself.
        event: Arc<EventRecord>,
    },
    /// How a session stands, after all its events that came before, or later. It comes behind the last event of the session in
    /// a batch.
    Record {
        /// The place behind that event.
        cursor: LogCursor,
        /// Its record.
        record: Arc<SessionRecord>,
    },
    /// Some events are not there any more, or cannot be read.
    Gap {
        /// The position of the first.
        from: u64,
        /// The place behind the last.
        cursor: LogCursor,
    },
}

impl SinkItem {
    /// Its place in the log of all sessions.
    pub const fn cursor(&self) -> LogCursor {
        match self {
            Self::Event { cursor, .. } | Self::Record { cursor, .. } | Self::Gap { cursor, .. } => {
                *cursor
            }
        }
    }
}

/// How a sink is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "they go to `Builder::sink_with`"]
pub struct SinkOptions {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) begin: SinkBegin,
}

impl Default for SinkOptions {
    /// Every two minutes, 30 s for a batch, from the beginning of the log.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(120),
            timeout: Duration::from_secs(30),
            begin: SinkBegin::Beginning,
        }
    }
}

impl SinkOptions {
    /// How often it is called while no session ends, at least a millisecond (default 2 min).
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long it may take for one batch, at least a millisecond (default 30 s).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where it begins when it is new in a store (default: with the first event that there is).
    pub const fn begin(mut self, begin: SinkBegin) -> Self {
        self.begin = begin;
        self
    }
}

/// Where a sink begins that is new in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SinkBegin {
    /// With the first event that there is.
    #[default]
    Beginning,
    /// With the next.
    Now,
}

/// How a sink does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub cursor: LogCursor,
    /// How many events are behind that.
    pub behind: u64,
    /// How many items this worker has delivered to it.
    pub delivered: u64,
    /// How often in a row it has failed now; 0 where it does well.
    pub failures: u32,
    /// What went wrong the last time, while it fails.
    pub trouble: Option<Arc<str>>,
}

/// A sink of whatever type.
pub(crate) trait AnySink: Send + Sync {
    fn deliver(
        self: Arc<Self>,
        batch: SinkBatch,
    ) -> Pin<Box<dyn Future<Output = Result<usize, BoxError>> + Send>>;
}

impl<S: Sink> AnySink for S {
    fn deliver(
        self: Arc<Self>,
        batch: SinkBatch,
    ) -> Pin<Box<dyn Future<Output = Result<usize, BoxError>> + Send>> {
        Box::pin(async move { Sink::deliver(&*self, batch).await })
    }
}
