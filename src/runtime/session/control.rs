//! How a live session is brought to rest.

use std::time::Duration;

use super::{Intent, Session, Task, settle::Rest};
use crate::{
    faults::{self, Bug},
    model::{
        event::RunEnd,
        state::{State, Trigger},
    },
    runtime::{
        error::SessionError,
        ladder::Ladder,
        op::{Asker, Reply, Rested},
    },
    telemetry::Stamp,
    workload::{Ask, YieldReason, YieldRequest, erased::Driven},
};

impl Session {
    pub(super) fn on_pause(&mut self, by: Asker, reply: Reply<Rested, SessionError>) {
        if self.record.state() != State::Active {
            return reply.send(Err(self.refused(Trigger::Pause)));
        }
        self.pausers.push((by, reply.begin()));
        let asked = match by {
            Asker::Caller => Rest::Asked,
            Asker::Parent => Rest::Parent,
        };
        match &mut self.intent {
            Intent::Pause(Rest::Asked) => {}
            Intent::Pause(rest) if *rest == asked => {}
            Intent::Pause(rest) => {
                *rest = asked;
                self.core.meters.asked_to_pause(self.record.id, Stamp::now());
            }
            Intent::RollOver | Intent::Silence(_) => {}
            Intent::Run => {
                let grace = self.policy.pause_grace();
                self.pause_for(asked, YieldReason::Pause, grace);
            }
        }
    }

    pub(super) fn pause_for(&mut self, rest: Rest, reason: YieldReason, grace: Duration) {
        self.intent = Intent::Pause(rest);
        self.core.meters.asked_to_pause(self.record.id, Stamp::now());
        self.show_pausing(true);
        self.ask(reason, grace);
    }

    /// What a session does is seen by its watchers although nothing is committed for it.
    fn show_pausing(&self, pausing: bool) {
        self.live.show_pausing(pausing);
        self.core.hub.publish(&self.record, &[]);
    }

    /// Whether it runs, and nobody has asked it for anything else.
    pub(super) fn runs_as_asked(&self) -> bool {
        !self.over && self.record.state() == State::Active && self.intent == Intent::Run
    }

    pub(super) fn on_resume(&mut self, by: Asker, reply: Reply<(), SessionError>) {
        match (self.record.state(), &self.intent) {
            // Whoever else asked for a rest has not taken that back.
            (State::Active, Intent::Pause(rest))
                if by == Asker::Parent && *rest != Rest::Parent =>
            {
                reply.send(Ok(()));
            }
            (State::Active, Intent::Pause(Rest::Shutdown)) => {
                reply.send(Err(SessionError::ShuttingDown { session: self.record.id }));
            }
            (State::Active, Intent::Pause(_)) => {
                self.supersede_pausers("resume");
                if faults::planted(Bug::PauseDespiteLaterResume) {
                    return reply.send(Ok(()));
                }
                self.intent = Intent::Run;
                self.recalled = true;
                self.core.meters.pause_withdrawn(self.record.id);
                self.show_pausing(false);
                if self.ladder.withdraw() {
                    self.watch();
                    self.live.run().set_ask(Ask::GoOn);
                }
                // A rollover that waits behind the pause waits for an end that does not come by itself any more.
                self.make_room();
                reply.send(Ok(()));
            }
            (State::Active, Intent::Run | Intent::RollOver | Intent::Silence(_)) => {
                reply.send(Ok(()));
            }
            (
                State::Pending
                | State::Paused
                | State::Stopping
                | State::Stopped
                | State::Completed
                | State::Failed
                | State::Expired,
                _,
            ) => reply.send(Err(self.refused(Trigger::Activate))),
        }
    }

    pub(super) fn on_shutdown(&mut self) {
        match (self.record.state(), &self.intent) {
            (State::Active, Intent::Run) => {
                let now = self.core.clock.worker();
                let cancels_at = self.core.cancels_at.get().copied().unwrap_or(now);
                let grace = cancels_at.since(now);
                self.pause_for(Rest::Shutdown, YieldReason::Shutdown, grace);
            }
            (State::Active, Intent::Pause(Rest::Idle)) => {
                // It still wakes for an input; that is decided by the next worker.
            }
            (_, Intent::Run | Intent::Pause(_) | Intent::RollOver | Intent::Silence(_)) => {}
        }
    }

    /// Asks the run to yield, and gives it its answer if it waits for an input.
    pub(super) fn ask(&mut self, reason: YieldReason, grace: Duration) {
        if grace.is_zero() {
            return self.cancel();
        }
        self.ladder.ask(self.core.clock.worker(), grace);
        self.watch();
        if let Ladder::Asked { cancel_at } = self.ladder {
            let request = YieldRequest::new(reason, cancel_at);
            self.live.run().set_ask(Ask::Yield(request));
        }
    }

    pub(super) fn cancel(&mut self) {
        if self.ladder.cancel(self.core.clock.worker(), self.policy.cancel_grace()) {
            self.watch();
            self.live.run().set_ask(Ask::Cancel);
        }
    }

    pub(super) fn abandon(&mut self) {
        if self.over || !self.live.abandon() {
            return;
        }
        self.live.run().set_ask(Ask::Cancel);
        self.live.run().abort_tasks();
        self.over = true;
        self.ladder = Ladder::Over;
        self.watch();
        self.fenced = true;
        self.queue.push_back(Task::Over(Driven::ended(RunEnd::Abandoned)));
    }
}
