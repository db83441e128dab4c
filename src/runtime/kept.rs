//! What paused sessions hold outside their memory, until their next run takes it, or the first of their successor.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use tokio::sync::Notify;

use super::{core::Core, wait::Wait};
use crate::{
    faults::{self, Bug},
    model::{
        event::{Event, RunEnd},
        ids::SessionId,
        time::WorkerTime,
    },
    store::Commit,
    telemetry,
    workload::{
        Holding, Run, fitting,
        panics::{guard, guard_clean_up},
        threads::{CodeOwner, UserCode, Watched},
    },
};

/// The resources that were left by runs which came to rest.
#[derive(Default)]
pub(crate) struct Kept {
    all: Mutex<All>,
    /// Told whenever something of that is closed.
    closed: Notify,
}

#[derive(Default)]
struct All {
    held: BTreeMap<SessionId, Vec<KeptOne>>,
    /// How often something of a session is being closed, since its limit or its worker is over.
    closing: BTreeMap<SessionId, usize>,
}

pub(crate) struct KeptOne {
    holding: Holding,
    until: WorkerTime,
    owner: Arc<CodeOwner>,
    /// Closes it then. The worker's time stands still when the worker is over, so the wait must not
    /// outlast it.
    limit: Wait,
}

impl Kept {
    /// Whether a session holds anything, or it is not closed yet.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        let all = self.lock();
        all.held.contains_key(&session) || all.closing.contains_key(&session)
    }

    /// Gives a run what its session holds.
    pub(crate) fn take(&self, session: SessionId) -> Vec<Holding> {
        self.take_of(session).into_iter().map(|one| one.holding).collect()
    }

    fn take_of(&self, session: SessionId) -> Vec<KeptOne> {
        self.lock().held.remove(&session).unwrap_or_default()
    }

    /// Gives out what all hold, to be closed while the second lives.
    fn take_all(&self) -> (Vec<KeptOne>, Vec<Closing<'_>>) {
        let mut all = self.lock();
        let held = std::mem::take(&mut all.held);
        let closing = held.keys().map(|session| self.closing(&mut all, *session)).collect();
        (held.into_values().flatten().collect(), closing)
    }

    /// Gives out what a session has held for longer than it may, to be closed while the second lives.
    fn take_due(&self, session: SessionId, now: WorkerTime) -> (Vec<KeptOne>, Closing<'_>) {
        let mut all = self.lock();
        let kept = all.held.remove(&session).unwrap_or_default();
        let (due, rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(|one| one.until <= now);
        if !rest.is_empty() {
            all.held.insert(session, rest);
        }
        let closing = self.closing(&mut all, session);
        (due, closing)
    }

    fn closing(&self, all: &mut All, session: SessionId) -> Closing<'_> {
        *all.closing.entry(session).or_default() += 1;
        Closing { kept: self, session }
    }

    /// Waits until nothing is being closed whose time was over: of a session, or of any.
    async fn until_closed(&self, session: Option<SessionId>) {
        let is_closing = || match session {
            Some(session) => self.lock().closing.contains_key(&session),
            None => !self.lock().closing.is_empty(),
        };
        loop {
            let mut closed = pin!(self.closed.notified());
            closed.as_mut().enable();
            if !is_closing() {
                return;
            }
            closed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something of a session is being closed, since its limit or its worker is over.
struct Closing<'a> {
    kept: &'a Kept,
    session: SessionId,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut all = self.kept.lock();
        if let Entry::Occupied(mut closing) = all.closing.entry(self.session) {
            *closing.get_mut() -= 1;
            if *closing.get() == 0 {
                closing.remove();
            }
        }
        drop(all);
        self.kept.closed.notify_waiters();
    }
}

impl Core {
    /// Keeps what a run left, each thing until its limit.
    pub(crate) fn keep_held(self: &Arc<Self>, run: &Run) {
        let (session, now) = (run.session(), self.clock.worker());
        for holding in run.leave() {
            let until = now.after(holding.keeps_for().unwrap_or_default());
            let owner = run.owner().elsewhere(UserCode::CloseResource);
            self.keep_one(session, holding, until, owner);
        }
    }

