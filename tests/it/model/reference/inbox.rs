//! The inputs of a session: which are over, and which is next.

use std::collections::{BTreeMap, BTreeSet};

use sessionkeeper::OnInterrupt;

use super::{
    Kept, Reference, Session, Who,
    run::{Alive, Doing},
    verbs::Answer,
};
use crate::model::{
    reference::{End, Line, run::Retry, work::Manner},
    steps::Input,
};

/// Numbers are the order in which inputs were accepted, from 1.
#[derive(Debug, Clone, Default)]
pub(in crate::model) struct Inbox {
    pub(in crate::model) all: Vec<Input>,
    /// Up to here all are over, as of the end of the last turn.
    pub(in crate::model) consumed: u64,
    /// These are over too.
    early: BTreeSet<u64>,
    /// These have no effect on any checkpoint.
    dropped: BTreeSet<u64>,
    /// The ordinary one that a run was given and that is not over, and how often.
    pub(in crate::model) in_hand: Option<(u64, u32)>,
    /// How often urgent ones were given to a run.
    attempts: BTreeMap<u64, u32>,
}

impl Inbox {
    pub(super) fn of(all: Vec<Input>) -> Self {
        Self { all, ..Self::default() }
    }

    pub(super) fn input(&self, number: u64) -> Input {
        self.all[number as usize - 1]
    }

    fn waiting_numbers(&self) -> impl Iterator<Item = u64> {
        let later = self.consumed + 1..=self.all.len() as u64;
        later.filter(|number| !self.early.contains(number))
    }

    pub(super) fn is_waiting(&self, number: u64) -> bool {
        self.waiting_numbers().any(|waiting| waiting == number)
    }

    pub(in crate::model) fn waiting(&self) -> u64 {
        self.waiting_numbers().count() as u64
    }

    /// The inputs that are not over, for another session.
    pub(super) fn unread(&self) -> Vec<Input> {
        self.waiting_numbers().map(|number| self.input(number)).collect()
    }

    /// What another session had begun of those that moved from there goes on here. They are the first, in their order.
    pub(super) fn go_on_with(&mut self, before: &Self) {
        for (number, was) in (1..).zip(before.waiting_numbers()) {
            if let Some(attempts) = before.attempts.get(&was) {
                self.attempts.insert(number, *attempts);
            }
            if let Some((_, attempt)) = before.in_hand.filter(|(in_hand, _)| *in_hand == was) {
                self.in_hand = Some((number, attempt));
            }
        }
    }

    /// The urgent ones that wait, and how often each was given out.
    pub(in crate::model) fn urgent(&self) -> Vec<(u64, u32)> {
        let urgent = self.waiting_numbers().filter(|number| self.input(*number).urgent);
        urgent.map(|number| (number, self.attempts.get(&number).copied().unwrap_or(0))).collect()
    }

    /// The one that was begun, then the urgent ones, then the others.
    fn next(&self) -> Option<u64> {
        let urgent = || self.urgent().first().map(|(number, _)| *number);
        let first = || self.waiting_numbers().next();
        self.in_hand.map(|(number, _)| number).or_else(urgent).or_else(first)
    }

    /// Gives the next one out, and says which attempt at it that is.
    pub(super) fn give(&mut self) -> Option<(u64, u32)> {
        let number = self.next()?;
        let attempt = if self.input(number).urgent {
            let attempts = self.attempts.entry(number).or_default();
            *attempts += 1;
            *attempts
        } else {
            let attempt = self.in_hand.map_or(0, |(_, attempt)| attempt) + 1;
            self.in_hand = Some((number, attempt));
            attempt
        };
        Some((number, attempt))
    }

    fn end(&mut self, number: u64) {
        if number > self.consumed {
            self.early.insert(number);
        }
        if self.in_hand.is_some_and(|(in_hand, _)| in_hand == number) {
            self.in_hand = None;
        }
    }

    /// No checkpoint has its effect, so none gives it back.
    fn drop_input(&mut self, number: u64) {
        self.end(number);
        self.dropped.insert(number);
    }

    /// A turn ends, and with it the input that it had, if it had one.
    pub(super) fn end_turn(&mut self, input: Option<u64>) {
        if let Some(number) = input {
            self.end(number);
        }
        while self.early.remove(&(self.consumed + 1)) {
            self.consumed += 1;
        }
    }

    /// The inputs that had no effect on a checkpoint.
    pub(super) fn lacking(&self, kept: &Kept) -> Vec<Input> {
        let later = kept.consumed + 1..=self.all.len() as u64;
        let over = |number: &u64| kept.early.contains(number) || self.dropped.contains(number);
        later.filter(|number| !over(number)).map(|number| self.input(number)).collect()
    }
}

impl Session {
    /// Keeps a state with what it covers, and forgets the oldest.
    pub(super) fn keep(&mut self, done: super::Done) {
        let number = self.kept[0].number + 1;
        let (consumed, early) = (self.inbox.consumed, self.inbox.early.clone());
        self.kept.insert(0, Kept { number, consumed, early, done });
        self.kept.truncate(2);
    }
}

impl Reference {
    /// The turn is interrupted, and the session goes on. What becomes of the input is decided; how the
    /// turn ends is up to the workload.
    pub(in crate::model) fn interrupt(&mut self, who: Who, then: OnInterrupt) -> Option<Answer> {
        let session = &mut self.sessions[who];
        let may_write = session.may_write();
        // What completes has handed its last turn in.
        let is_in_turn = |doing| !matches!(doing, Doing::Closing { end: End::Completed, .. });
        let in_turn = |run: &&mut Alive| may_write && !run.fenced && is_in_turn(run.doing);
        let Some(run) = session.alive.as_mut().filter(in_turn) else {
            return Some(Answer::NothingInHand);
        };
        let Some(input) = run.in_hand else {
            return Some(Answer::NothingInHand);
        };
        // What was dropped stays so.
        let dropped = run.interrupted == Some(OnInterrupt::Drop) || then == OnInterrupt::Drop;
        let then = if dropped { OnInterrupt::Drop } else { OnInterrupt::Redeliver };
        run.interrupted = Some(then);
        let doing = run.doing;
        if dropped {
            session.inbox.drop_input(input);
        }
        session.log.push(Line::Interrupted(then));
        match doing {
            Doing::Working { manner: Manner::Polite, .. } => self.turn_over(who),
            // Its error says that it gives the turn up.
            Doing::Working { manner: Manner::Busy | Manner::Late, .. } => {
                self.end(who, End::Yielded, Retry::ByPolicy);
            }
            Doing::Working {
                manner: Manner::Silent | Manner::Beating | Manner::Awaiting, ..
            } => {}
            Doing::Starting
            | Doing::Resting { .. }
            | Doing::Child { .. }
            | Doing::Closing { .. } => {}
        }
        Some(Answer::Interrupted { input, then })
    }
}
