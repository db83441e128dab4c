//! Deciding, committing, answering: the one path by which a live session changes.

use std::sync::Arc;

use super::task::{Decided, Task, UnitTask};
use super::{Answer, Message, Session, roll_over::Steps, settle::Ending};
use crate::{
    faults::{self, Bug, Point},
    model::{event::Cause, inbox::InHand, record::SnapshotRef, state::State, step::StoredStep},
    runtime::{
        draft::{self, Covered, Draft, RunAlive},
        error::SessionError,
        op::StopAccepted,
    },
    store::{Commit, Refusal},
    telemetry,
    workload::{self, Covers, Delivery, Fenced, RunError, StepChange, YieldReason, erased::Driven},
};

/// A commit under way, and what follows when it is durable.
pub(super) struct Flight {
    decided: Vec<Decided>,
    served: Option<InHand>,
    /// The record, the new inputs and the facts as they will be.
    commit: Arc<Commit>,
}

impl Session {
    /// If nothing is in flight and something waits, decides all of it and hands the commit in.
    pub(super) fn take_off(&mut self) {
        while self.flight.is_none() && self.settled.is_none() {
            if self.queue.is_empty() {
                if self.wants_input && self.must_yield() {
                    self.deliver_yield();
                }
                return;
            }
            let mut draft = Draft::of(&self.record, self.core.moment());
            self.notes.append(&mut self.live.run().take_notes());
            self.notes_until = None;
            if faults::planted(Bug::LoseNotesOfLastTurn) && self.over {
                self.notes.clear();
            }
            draft.take_notes(self.run(), self.notes.clone());
            if let Some(input) = self.untaken {
                draft.give_back(input);
            }
            let mut decided = Vec::new();
            // Taken whole, so that an idle session has no room for a queue.
            let mut queue = std::mem::take(&mut self.queue);
            while let Some(task) = queue.pop_front() {
                let last = matches!(task, Task::Over(_));
                decided.push(self.decide(&mut draft, task));
                if last {
                    self.queue = queue;
                    break;
                }
            }
            let served = self.serve(&mut draft, &decided);
            if !draft.is_changed() {
                self.carry_out(decided, served);
                continue;
            }
            let commit = Arc::new(draft.finish(&self.core.retention));
            if faults::planted(Bug::PublishBeforeCommit) {
                self.core.publish(&self.live, &commit.record, &commit.events);
            }
            if faults::planted(Bug::DeliverBeforeCommit) {
                self.carry_out(Vec::new(), served);
            }
            let flight = Flight { decided, served, commit: Arc::clone(&commit) };
            self.flight = Some(Box::new(flight));
            self.took_off = self.core.clock.worker();
            faults::reach(Point::Decided);
            let line = self.live.line().clone();
            let on_answer = move |answer| {
                // An actor that is gone has nobody left to tell.
                let _ = line.send(Message::Answer(answer));
            };
            self.core.checkpointer.submit(commit, Box::new(on_answer));
        }
    }

    /// While the store fails, callers are told so at once; what the run asks for waits.
    pub(super) fn refuse_callers(&mut self, error: &Arc<crate::store::StoreError>) {
        let (callers, rest): (Vec<_>, Vec<_>) =
            self.queue.drain(..).partition(Task::is_of_a_caller);
        self.queue.extend(rest);
        for task in callers {
            task.store_failed(error);
        }
        for (_, mut reply) in self.pausers.drain(..) {
            reply.tell_store_failed(error);
        }
        self.tell_rollovers(error);
    }

