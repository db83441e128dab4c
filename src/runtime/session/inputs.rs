//! Which inputs a live session gives to its run, and what becomes of them.

use std::sync::Arc;

use super::Session;
use super::task::{Decided, Task};
use crate::{
    faults::{self, Bug},
    model::{
        inbox::{InHand, OnInterrupt},
        record::SessionRecord,
        state::State,
    },
    runtime::{draft::Draft, op::Interruption},
    workload::{Covers, Delivery, Marked},
};

impl Session {
    /// If the run waits for an input and there is one, gives it out in the same commit.
    pub(super) fn serve(&self, draft: &mut Draft, decided: &[Decided]) -> Option<InHand> {
        let asked =
            decided.iter().any(|decided| matches!(decided, Decided::Next { answer: Ok(()), .. }));
        let put_back = decided.iter().any(Decided::puts_back);
        // A run that asks again, because it dropped the future of its first request, may have
        // got its input meanwhile.
        let inbox = &draft.record().inbox;
        let has_one = !put_back && self.given.is_some_and(|given| inbox.is_waiting(given));
        let wanted = (self.wants_input || asked) && !has_one && !self.over;
        if !wanted || self.must_yield() || draft.state() != State::Active {
            return None;
        }
        if inbox.urgent().is_empty() {
            return draft.take_next(&[], &[]);
        }
        let run = self.live.run();
        let mut granted = run.granted();
        granted.extend(decided.iter().filter_map(Decided::grants));
        draft.take_next(&run.taken(), &granted)
    }

    /// Hands the run the input that it was waiting for.
    pub(super) fn hand_over(&mut self, served: InHand) {
        let InHand { input, attempt } = served;
        self.wants_input = true;
        if self.must_yield() {
            self.untaken = Some(input);
        } else if let Some(stored) = self.inbox.iter().find(|stored| stored.sequence == input) {
            let urgent = self.record.inbox.is_urgent(input);
            if self.live.run().deliver_input(Arc::clone(stored), attempt, urgent) {
                self.wants_input = false;
                self.given = Some(input);
            } else {
                // It was taken while its commit was under way: the next one is due.
                self.queue.push_back(Task::Notes);
            }
        }
    }

    /// Takes back an input that the run did not pick up, if there is one.
    pub(super) fn take_back(&mut self) -> Option<u64> {
        let untaken = match self.live.run().take_back() {
            Some(Delivery::Input { input, .. }) => Some(input.sequence),
            Some(Delivery::Yield | Delivery::Refused(_)) | None => None,
        };
        if untaken.is_some() {
            self.given = None;
        }
        untaken
    }

    /// Inputs, each with what it weighs in the inbox.
    pub(super) fn weighed(&self, inputs: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
        let weight_of = |input| {
            let stored = self.inbox.iter().find(|stored| stored.sequence == input);
            stored.map_or(0, |stored| stored.payload.len() as u64)
        };
        inputs.map(|input| (input, weight_of(input))).collect()
    }

    /// The last input that does not wake the session if it goes to sleep. One that its run left
    /// aside or gave back would wake it again and again: that run could have taken it.
    pub(super) fn known_inputs(&self, draft: &Draft) -> u64 {
        let inbox = &draft.record().inbox;
        if faults::planted(Bug::WakeForKnownInput) {
            return inbox.consumed;
        }
        match self.given.filter(|given| inbox.is_waiting(*given)) {
            Some(in_hand) => self.began_with.max(in_hand),
            // It works off what there is, and sleeps between two inputs.
            None if self.progressed => inbox.consumed,
            None => self.began_with.max(inbox.consumed),
        }
    }

    /// Gives the run an urgent input besides what it has in hand, if that waits.
    pub(super) fn grant(&self, draft: &mut Draft, input: u64) -> Option<InHand> {
        let has = self.given == Some(input) || self.live.run().taken().contains(&input);
        if has || self.is_fenced(draft) { None } else { draft.grant(input) }
    }

    /// Interrupts the turn of the run, if it has an input in hand. Whether it has is decided with the
    /// run, once: it may be ending the turn right now.
    pub(super) fn interrupt(
        &self,
        draft: &mut Draft,
        then: OnInterrupt,
        marked: Option<Marked>,
    ) -> (Option<Marked>, Interruption) {
        if self.over || self.is_fenced(draft) {
            return (marked, Interruption::Nothing);
        }
        let Some(marked) = marked.or_else(|| self.live.run().mark_interrupted(then)) else {
            return (None, Interruption::Nothing);
        };
        let Marked { input, then, .. } = marked;
        let all = self.weighed([input].into_iter().chain(marked.taken.iter().copied()));
        draft.interrupt(input, then, &all);
        (Some(marked), Interruption::Turn { run: self.run(), input, then })
    }

    /// An interrupt is durable.
    pub(super) fn tell_interrupted(&mut self, answer: Interruption) {
        match answer {
            Interruption::Turn { .. } => {
                self.interrupted = true;
                self.live.run().tell_interrupted();
            }
            Interruption::Nothing => {}
        }
    }

    /// What the run handed in is durable: notes which turn is over.
    pub(super) fn after_commit(&mut self, covers: Option<Covers>) {
        match covers {
            Some(Covers::Input(_) | Covers::Interlude) => self.interrupted = false,
            Some(Covers::PutBack(_)) => {
                self.interrupted = false;
                self.given = None;
                // What the turn had taken can be taken again.
                self.offer_urgent();
            }
            Some(Covers::Nothing) | None => {}
        }
    }

    /// Lets go of inputs that are over, and offers the run the urgent ones that wait.
    pub(super) fn put_inbox_in_order(&mut self, before: &SessionRecord) {
        let now = &self.record.inbox;
        while self.inbox.front().is_some_and(|input| input.sequence <= now.consumed) {
            self.inbox.pop_front();
        }
        if now.out_of_order != before.inbox.out_of_order {
            self.inbox.retain(|input| now.is_waiting(input.sequence));
            self.offer_urgent();
        }
    }

    /// Offers the run the urgent inputs that wait.
    pub(super) fn offer_urgent(&self) {
        let record = &self.record.inbox;
        if record.out_of_order.is_some() || self.live.run().has_offers() {
            let urgent = self.inbox.iter().filter(|input| record.is_urgent(input.sequence));
            self.live.run().offer(urgent.cloned());
        }
    }
}
