//! What paused sessions hold outside their memory, until their next run takes it.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::join_all};

use super::core::Core;
use crate::{
    model::{event::RunEnd, ids::SessionId, time::WorkerTime},
    workload::Holding,
};

/// The resources that were left by runs which came to rest.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<SessionId, Vec<KeptOne>>>);

struct KeptOne {
    holding: Holding,
    until: WorkerTime,
}

impl Kept {
    /// Whether a session holds anything.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    /// Gives out what a session holds.
    pub(crate) fn take(&self, session: SessionId) -> Vec<Holding> {
        let kept = self.lock().remove(&session).unwrap_or_default();
        kept.into_iter().map(|one| one.holding).collect()
    }

    /// Gives out what all sessions hold.
    pub(crate) fn take_all(&self) -> Vec<Holding> {
        self.lock().drain().flat_map(|(_, kept)| kept).map(|one| one.holding).collect()
    }

    fn put(&self, session: SessionId, one: KeptOne) {
        self.lock().entry(session).or_default().push(one);
    }

    /// Gives out what a session has held for longer than it may.
    fn take_due(&self, session: SessionId, now: WorkerTime) -> Vec<Holding> {
        let mut all = self.lock();
        let kept = all.remove(&session).unwrap_or_default();
        let (due, rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(|one| one.until <= now);
        if !rest.is_empty() {
            all.insert(session, rest);
        }
        due.into_iter().map(|one| one.holding).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Vec<KeptOne>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Keeps what a run left, each thing until its limit.
    pub(crate) fn keep_held(self: &Arc<Self>, session: SessionId, holdings: Vec<Holding>) {
        let now = self.clock.worker();
        for holding in holdings {
            let until = now.after(holding.keeps_for().unwrap_or_default());
            self.kept.put(session, KeptOne { holding, until });
            // A worker that is over has let go of everything.
            let (core, clock) = (Arc::downgrade(self), self.clock.clone());
            tokio::spawn(async move {
                clock.sleep_until(until).await;
                if let Some(core) = core.upgrade() {
                    let due = core.kept.take_due(session, until);
                    close(due, RunEnd::Yielded, core.policy.cancel_grace()).await;
                }
            });
        }
    }

    /// Closes what a session holds that will not run again by itself.
    pub(crate) async fn close_held(&self, session: SessionId) {
        let holdings = self.kept.take(session);
        close(holdings, RunEnd::Yielded, self.policy.cancel_grace()).await;
    }

    /// Closes what all sessions hold: their worker ends.
    pub(crate) async fn close_all_held(&self) {
        close(self.kept.take_all(), RunEnd::Yielded, self.policy.cancel_grace()).await;
    }
}

/// Closes all at once; what hangs or panics hinders no other.
async fn close(holdings: Vec<Holding>, end: RunEnd, limit: Duration) {
    let closing = holdings.iter().map(|holding| {
        let closing = AssertUnwindSafe(async { holding.close(&end).await }).catch_unwind();
        tokio::time::timeout(limit, closing)
    });
    // What did not close well is dropped here, which is all that is left to do.
    join_all(closing).await;
}
