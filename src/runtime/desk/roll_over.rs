//! How a session without an actor is rolled over.

use std::sync::Arc;

use super::{
    decide::Desk,
    loaded::{load_inputs, load_steps},
};
use crate::{
    model::{
        event::RunEnd,
        record::SnapshotRef,
        state::{Phase, State},
        step::Turn,
    },
    policy::WhileAbandoned,
    runtime::{
        draft::{Draft, Moves},
        error::{RolloverError, SessionError},
        op::NewSuccessor,
    },
    store::StoreError,
    workload::rollover::Unread,
};

impl Desk<'_> {
    /// Ends the session for its successor. It has no run, so it is at a safe point.
    pub(super) async fn roll_over(&mut self, asked: &NewSuccessor) -> Result<(), RolloverError> {
        let session = self.session;
        let Some(draft) = &self.draft else {
            return Err(self.not_found().into());
        };
        let record = draft.record();
        if let Some(successor) = record.links().transitioned_to {
            return Err(SessionError::RolledOver { session, successor }.into());
        }
        let state = record.state();
        // A stop is a person's word, which only a resume takes back.
        if !state.accepts_input() {
            return Err(RolloverError::Refused { session, state });
        }
        if let Some(run) = record.abandoned.first().copied()
            && self.policy.while_abandoned() == WhileAbandoned::RefuseResume
        {
            return Err(SessionError::RunStillAlive { session, run }.into());
        }
        asked.check(&self.policy)?;
        let moves = match asked.next.unread {
            Unread::Move => self.moves(draft).await?,
            Unread::Leave => Moves::default(),
        };
        self.note_lost_worker();
        let (policy, generation) = (Arc::clone(&self.policy), self.core.generation);
        let Some(draft) = &mut self.draft else {
            return Err(self.not_found().into());
        };
        if let Phase::Active { run, worker, restarting: None } = draft.record().phase
            && worker == generation
        {
            // It was to begin, and never did.
            draft.end_run(run, RunEnd::Cancelled);
        }
        let rolled = draft.roll_over(asked, &moves, &policy);
        rolled.map_err(|refused| SessionError::refused(draft.record(), refused).into())
    }

    /// The inputs that are not worked off, in order, and what is known of the steps of their turns.
    async fn moves(&self, draft: &Draft) -> Result<Moves, SessionError> {
        let (session, record) = (self.session, draft.record());
        let inbox = &record.inbox;
        if inbox.waiting() == 0 {
            return Ok(Moves::default());
        }
        let read = |error| {
            if let StoreError::Damaged { what, reason, .. } = error {
                let reason = format!("what it has not worked off is damaged ({what}): {reason}");
                return SessionError::Unreadable { session, reason };
            }
            SessionError::read(session, error)
        };
        let store = self.core.store().map_err(read)?;
        let mut unread = load_inputs(&*store, session, inbox.consumed).await.map_err(read)?;
        // Those of this commit are not in the store yet.
        unread.extend_from_slice(draft.inputs());
        unread.retain(|input| inbox.is_waiting(input.sequence));
        let is_whole = unread.len() as u64 == inbox.waiting();
        if !is_whole {
            let reason = "inputs that it has not worked off are missing".to_owned();
            return Err(SessionError::Unreadable { session, reason });
        }
        let over = record.snapshot().map_or_else(Turn::default, SnapshotRef::turn);
        let steps = load_steps(&*store, record, over).await.map_err(read)?;
        Ok(Moves { inputs: unread, steps })
    }

    /// A session that has never run holds only what it inherited. It has no run that it could be stopping in, so
    /// that is closed before it is stopped.
    pub(super) async fn let_go_of_inherited(&mut self) {
        let is_pending = self.draft.as_ref().is_some_and(|draft| draft.state() == State::Pending);
        if is_pending && self.core.kept.has(self.session) {
            let words = self.core.close_held(self.session).await;
            if let Some(draft) = &mut self.draft {
                draft.take_last_words(words);
            }
        }
    }
}
