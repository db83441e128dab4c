//! Which turn a run is in, and the steps of it.

use tokio::sync::oneshot;

use super::{Run, Shared};
use crate::{
    model::{
        ids::StepKey,
        step::{StepProgress, Turn},
    },
    workload::{
        line::{Fenced, Request, StepChange},
        steps::{Found, OnInterrupted, StepBook, StepRefused},
    },
};

impl Run {
    /// The present turn is over: nothing is in hand, and what its steps came to is not asked for
    /// again.
    pub(in crate::workload) fn end_turn(&self) {
        let mut shared = self.lock();
        let over = shared.present_turn();
        shared.in_hand = None;
        shared.over = over;
        if let Some(book) = &mut shared.steps {
            book.forget(over);
            if book.is_empty() {
                shared.steps = None;
            }
        }
    }

    /// Whether the run has asked for steps of the present turn.
    pub(in crate::workload) fn has_steps_of_turn(&self) -> bool {
        let shared = self.lock();
        shared.steps.as_ref().is_some_and(|book| book.asked_in(shared.present_turn()))
    }

    /// Takes a step of the present turn in hand, unless somebody has it.
    pub(in crate::workload) fn open_step(
        &self,
        key: &StepKey,
        on_interrupted: OnInterrupted,
    ) -> Result<(Turn, Found), StepRefused> {
        let limit = self.max_snapshot_bytes();
        let mut shared = self.lock();
        if shared.fenced {
            return Err(StepRefused::Fenced);
        }
        let turn = shared.present_turn();
        let book = shared.steps.get_or_insert_default();
        let found = book.open(turn, key, on_interrupted, limit);
        if book.is_empty() {
            shared.steps = None;
        }
        Ok((turn, found?))
    }

    /// Does something with the book of steps, if there is still one.
    pub(in crate::workload) fn with_steps<T>(
        &self,
        change: impl FnOnce(&mut StepBook) -> T,
    ) -> Option<T> {
        self.lock().steps.as_deref_mut().map(change)
    }

    /// Puts a step down; what it was is forgotten if its turn is over.
    pub(in crate::workload) fn close_step(&self, turn: Turn, key: &StepKey) {
        let mut shared = self.lock();
        let over = shared.over;
        if let Some(book) = &mut shared.steps {
            book.close(turn, key);
            book.forget(over);
            if book.is_empty() {
                shared.steps = None;
            }
        }
    }

    /// Has it committed how far a step came. Durable on return.
    pub(in crate::workload) async fn commit_step(
        &self,
        turn: Turn,
        key: &StepKey,
        progress: StepProgress,
    ) -> Result<(), Fenced> {
        let (reply, answer) = oneshot::channel();
        let change = StepChange { turn, key: key.clone(), progress, reply };
        self.request(Request::Step(Box::new(change)));
        let _waiting = self.awaiting_store();
        // A session that is gone drops the reply.
        let committed = answer.await.unwrap_or(Err(Fenced));
        self.heartbeat();
        committed
    }
}

impl Shared {
    fn present_turn(&self) -> Turn {
        self.in_hand.map_or_else(|| self.over.interlude_after(), Turn::of_input)
    }
}
