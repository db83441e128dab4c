//! Sinks: each has a task that reads the log for it, and keeps its place in the store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use tokio::sync::Notify;

use super::{
    core::Core,
    reader::{self, Call, Finish, Reader},
};
use crate::{
    faults::{self, Bug},
    model::{
        event::EventRecord,
        ids::{ReaderName, SessionId},
        log_cursor::LogCursor,
        record::SessionRecord,
    },
    policy::Backoff,
    sink::{AnySink, SinkBatch, SinkBegin, SinkItem, SinkOptions, SinkStatus},
    store::{LogEnd, LogItem, Logged, StoreError},
    telemetry,
};

/// A sink as a worker is told of it.
pub(crate) struct NamedSink {
    pub(crate) reader: ReaderName,
    pub(crate) name: String,
    pub(crate) sink: Arc<dyn AnySink>,
    pub(crate) options: SinkOptions,
}

/// The sinks of a worker.
pub(crate) struct Sinks {
    all: Vec<Arc<Feed>>,
}

/// What is known of one sink outside of its task.
struct Feed {
    named: NamedSink,
    /// A session has ended.
    ended: Notify,
    progress: Mutex<Progress>,
    finish: Finish,
}

#[derive(Clone)]
struct Progress {
    cursor: LogCursor,
    delivered: u64,
    failures: u32,
    trouble: Option<Arc<str>>,
}

impl Sinks {
    pub(crate) fn new(sinks: Vec<NamedSink>) -> Self {
        let feed = |named| {
            Arc::new(Feed {
                named,
                ended: Notify::new(),
                progress: Mutex::new(Progress {
                    cursor: LogCursor::new(0, 0),
                    delivered: 0,
                    failures: 0,
                    trouble: None,
                }),
                finish: Finish::default(),
            })
        };
        Self { all: sinks.into_iter().map(feed).collect() }
    }

    /// Begins to call them. On return it is durable from where on, so that nothing is missed that happens from now on.
    pub(crate) async fn begin(core: &Arc<Core>) -> Result<(), StoreError> {
        for feed in &core.sinks.all {
            let mut reader = Reader::new(Arc::clone(core), feed.named.reader.clone());
            // What lies between what it did not have it is given once more.
            let place = reader.begin(feed.named.options.begin == SinkBegin::Now).await?.from;
            reader.keep(place, Arc::default()).await?;
            feed.progress().cursor = place;
            let task = Task { reader, feed: Arc::clone(feed), place, batch: None, call: None };
            core.keep_engine(core.runtime.spawn(task.run()).abort_handle());
        }
        Ok(())
    }

    /// Takes note of events that are durable: of who has come to its end all is told at once, also what its run records after that.
    pub(crate) fn committed(&self, record: &SessionRecord, events: &[EventRecord]) {
        let is_over = record.state().has_ended() || record.is_deleted();
        if is_over && !events.is_empty() && !faults::planted(Bug::TellSinksLate) {
            self.all.iter().for_each(|feed| feed.ended.notify_one());
        }
    }

    /// Calls each until it has everything, or fails once more. Cancel safe.
    pub(crate) async fn finish(&self) {
        join_all(self.all.iter().map(|feed| feed.finish.finish())).await;
    }

    /// Under which names their places are kept.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &ReaderName> {
        self.all.iter().map(|feed| &feed.named.reader)
    }

    /// How they do, where the log ends here.
    pub(crate) fn status(&self, end: LogEnd) -> Vec<SinkStatus> {
        self.all.iter().map(|feed| feed.status(end)).collect()
    }
}

impl Feed {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, end: LogEnd) -> SinkStatus {
        let Progress { cursor, delivered, failures, trouble } = self.progress().clone();
        let behind = end.last.saturating_sub(cursor.position());
        let name = self.named.name.clone();
        SinkStatus { name, cursor, behind, delivered, failures, trouble }
    }
}

/// The task of a sink.
struct Task {
    reader: Reader,
    feed: Arc<Feed>,
    /// Behind what the sink has.
    place: LogCursor,
    /// What it is to be given next.
    batch: Option<SinkBatch>,
    /// A call that took too long.
    call: Option<Call>,
}

