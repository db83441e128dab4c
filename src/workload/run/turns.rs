//! Which turn a run is in, and the steps of it.

use tokio::sync::oneshot;

use super::{Run, Shared};
use crate::{
    model::{
        ids::{SessionId, StepKey},
        inbox::{self, Inbox, OnInterrupt},
        step::{EndedTurn, StepProgress, Turn},
    },
    workload::{
        inbox::Covers,
        line::{Fenced, Request, StepChange},
        steps::{Found, OnInterrupted, StepBook, StepRefused},
    },
};

impl Run {
    /// The present turn is over: nothing is in hand, and what its steps came to is not asked for
    /// again. Gives what its commit covers, which is nothing where its input is to be given again.
    pub(in crate::workload) fn end_turn(&self) -> (Covers, Vec<u64>) {
        let mut shared = self.lock();
        let in_hand = shared.in_hand.take();
        let then = shared.interrupts.then;
        shared.interrupts.end_turn();
        if let (Some(input), Some(OnInterrupt::Redeliver)) = (in_hand, then) {
            if let Some(aside) = &mut shared.aside {
                aside.put_back();
            }
            return (Covers::PutBack(input), Vec::new());
        }
        let taken = shared.aside.as_mut().map_or_else(Vec::new, |aside| aside.hand_in());
        shared.turn_over(in_hand);
        shared.forget_steps();
        (Covers::turn_of(in_hand), taken)
    }

    /// Before the first input: what is over out of order, and which inputs were begun in another session.
    pub(crate) fn know_inbox(&self, inbox: &Inbox) {
        self.know_early(inbox);
        self.lock().moved = inbox.moved.as_slice().into();
    }

    /// The session that a turn was begun in, and what it was there: mostly this one, and the same.
    pub(in crate::workload) fn origin(&self, turn: Turn) -> (SessionId, Turn) {
        inbox::origin(&self.lock().moved, turn).unwrap_or((self.session(), turn))
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
        if let Some(book) = &mut shared.steps {
            book.close(turn, key);
            shared.forget_steps();
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

    /// Counts a turn as over, as the session does when it commits that.
    fn turn_over(&mut self, in_hand: Option<u64>) {
        let ended = match in_hand {
            Some(_) => EndedTurn::OfInput,
            None => EndedTurn::Interlude,
        };
        let next = self.over.input + 1;
        let consumed = match (in_hand, &mut self.aside) {
            (Some(input), None) if input == next => input,
            (Some(input), aside) => {
                let early = &mut aside.get_or_insert_default().early;
                early.add(input, 0);
                early.after(self.over.input)
            }
            (None, Some(aside)) => aside.early.after(self.over.input),
            (None, None) => self.over.input,
        };
        self.over = self.over.followed_by(ended, consumed);
        if let Some(aside) = &mut self.aside {
            aside.early.forget(consumed, u64::MAX);
        }
    }

    /// Forgets the steps of turns that are over. One that was overtaken by others is not.
    fn forget_steps(&mut self) {
        let Self { steps, over, aside, .. } = self;
        let Some(book) = steps else {
            return;
        };
        let is_early = |turn: Turn| {
            let early =
                aside.as_ref().is_some_and(|aside| aside.early.covers(turn.input, u64::MAX));
            early && turn.interlude == 0
        };
        book.forget(|turn| turn <= *over || is_early(turn));
        if book.is_empty() {
            *steps = None;
        }
    }
}
