//! A shutdown: everybody is asked to yield, and what became of each is collected.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::oneshot;

use super::{By, Sessions};
use crate::{
    model::{ids::SessionId, record::SessionRecord},
    runtime::{core::Life, error::SessionError, op::Op},
};

/// What became of a session in a shutdown.
#[derive(Debug, Clone)]
pub(crate) struct Drained {
    pub(crate) session: SessionId,
    /// Its record after its last commit; nothing if it did not come to rest.
    pub(crate) record: Option<Arc<SessionRecord>>,
}

/// The end of the work of the supervisor.
pub(super) struct Draining {
    /// Who waits for it.
    pub(super) done: Option<oneshot::Sender<Vec<Drained>>>,
    /// The sessions that were active, each with its record after the last commit.
    pub(super) drained: BTreeMap<SessionId, Option<Arc<SessionRecord>>>,
}

impl Sessions {
    pub(super) fn on_drain(&mut self, done: oneshot::Sender<Vec<Drained>>) {
        for (session, op) in std::mem::take(&mut self.waiting) {
            if let Op::Resume { reply, .. } = op {
                reply.send(Err(SessionError::ShuttingDown { session }));
            }
        }
        self.draining = Some(Draining { done: Some(done), drained: BTreeMap::new() });
        let sessions: Vec<SessionId> = self.kept.keys().copied().collect();
        for session in sessions {
            self.on_route(session, Op::Shutdown);
        }
        if self.kept.is_empty() {
            self.conclude();
        }
    }

    pub(super) fn tell_actors(&mut self, op: impl Fn() -> Op) {
        for kept in self.kept.values_mut() {
            if let By::Actor { live, missed } = &mut kept.by
                && let Err(op) = live.send(op())
            {
                missed.push(op);
            }
        }
    }

    pub(super) fn conclude(&mut self) {
        let Some(draining) = &mut self.draining else {
            return;
        };
        if let Some(done) = draining.done.take() {
            let mut drained = std::mem::take(&mut draining.drained);
            drained.extend(self.kept.keys().map(|session| (*session, None)));
            let drained = drained.into_iter().map(|(session, record)| Drained { session, record });
            let drained = drained.collect();
            self.core.set_life(Life::Draining);
            let _ = done.send(drained);
        }
    }
}