/// Why a sink does not go on.
enum Trouble {
    /// It is its own fault, or that of the store.
    Failed(String),
    /// The worker has ended.
    Closed,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Closed) {
            Self::Closed
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut finish = self.feed.finish.asked();
        loop {
            let is_last = *finish.borrow_and_update();
            let done = self.deliver_all().await;
            let is_well = done.is_ok();
            let wait = match done {
                Ok(()) => self.well(),
                Err(Trouble::Failed(what)) => self.failed(what),
                Err(Trouble::Closed) => break,
            };
            if is_last {
                break;
            }
            tokio::select! {
                biased;
                _ = finish.changed() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.feed.ended.notified(), if is_well => {}
            }
        }
        self.feed.finish.is_over();
    }

    fn well(&self) -> std::time::Duration {
        let mut progress = self.feed.progress();
        if std::mem::take(&mut progress.failures) > 0 {
            progress.trouble = None;
            telemetry::sink_works_again(&self.feed.named.name);
        }
        self.feed.named.options.interval
    }

    fn failed(&self, what: String) -> std::time::Duration {
        let mut progress = self.feed.progress();
        progress.failures = progress.failures.saturating_add(1);
        telemetry::sink_failed(&self.feed.named.name, &what, progress.failures);
        progress.trouble = Some(what.into());
        Backoff::default().wait(progress.failures, self.reader.core.random())
    }

    /// Gives the sink whatever it does not have yet.
    async fn deliver_all(&mut self) -> Result<(), Trouble> {
        loop {
            self.reader.keep(self.place, Arc::default()).await?;
            if self.batch.is_none() {
                self.batch = self.read().await?;
            }
            let Some(batch) = self.batch.clone() else { return Ok(()) };
            let taken = match self.call(batch.clone()).await {
                Err(_) if faults::planted(Bug::PassOverFailedSink) => batch.items().len(),
                taken => taken.map_err(Trouble::Failed)?,
            };
            self.took(taken);
        }
    }

    /// Goes on behind what was taken.
    fn took(&mut self, taken: usize) {
        let Some(batch) = &mut self.batch else { return };
        batch.skip(taken);
        self.place = batch.reached().unwrap_or(self.place);
        if batch.items().is_empty() {
            self.batch = None;
        }
        let mut progress = self.feed.progress();
        progress.cursor = self.place;
        progress.delivered += taken as u64;
    }

    /// What follows its place, if anything does.
    async fn read(&self) -> Result<Option<SinkBatch>, StoreError> {
        let place = self.place;
        let page = self.reader.after(place).await?;
        let mut last = HashMap::new();
        for (at, item) in page.items.iter().enumerate() {
            if let LogItem::Event(Logged { session, .. }) = item {
                last.insert(*session, at);
            }
        }
        let mut items = Vec::with_capacity(page.items.len() + last.len());
        for (at, item) in page.items.into_iter().enumerate() {
            match item {
                LogItem::Event(Logged { position, session, event }) => {
                    let cursor = LogCursor::new(place.log(), position);
                    items.push(SinkItem::Event { cursor, session, event });
                    if last.get(&session) == Some(&at)
                        && let Some(record) = self.record(session).await?
                    {
                        items.push(SinkItem::Record { cursor, record: Arc::new(record) });
                    }
                }
                LogItem::Gap { from: first, to } => {
                    let cursor = LogCursor::new(place.log(), to);
                    items.push(SinkItem::Gap { from: first.max(place.position() + 1), cursor });
                }
            }
        }
        Ok((!items.is_empty()).then(|| SinkBatch::new(items)))
    }

    async fn record(&self, session: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        match self.reader.core.store()?.load(session).await {
            // Its record says nothing any more.
            Err(StoreError::Damaged { .. }) => Ok(None),
            answer => answer,
        }
    }

    /// Calls the sink, and says how much it took or what went wrong.
    async fn call(&mut self, batch: SinkBatch) -> Result<usize, String> {
        let count = batch.items().len();
        let NamedSink { sink, options, .. } = &self.feed.named;
        let sink = Arc::clone(sink);
        let work = async move { sink.deliver(batch).await };
        match reader::call(&self.reader.core, options.timeout, self.call.take(), work).await {
            Ok(0) => Err(format!("it took nothing of {count} items")),
            Ok(taken) if taken > count => {
                Err(format!("it says that it took {taken} items of {count}"))
            }
            Ok(taken) => Ok(taken),
            Err((what, call)) => {
                self.call = call;
                Err(what)
            }
        }
    }
}
