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
    model::event::{EventRecord, Fact},
    store::{LogItem, LogQuery, Logged, Order, StoreError},
    workload::Weight,
};

/// How many items are kept, and how much of them.
const MOST: usize = 1024;
const MOST_BYTES: usize = 4 << 20;

/// How many are read from the store, or given to a follower, at once.
pub(crate) const PAGE: usize = 64;

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
    items: VecDeque<Arc<Item>>,
    bytes: usize,
    /// The position after the last item.
    next: u64,
    is_over: bool,
}

/// Something in the log, and what it takes.
pub(crate) struct Item {
    pub(crate) what: LogItem,
    bytes: usize,
}

impl Item {
    pub(crate) fn new(what: LogItem) -> Arc<Self> {
        let bytes = match &what {
            LogItem::Event(logged) => size(&logged.event),
            LogItem::Gap { .. } => 0,
        };
        Arc::new(Self { what, bytes: bytes + size_of::<Self>() })
    }

    fn from(&self) -> u64 {
        match self.what {
            LogItem::Event(Logged { position, .. }) => position,
            LogItem::Gap { from, .. } => from,
        }
    }

    pub(crate) const fn to(&self) -> u64 {
        match self.what {
            LogItem::Event(Logged { position, .. }) => position,
            LogItem::Gap { to, .. } => to,
        }
    }
}

/// About how much an event takes; what the library itself records is small.
fn size(event: &EventRecord) -> usize {
    match &event.fact {
        Fact::Work(work) => Weight::of(work).map_or(0, Weight::bytes),
        Fact::Lifecycle(_) | Fact::Usage(_) => 0,
    }
}

/// What follows a position in the log.
pub(crate) enum Newer {
    /// These.
    Items(VecDeque<Arc<Item>>),
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
    fn take(&mut self, items: Vec<LogItem>, next: u64) {
        for item in items {
            let item = Item::new(item);
            // Whoever read it before has read as far.
            if item.from() < self.next {
                continue;
            }
            self.next = item.to() + 1;
            self.bytes += item.bytes;
            self.items.push_back(item);
        }
        self.next = self.next.max(next);
        while self.items.len() > MOST || self.bytes > MOST_BYTES {
            let Some(first) = self.items.pop_front() else { break };
            self.bytes -= first.bytes;
        }
    }

    /// What is kept from a position on, if that is among it.
    fn from(&self, next: u64) -> Option<VecDeque<Arc<Item>>> {
        self.items.front().filter(|first| first.from() <= next)?;
        let skipped = self.items.partition_point(|item| item.to() < next);
        Some(self.items.iter().skip(skipped).take(PAGE).cloned().collect())
    }
}

/// One who follows the log.
pub(crate) struct Follower {
    core: Arc<Core>,
}

impl Follower {
    /// Begins to follow, behind the last event that there is.
    pub(crate) async fn begin(core: &Arc<Core>, last: u64) -> Self {
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
                    return shown.from(next).map_or(Newer::Stored, Newer::Items);
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
            shown.items = VecDeque::new();
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
                    self.tail.lock().take(page.items, page.next);
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