    fn decide(&mut self, draft: &mut Draft, task: Task) -> Decided {
        match task {
            Task::Send { input, reply } => {
                let answer = draft.accept(&input, &self.taken, &self.policy);
                Decided::Send { input, reply: reply.begin(), answer }
            }
            Task::Stop { by, grace, only, reply, asked } => {
                let first = draft.state() != State::Stopping;
                let answer = if let Err(other) = draft.is_run(only) {
                    Err(other)
                } else if !first {
                    Ok(())
                } else if faults::planted(Bug::StopBeforeRunIsGone) {
                    draft.stop(RunAlive::No, by.cause()).map_err(Into::into)
                } else {
                    draft.stop(RunAlive::Yes, by.cause()).map_err(Into::into)
                };
                let answer = answer.map(|()| StopAccepted { run: Some(self.run()) });
                if first && answer.is_ok() {
                    self.core.meters.asked_to_stop(self.record.id, asked);
                }
                Decided::Stop { by, grace, only, reply: reply.begin(), answer, asked }
            }
            Task::Complete { reason, reply } => {
                let answer = draft.complete(Cause::Asked, reason.clone()).map_err(Into::into);
                let task = UnitTask::Complete { reason, reply: reply.begin() };
                Decided::Unit { task, answer }
            }
            Task::Fail { reason, reply } => {
                let answer = draft.fail(Cause::Asked, reason.clone()).map_err(Into::into);
                let task = UnitTask::Fail { reason, reply: reply.begin() };
                Decided::Unit { task, answer }
            }
            Task::Annotate { change, reply } => {
                draft.annotate(change.clone());
                let task = UnitTask::Annotate { change, reply: reply.begin() };
                Decided::Unit { task, answer: Ok(()) }
            }
            Task::Bear { run, reply } => {
                let answer = draft.bear(run);
                Decided::Bear { run, reply: reply.begin(), answer }
            }
            Task::Discharge { owed, done } => {
                draft.discharge(&owed);
                Decided::Discharge { owed, done }
            }
            Task::Trimmed { to, done } => {
                draft.note_trimmed(to);
                Decided::Trimmed { to, done }
            }
            Task::Next { draft: state } => {
                let answer = match &state {
                    Some(state) => self.save(draft, state).map(drop),
                    None => Ok(()),
                };
                Decided::Next { draft: state, answer }
            }
            Task::Commit { draft: state, reply } => {
                let answer = self.save(draft, &state);
                Decided::Commit { draft: state, reply, answer }
            }
            Task::Returned { run, done } => {
                draft.returned(run);
                Decided::Returned { run, done }
            }
            Task::Step(change) => {
                let answer = self.take_step(draft, &change);
                Decided::Step { change, answer }
            }
            Task::Take(input) => {
                let granted = self.grant(draft, input);
                Decided::Take { input, granted }
            }
            Task::Interrupt { then, marked, reply } => {
                let (marked, answer) = self.interrupt(draft, then, marked);
                Decided::Interrupt { then, marked, reply: reply.begin(), answer }
            }
            Task::Expire { cause, reason } => {
                // Whoever came first has ended it; then there is nothing to expire.
                let _ = draft.expire(cause, Some(reason.clone()));
                Decided::Quiet(Task::Expire { cause, reason })
            }
            // It stands behind the end of the run, and nothing is decided after that.
            task @ (Task::LatePause { .. } | Task::LateResume { .. } | Task::Notes) => {
                Decided::Quiet(task)
            }
            Task::Prove => {
                draft.clear_recoveries();
                Decided::Quiet(Task::Prove)
            }
            Task::Over(driven) => {
                self.decide_end(draft, &driven);
                Decided::Over(driven)
            }
        }
    }

    fn decide_end(&mut self, draft: &mut Draft, driven: &Driven) {
        for input in self.take_back().into_iter().chain(self.live.run().granted()) {
            draft.give_back(input);
        }
        if let Some(state) = &driven.draft {
            // A run that is fenced may leave nothing.
            let _ = self.save(draft, state);
        }
        let ending = Ending {
            run: self.run(),
            end: driven.end.clone(),
            retry: driven.retry,
            stored: driven.stored,
            leaves: self.core.kept.has(self.record.id),
            intent: self.intent,
            recalled: self.recalled,
            interrupted: self.interrupted,
            progressed: self.progressed,
            alarm: driven.alarm,
            known_inputs: self.known_inputs(draft),
            successor: self.successor(draft, driven),
            next_run: self.core.clock.run_id(),
            random: self.core.random(),
        };
        ending.settle(draft, &self.policy);
    }

    /// Keeps a state that the run handed over, if the run may. That it is not too large was looked
    /// at where it was encoded.
    fn save(
        &mut self,
        draft: &mut Draft,
        state: &workload::Draft,
    ) -> Result<SnapshotRef, RunError> {
        if self.is_fenced(draft) {
            return Err(RunError::Fenced { session: self.record.id, run: self.run() });
        }
        let (turn, input) = match state.covers {
            Covers::Input(input) => (Covered::Input, Some(input)),
            Covers::Interlude => (Covered::Interlude, None),
            Covers::Nothing | Covers::PutBack(_) => (Covered::Nothing, None),
        };
        let inputs = self.weighed(input.into_iter().chain(state.taken.iter().copied()));
        self.progressed |= !inputs.is_empty();
        let covers = draft::Covers { turn, inputs: &inputs };
        Ok(draft.save(self.run(), self.state_version, &state.payload, &covers))
    }

    /// Keeps how far a step of the run came, if the run may write.
    fn take_step(&self, draft: &mut Draft, change: &StepChange) -> Result<(), Fenced> {
        if self.is_fenced(draft) {
            return Err(Fenced);
        }
        draft.take_step(StoredStep {
            turn: change.turn,
            key: change.key.clone(),
            run: self.run(),
            at: draft.moment().wall,
            progress: change.progress.clone(),
        });
        Ok(())
    }

    /// Whether the run may write nothing more.
    pub(super) fn is_fenced(&self, draft: &Draft) -> bool {
        let fenced = self.fenced && !faults::planted(Bug::SkipFence);
        fenced || !matches!(draft.state(), State::Active | State::Stopping)
    }

