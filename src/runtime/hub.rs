//! Who watches which session. A session that nobody watches costs nothing here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::model::{ids::SessionId, record::SessionRecord};

/// The watchers of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    sessions: Mutex<HashMap<SessionId, watch::Sender<Option<Arc<SessionRecord>>>>>,
}

impl Hub {
    /// Begins to watch: sees every version that is published from now on, the newest at least.
    pub(crate) fn watch(&self, session: SessionId) -> watch::Receiver<Option<Arc<SessionRecord>>> {
        let mut sessions = self.lock();
        sessions.entry(session).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Shows a committed record to those who watch it; again, if what the session does has
    /// changed meanwhile.
    pub(crate) fn publish(&self, record: &Arc<SessionRecord>) {
        let mut sessions = self.lock();
        let Some(sender) = sessions.get(&record.id) else {
            return;
        };
        if sender.receiver_count() == 0 {
            sessions.remove(&record.id);
        } else {
            sender.send_if_modified(|shown| {
                let newer = shown.as_ref().is_none_or(|shown| shown.version <= record.version);
                if newer {
                    *shown = Some(Arc::clone(record));
                }
                newer
            });
        }
    }

    /// Ends all watches: nothing more will be published.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(
        &self,
    ) -> MutexGuard<'_, HashMap<SessionId, watch::Sender<Option<Arc<SessionRecord>>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
