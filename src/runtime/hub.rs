//! Who watches which session. A session that nobody watches costs nothing here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::model::{ids::SessionId, record::SessionRecord};

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

    /// Shows a committed record to those who watch it; again, if what the session does has
    /// changed meanwhile.
    pub(crate) fn publish(&self, record: &Arc<SessionRecord>) {
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
