//! Who watches which session, and who follows its events. A session that nobody watches costs nothing here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::tail;
use crate::model::{event::EventRecord, ids::SessionId, record::SessionRecord};

/// How many of the newest events of a session are kept for those who follow it, and how much of them. Who is further behind
/// reads the store.
const TAIL: usize = 64;
const TAIL_BYTES: usize = 1 << 20;

/// The watchers of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    sessions: Mutex<BTreeMap<SessionId, Arc<Watched>>>,
}

/// What the watchers of one session share. It is no `watch` channel of tokio, because that wakes
/// its receivers in a random order, and a test could not repeat what happened.
#[derive(Debug, Default)]
struct Watched {
    shown: Mutex<Shown>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Shown {
    record: Option<Arc<SessionRecord>>,
    /// How often something was published.
    count: u64,
    closed: bool,
    /// How many follow the events.
    followers: usize,
    newest: Newest,
}

/// The newest events of a session, without gaps.
#[derive(Debug, Default)]
struct Newest {
    events: VecDeque<(Arc<EventRecord>, usize)>,
    bytes: usize,
}

/// One who watches a session.
#[derive(Debug)]
pub(crate) struct Watch {
    watched: Arc<Watched>,
    seen: u64,
}

impl Hub {
    /// Begins to watch: sees every version that is published from now on, the newest at least.
    pub(crate) fn watch(&self, session: SessionId) -> Watch {
        let watched = Arc::clone(self.lock().entry(session).or_default());
        let seen = watched.lock().count;
        Watch { watched, seen }
    }

    /// Shows a committed record, and the events that it came with, to those who watch it; again, and without events,
    /// if what the session does has changed meanwhile.
    pub(crate) fn publish(&self, record: &Arc<SessionRecord>, events: &[EventRecord]) {
        let mut sessions = self.lock();
        let Some(watched) = sessions.get(&record.id) else {
            return;
        };
        if Arc::strong_count(watched) == 1 {
            sessions.remove(&record.id);
            return;
        }
        let mut shown = watched.lock();
        if shown.record.as_ref().is_none_or(|shown| shown.version <= record.version) {
            shown.record = Some(Arc::clone(record));
            shown.count += 1;
            shown.remember(events);
            watched.changed.notify_waiters();
        }
    }

    /// Ends all watches: nothing more will be published.
    pub(crate) fn close(&self) {
        for watched in std::mem::take(&mut *self.lock()).into_values() {
            watched.lock().closed = true;
            watched.changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Watched>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Keeps events for those who follow.
    fn remember(&mut self, events: &[EventRecord]) {
        if self.followers == 0 {
            return;
        }
        for event in events {
            self.newest.push(Arc::new(event.clone()));
        }
    }
}

impl Newest {
    fn push(&mut self, event: Arc<EventRecord>) {
        if self.events.back().is_some_and(|(last, _)| last.sequence + 1 != event.sequence) {
            *self = Self::default();
        }
        let bytes = tail::size(&event);
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        while self.events.len() > TAIL || self.bytes > TAIL_BYTES {
            let Some((_, bytes)) = self.events.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    /// Those from this one on, if it is among them.
    fn from(&self, next: u64) -> Option<VecDeque<Arc<EventRecord>>> {
        let (first, _) = self.events.front()?;
        let skipped = usize::try_from(next.checked_sub(first.sequence)?).ok()?;
        let kept = self.events.iter().skip(skipped).map(|(event, _)| Arc::clone(event));
        (skipped < self.events.len()).then(|| kept.collect())
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// What was published last, if it was since the last look.
    pub(crate) fn look(&mut self) -> Option<Arc<SessionRecord>> {
        let shown = self.watched.lock();
        if shown.count == self.seen {
            return None;
        }
        self.seen = shown.count;
        shown.record.clone()
    }

    /// Waits for what is published next; `None` if nothing more will be. Cancel safe: what was not
    /// returned is returned by the next call.
    pub(crate) async fn changed(&mut self) -> Option<Arc<SessionRecord>> {
        let watched = Arc::clone(&self.watched);
        loop {
            let mut changed = std::pin::pin!(watched.changed.notified());
            changed.as_mut().enable();
            if let Some(record) = self.look() {
                return Some(record);
            }
            if watched.lock().closed {
                return None;
            }
            changed.await;
        }
    }
}

/// One who follows the events of a session.
#[derive(Debug)]
pub(crate) struct Follower {
    watch: Watch,
    /// The newest event that is known of.
    newest: u64,
}

/// What follows an event.
pub(crate) enum Newer {
    /// These.
    Events(VecDeque<Arc<EventRecord>>),
    /// What is in the store, up to this one.
    Stored { newest: u64 },
    /// Nothing more: the worker has ended, or the session was deleted.
    Over,
}

impl Watch {
    /// Follows the events too, from a record on that was read since the watch began.
    pub(crate) fn follow(self, record: &SessionRecord) -> Follower {
        self.watched.lock().followers += 1;
        Follower { watch: self, newest: record.last_event }
    }
}

impl Follower {
    /// Waits until there is this event, or one after it. Cancel safe.
    pub(crate) async fn newer(&mut self, next: u64) -> Newer {
        let watched = Arc::clone(&self.watch.watched);
        loop {
            let mut changed = std::pin::pin!(watched.changed.notified());
            changed.as_mut().enable();
            {
                let shown = watched.lock();
                let shown_last = shown.record.as_ref().map_or(0, |record| record.last_event);
                self.newest = self.newest.max(shown_last);
                if self.newest >= next {
                    let stored = Newer::Stored { newest: self.newest };
                    return shown.newest.from(next).map_or(stored, Newer::Events);
                }
                let is_deleted = shown.record.as_ref().is_some_and(|record| record.is_deleted());
                if shown.closed || is_deleted {
                    return Newer::Over;
                }
            }
            changed.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut shown = self.watch.watched.lock();
        shown.followers -= 1;
        if shown.followers == 0 {
            shown.newest = Newest::default();
        }
    }
}

#[cfg(test)]
mod tests;
