//! How a live session is rolled over: it is brought to a safe point, and its end is committed with the first
//! commit of its successor.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Intent, Session,
    settle::Successor,
    task::{Decided, Task},
};
use crate::{
    faults::{self, Bug},
    model::{
        event::RunEnd,
        ids::{SessionId, StepKey},
        inbox::Inbox,
        record::StoredInput,
        state::{State, Trigger},
        step::{StoredStep, Turn},
    },
    runtime::{
        draft::{Draft, Moves},
        error::{RolloverError, SessionError},
        op::{NewRollover, NewSuccessor, Op},
    },
    store::{Refusal, StoreError},
    workload::{YieldReason, erased::Driven, rollover::Unread},
};

/// The steps of the turns of inputs that wait, as they are committed. What their results are is shared with the run that has them.
pub(super) struct Steps(BTreeMap<(Turn, StepKey), StoredStep>);

impl Steps {
    pub(super) fn of(stored: Vec<StoredStep>) -> Option<Box<Self>> {
        let mut steps = BTreeMap::new();
        for step in stored {
            steps.insert((step.turn, step.key.clone()), step);
        }
        (!steps.is_empty()).then(|| Box::new(Self(steps)))
    }

    /// Keeps what was committed, and forgets what came before the inputs that wait.
    pub(super) fn keep(kept: &mut Option<Box<Self>>, committed: &[StoredStep], inbox: &Inbox) {
        if !committed.is_empty() {
            let steps = kept.get_or_insert_with(|| Box::new(Self(BTreeMap::new())));
            for step in committed {
                steps.0.insert((step.turn, step.key.clone()), step.clone());
            }
        }
        if let Some(Self(steps)) = kept.as_deref_mut() {
            while let Some(first) = steps.first_entry()
                && first.key().0.input <= inbox.consumed
            {
                first.remove();
            }
            if steps.is_empty() {
                *kept = None;
            }
        }
    }
}

impl Session {
    /// The run is asked to yield, and what is asked for follows its end. What else was asked of the run comes first: then
    /// it is the session's next keeper who rolls it over.
    pub(super) fn on_rollover(&mut self, asked: NewRollover) {
        let session = self.record.id;
        if self.record.state() != State::Active {
            let state = self.record.state();
            return asked.reply.send(Err(RolloverError::Refused { session, state }));
        }
        if let Err(error) = asked.successor.check(&self.policy) {
            return asked.reply.send(Err(error.into()));
        }
        self.rolling.push(NewRollover { reply: asked.reply.begin(), ..asked });
        self.make_room();
    }

    /// Asks the run to yield to the successor that was asked for first, if there is one, unless it was asked for something else.
    pub(super) fn make_room(&mut self) {
        if self.runs_as_asked()
            && let Some(asked) = self.rolling.first()
        {
            let grace = asked.grace.unwrap_or_else(|| self.policy.pause_grace());
            self.intent = Intent::RollOver;
            self.ask(YieldReason::Rollover, grace);
        }
    }

    /// The successor that follows the end of the run, if one does: the workload's own, or the first that a caller has asked
    /// for.
    pub(super) fn successor(&self, draft: &Draft, driven: &Driven) -> Option<Box<Successor>> {
        let asked = match (&driven.next, &driven.end, self.intent) {
            (Some(next), RunEnd::Completed, _) => NewSuccessor {
                id: self.core.clock.session_id(),
                start_key: None,
                next: Arc::clone(next),
            },
            // It has ended before anybody could roll it over.
            (_, RunEnd::Completed, _) => return None,
            (_, _, Intent::RollOver) => self.rolling.first()?.successor.clone(),
            (_, _, Intent::Run | Intent::Pause(_) | Intent::Silence(_)) => return None,
        };
        let moves = match asked.next.unread {
            Unread::Move => Moves { inputs: self.unread(draft), steps: self.known_steps(draft) },
            Unread::Leave => Moves::default(),
        };
        Some(Box::new(Successor { asked, moves }))
    }

    /// The steps of turns that are not over, with those that the draft takes, which come later.
    fn known_steps(&self, draft: &Draft) -> Vec<StoredStep> {
        let known = self.steps.iter().flat_map(|steps| steps.0.values());
        known.chain(draft.steps()).cloned().collect()
    }

    /// The inputs that are not worked off, in order, with those that the draft takes.
    fn unread(&self, draft: &Draft) -> Vec<StoredInput> {
        let inbox = &draft.record().inbox;
        let known = self.inbox.iter().map(|input| StoredInput::clone(input));
        let all = known.chain(draft.inputs().iter().cloned());
        let is_unread = |input: &StoredInput| {
            let number = input.sequence;
            let is_later = faults::planted(Bug::MoveWhatIsOver) && number > inbox.consumed;
            is_later || inbox.is_waiting(number)
        };
        all.filter(is_unread).collect()
    }

    /// The end of the run is durable: answers who asked for what came of it. The others ask the session's next keeper.
    pub(super) fn answer_rollovers(&mut self, left: &mut Vec<Op>) {
        let successor = self.record.links().transitioned_to;
        for asked in std::mem::take(&mut self.rolling) {
            let id = asked.successor.id;
            if successor == Some(id) {
                asked.reply.send(Ok(id));
            } else {
                left.push(Op::Rollover(Box::new(asked)));
            }
        }
    }

    /// The store refused the successor, and so the end of the session: all is decided again without it. The session goes
    /// on, unless another successor is asked for.
    pub(super) fn give_up_successor(&mut self, id: SessionId, why: Refusal, decided: Vec<Decided>) {
        let is_of_caller = self.rolling.first().is_some_and(|asked| asked.successor.id == id);
        if is_of_caller {
            let asked = self.rolling.remove(0);
            if self.rolling.is_empty() {
                self.intent = Intent::Run;
                self.recalled = true;
            }
            asked.refuse(why.clone());
        }
        for decided in decided.into_iter().rev() {
            let mut task = decided.undo();
            if let Task::Over(driven) = &mut task
                && !is_of_caller
            {
                let error = format!("its successor was refused: {why}");
                *driven = Driven::ended(RunEnd::Failed { error });
            }
            self.queue.push_front(task);
        }
    }

    /// Tells who waits for a successor that the store fails. It is made when the store heals.
    pub(super) fn tell_rollovers(&mut self, error: &Arc<StoreError>) {
        for asked in &mut self.rolling {
            asked.reply.tell_store_failed(error);
        }
    }

    /// Why a request to a session that is not active any more is refused.
    pub(super) fn refused(&self, trigger: Trigger) -> SessionError {
        SessionError::refused(&self.record, self.refusal(trigger))
    }
}
