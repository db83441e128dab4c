//! The newest of the log of all sessions, read once for all who follow it.
//!
//! While anybody follows, one task reads from the store what was committed and keeps the newest of it
//! here. Who is at the end is served from that; who is further behind reads the store. So nobody is
//! waited for, and what a follower sees is what a reader of the store sees.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{core::Core, wait::Wait};
use crate::{
    faults::{self, Bug},
    model::event::{EventRecord, Fact},
    store::{LogItem, LogQuery, Logged, Order, StoreError},
    workload::Weight,
};

/// How many events are kept, and how much of them.
const MOST: usize = 1024;
const MOST_BYTES: usize = 4 << 20;

/// How many are read from the store at once.
pub(crate) const PAGE: usize = 128;

/// How long a failing store is left alone.
const RETRY: Duration = Duration::from_millis(500);

/// What those share who follow the log.
#[derive(Default)]
pub(crate) struct Tail {
    shown: Mutex<Shown>,
    /// Something was committed.
    news: Notify,
    /// Something was read, or nothing more will be.
    changed: Notify,
    /// Held by who reads.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Shown {
    followers: usize,
    reader: Option<Wait>,
    parts: VecDeque<Arc<Part>>,
    items: usize,
    bytes: usize,
    /// The position after the last part.
    next: u64,
    is_over: bool,
}

/// A part of the log, as it was read.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) items: Vec<LogItem>,
    bytes: usize,
}

impl Part {
    pub(crate) fn new(items: Vec<LogItem>) -> Self {
        let bytes = items.iter().map(|item| match item {
            LogItem::Event(logged) => size(&logged.event),
            LogItem::Gap { .. } => 0,
        });
        Self { bytes: bytes.sum::<usize>() + items.len() * size_of::<LogItem>(), items }
    }

    fn first(&self) -> Option<u64> {
        self.items.first().map(|item| match item {
            LogItem::Event(Logged { position, .. }) => *position,
            LogItem::Gap { from, .. } => *from,
        })
    }

    /// Where in it a position is, or what comes after that.
    pub(crate) fn place_of(&self, position: u64) -> usize {
        self.items.partition_point(|item| last_of(item) < position)
    }
}

/// The last position that something in the log takes.
pub(crate) const fn last_of(item: &LogItem) -> u64 {
    match item {
        LogItem::Event(Logged { position, .. }) => *position,
        LogItem::Gap { to, .. } => *to,
    }
}

/// About how much an event takes; what the library itself records is small.
pub(super) fn size(event: &EventRecord) -> usize {
    match &event.fact {
        Fact::Work(work) => Weight::of(work).map_or(0, Weight::bytes),
        Fact::Lifecycle(_) | Fact::Usage(_) => 0,
    }
}

/// What follows a position in the log.
pub(crate) enum Newer {
    /// What is in this.
    Part(Arc<Part>),
    /// What is in the store.
    Stored,
    /// Nothing more: the worker has ended.
    Over,
}

impl Tail {
    /// Says that events were committed.
    pub(crate) fn told(&self) {
        self.news.notify_one();
    }

    /// Ends it: nothing more is committed.
    pub(crate) fn close(&self) {
        let mut shown = self.lock();
        shown.is_over = true;
        shown.reader = None;
        drop(shown);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Takes what was read from a position on, unless others have begun to follow from another one meanwhile.
    fn take(&mut self, from: u64, items: Vec<LogItem>, next: u64) {
        if from != self.next {
            return;
        }
        let part = Part::new(items);
        self.next = next;
        self.items += part.items.len();
        self.bytes += part.bytes;
        if !part.items.is_empty() {
            self.parts.push_back(Arc::new(part));
        }
        while self.items > MOST || self.bytes > MOST_BYTES {
            let Some(first) = self.parts.pop_front() else { break };
            self.items -= first.items.len();
            self.bytes -= first.bytes;
        }
    }

    /// The part that a position is in, or what comes after it, if that is kept.
    fn from(&self, next: u64) -> Option<Arc<Part>> {
        let is_kept = |first: &u64| *first <= next || faults::planted(Bug::SkipWhatIsDue);
        self.parts.front()?.first().filter(is_kept)?;
        let is_before =
            |part: &Arc<Part>| part.items.last().is_none_or(|last| last_of(last) < next);
        self.parts.get(self.parts.partition_point(is_before)).cloned()
    }
}

/// One who follows the log.
pub(crate) struct Follower {
    core: Arc<Core>,
}

impl Follower {
    /// Begins to follow, behind the last event that there is. Who comes first says where the tail begins: what is before that is in
    /// the store, and read there by who wants it.
    pub(crate) fn begin(core: &Arc<Core>, last: u64) -> Self {
        let mut shown = core.tail.lock();
        shown.followers += 1;
        if shown.reader.is_none() && !shown.is_over {
            shown.next = last + 1;
            let reading = Arc::downgrade(core);
            shown.reader = Some(Wait::spawn(&core.runtime, async move {
                while let Some(core) = reading.upgrade() {
                    core.read_log().await;
                    let told = Arc::clone(&core);
                    drop(core);
                    told.tail.news.notified().await;
                }
            }));
        }
        drop(shown);
        Self { core: Arc::clone(core) }
    }

    /// Waits until there is something at this position or after it. Cancel safe.
    pub(crate) async fn newer(&self, next: u64) -> Newer {
        let tail = &self.core.tail;
        loop {
            let mut changed = std::pin::pin!(tail.changed.notified());
            changed.as_mut().enable();
            {
                let shown = tail.lock();
                if next < shown.next {
                    return shown.from(next).map_or(Newer::Stored, Newer::Part);
                }
                if shown.is_over {
                    return Newer::Over;
                }
            }
            changed.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut shown = self.core.tail.lock();
        shown.followers -= 1;
        if shown.followers == 0 {
            shown.reader = None;
            shown.parts = VecDeque::new();
            shown.items = 0;
            shown.bytes = 0;
        }
    }
}

impl Core {
    /// Reads what was committed since, for those who follow the log.
    pub(crate) async fn read_log(&self) {
        let _reading = self.tail.reading.lock().await;
        loop {
            let (from, followers) = {
                let shown = self.tail.lock();
                (shown.next, shown.followers)
            };
            if followers == 0 {
                return;
            }
            let query =
                LogQuery { from, order: Order::OldestFirst, limit: PAGE, ..LogQuery::default() };
            let read = match self.store() {
                Ok(store) => store.log(query).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(page) => {
                    let is_last = page.next > page.end.last;
                    self.tail.lock().take(from, page.items, page.next);
                    self.tail.changed.notify_waiters();
                    if is_last {
                        return;
                    }
                }
                Err(StoreError::Closed) => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