    fn keep_one(
        self: &Arc<Self>,
        session: SessionId,
        holding: Holding,
        until: WorkerTime,
        owner: Arc<CodeOwner>,
    ) {
        // A worker that is over has let go of everything.
        let (core, clock) = (Arc::downgrade(self), self.clock.clone());
        let mut kept = self.kept.lock();
        let limit = Wait::spawn(&self.runtime, async move {
            clock.sleep_until(until).await;
            if let Some(core) = core.upgrade() {
                let (due, _closing) = core.kept.take_due(session, until);
                core.close(due).await;
            }
        });
        kept.held.entry(session).or_default().push(KeptOne { holding, until, owner, limit });
    }

    /// Gives the successor that a commit came with what the session before it holds, under the same limits, and
    /// makes it visible: in this order, so that no run of it begins without. To be called before
    /// the end of that session is announced, after which what it holds is closed.
    pub(crate) fn announce_successor(self: &Arc<Self>, commit: &Commit) {
        let Some(successor) = &commit.successor else {
            return;
        };
        if !faults::planted(Bug::CloseHeldAtRollover) {
            for one in self.kept.take_of(commit.record.id) {
                let KeptOne { holding, until, owner, limit } = one;
                drop(limit);
                self.keep_one(successor.record.id, holding, until, owner);
            }
        }
        self.announce(&successor.record, &successor.events);
    }

    /// Closes what a session holds that will not run again by itself, and gives what that has to say.
    pub(crate) async fn close_held(&self, session: SessionId) -> Vec<Event> {
        if faults::planted(Bug::LeaveKeptOpen) {
            return Vec::new();
        }
        let words = self.close(self.kept.take_of(session)).await;
        self.kept.until_closed(Some(session)).await;
        let said = words.len();
        let words = fitting(words);
        if words.len() < said {
            telemetry::last_words_lost(session, said - words.len());
        }
        words
    }

    /// Closes what all sessions hold: their worker ends.
    pub(crate) async fn close_all_held(&self) {
        let (kept, closing) = self.kept.take_all();
        self.close(kept).await;
        drop(closing);
        self.kept.until_closed(None).await;
    }

    /// Lets go of what all sessions hold, without closing it: their worker was lost.
    pub(crate) fn drop_all_held(&self) {
        let (kept, _closing) = self.kept.take_all();
        for KeptOne { holding, owner, .. } in kept {
            owner.set_code(UserCode::Drop);
            let dropping = async move { drop(guard(|| drop(holding))) };
            self.workloads.spawn(Watched::new(&self.threads, &owner, dropping));
        }
    }

    /// Closes all at once, where workloads run; what hangs, blocks or panics hinders no other.
    async fn close(&self, kept: Vec<KeptOne>) -> Vec<Event> {
        let grace = self.policy.cancel_grace();
        let mut limits = Vec::new();
        let closing = kept.into_iter().map(|KeptOne { holding, owner, limit, .. }| {
            // The wait that asks for this may be among those that are over.
            limits.push(limit);
            let of = Arc::clone(&owner);
            let closing = async move {
                // What did not close well is dropped, which is all that is left to do.
                let closing = async move {
                    holding.close(&RunEnd::Yielded).await;
                    holding.last_words()
                };
                let closed = guard_clean_up(grace.mul_f64(0.9), closing).await;
                closed.unwrap_or_else(|mishap| {
                    telemetry::clean_up_failed(&of, mishap);
                    Vec::new()
                })
            };
            self.workloads.spawn(Watched::new(&self.threads, &owner, closing))
        });
        let closing: Vec<_> = closing.collect();
        // One that blocks its thread goes on without anybody waiting for it.
        let closed = tokio::time::timeout(grace, join_all(closing)).await.unwrap_or_default();
        drop(limits);
        closed.into_iter().flatten().flatten().collect()
    }
}