    pub(super) fn on_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Done => {
                if let Some(flight) = self.flight.take() {
                    let Flight { decided, served, commit } = *flight;
                    faults::reach(Point::BeforePublish);
                    self.land(&commit);
                    faults::reach(Point::BeforeAcknowledge);
                    self.carry_out(decided, served);
                    faults::reach(Point::AfterAcknowledge);
                }
            }
            Answer::Delayed(error) => {
                let Some(flight) = &mut self.flight else {
                    return;
                };
                for decided in &mut flight.decided {
                    decided.store_failed(&error);
                }
            }
            Answer::Refused(refusal) => self.on_refusal(refusal),
        }
    }

    fn on_refusal(&mut self, refusal: Refusal) {
        let Some(flight) = self.flight.take() else {
            return;
        };
        match refusal {
            Refusal::InputTaken { id, sequence, checksum } => {
                // Nothing was done: everything is decided again, with this id known.
                self.taken.insert(id, (sequence, checksum));
                if faults::planted(Bug::LoseNotesOfRefusedCommit) {
                    self.notes.clear();
                }
                for decided in flight.decided.into_iter().rev() {
                    self.queue.push_front(decided.undo());
                }
            }
            Refusal::Successor(why) => {
                let successor = flight.commit.successor.as_ref();
                if let Some(id) = successor.map(|successor| successor.record.id) {
                    self.give_up_successor(id, *why, flight.decided);
                }
            }
            Refusal::Version { .. }
            | Refusal::Deleted
            | Refusal::Damaged { .. }
            | Refusal::GenerationEnded
            | Refusal::NameTaken { .. }
            | Refusal::StartKeyTaken { .. } => {
                telemetry::session_trouble(
                    self.record.id,
                    "the session was taken over by another writer; its run ends here",
                    &refusal,
                );
                if refusal == Refusal::GenerationEnded {
                    self.core.taken_over();
                }
                self.lose();
            }
        }
    }

    /// The commit is durable: publishes it.
    fn land(&mut self, commit: &Commit) {
        self.notes.clear();
        self.untaken = None;
        let before = std::mem::replace(&mut self.record, Arc::clone(&commit.record));
        self.inbox.extend(commit.inputs.iter().cloned().map(Arc::new));
        self.put_inbox_in_order(&before);
        Steps::keep(&mut self.steps, &commit.steps, &self.record.inbox);
        self.core.announce_successor(commit);
        self.core.publish(&self.live, &self.record, &commit.events);
    }

    /// Answers everybody, and does what follows.
    fn carry_out(&mut self, decided: Vec<Decided>, served: Option<InHand>) {
        let mut over = false;
        for decided in decided {
            match decided {
                Decided::Send { reply, answer, .. } => reply.send(answer),
                Decided::Stop { grace, reply, answer, .. } => {
                    if answer.is_ok() {
                        self.supersede_pausers("stop");
                        self.live.show_pausing(false);
                        let grace = grace.unwrap_or_else(|| self.policy.stop_grace());
                        self.ask(YieldReason::Stop, grace);
                    }
                    reply.send(answer);
                }
                Decided::Unit { task, answer } => self.carry_out_unit(task, answer),
                Decided::Next { draft, answer: Ok(()) } => {
                    self.after_commit(draft.map(|draft| draft.covers));
                    let inbox = &self.record.inbox;
                    self.wants_input = self.given.is_none_or(|given| !inbox.is_waiting(given));
                }
                Decided::Next { answer: Err(error), .. } => {
                    self.untaken = self.take_back().or(self.untaken);
                    self.live.run().deliver(Delivery::Refused(error));
                }
                Decided::Commit { draft, reply, answer } => {
                    if answer.is_ok() {
                        self.after_commit(Some(draft.covers));
                    }
                    // A run that is gone does not wait for its answer.
                    let _ = reply.send(answer);
                }
                Decided::Step { change, answer } => drop(change.reply.send(answer)),
                Decided::Bear { reply, answer, .. } => reply.send(answer),
                Decided::Take { granted, .. } => {
                    if let Some(InHand { input, attempt }) = granted {
                        self.live.run().grant(input, attempt);
                    }
                }
                Decided::Interrupt { reply, answer, .. } => {
                    self.tell_interrupted(answer);
                    reply.send(Ok(answer));
                }
                Decided::Returned { done, .. }
                | Decided::Discharge { done, .. }
                | Decided::Trimmed { done, .. } => {
                    let _ = done.send(());
                }
                Decided::Quiet(_) => {}
                Decided::Over(_) => over = true,
            }
        }
        if over {
            return self.settle();
        }
        if let Some(served) = served {
            self.hand_over(served);
        }
        self.deliver_yield();
        if self.wants_input {
            self.rest();
        }
    }

    /// The run has nothing to do. It came this far with its state, so nothing is held against it
    /// any more.
    fn rest(&mut self) {
        self.live.run().park();
        if self.record.recoveries > 0 {
            self.queue.push_back(Task::Prove);
        }
    }

    fn carry_out_unit(&mut self, task: UnitTask, answer: Result<(), SessionError>) {
        let ended = answer.is_ok() && self.record.state().is_terminal();
        let (reply, ends_by) = match task {
            UnitTask::Complete { reply, .. } => (reply, Some("complete")),
            UnitTask::Fail { reply, .. } => (reply, Some("fail")),
            UnitTask::Annotate { reply, .. } => (reply, None),
        };
        if let Some(verb) = ends_by.filter(|_| ended) {
            self.supersede_pausers(verb);
            self.cancel();
        }
        reply.send(answer);
    }
}
