//! What those who look after sessions ask of one without an actor.

use std::sync::Arc;

use super::decide::{Begin, Desk};
use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, RunEnd},
        ids::RunId,
        state::{PauseCause, Phase, Restarting, State},
    },
    policy::{
        recovery::{self, Plan},
        restart::Retry,
    },
    runtime::{
        core::Life,
        op::Recovered,
        session::{Ending, Intent},
    },
    workload::erased::Stored,
};

impl Desk<'_> {
    pub(super) fn quarantine(&mut self, cause: Cause, reason: String) {
        let policy = Arc::clone(&self.policy);
        if let Some(draft) = &mut self.draft {
            let paused = draft.pause(PauseCause::Quarantined, cause, Some(reason), &policy);
            debug_assert!(paused.is_ok(), "an active session can be paused");
        }
    }

    pub(super) fn time_out(&mut self) {
        let now = self.core.clock.supervised();
        if let Some(draft) = &mut self.draft
            && let Some(until) = draft.record().waits_until().filter(|until| *until <= now)
        {
            let cause = match draft.state() {
                State::Pending => Cause::PendingTimeout,
                State::Active
                | State::Paused
                | State::Stopping
                | State::Stopped
                | State::Completed
                | State::Failed
                | State::Expired => Cause::PausedTimeout,
            };
            let expired = draft.expire(cause, None);
            debug_assert!(expired.is_ok(), "what waits can expire");
            self.core.meters.expired(cause, now.since(until));
        }
    }

    /// An alarm that is due has rung, though the session cannot run at once.
    pub(super) fn ring(&mut self) {
        if self.core.life() == Life::Running
            && self.is_alarm_due()
            && let Some(draft) = &mut self.draft
        {
            draft.ring();
        }
    }

    /// Whether the session sleeps, and its alarm is due.
    pub(super) fn is_alarm_due(&self) -> bool {
        let until = self.draft.as_ref().and_then(|draft| draft.record().sleeps_until());
        until.is_some_and(|until| until <= self.core.clock.wall())
    }

    pub(super) async fn recover(&mut self) -> Recovered {
        let Some(draft) = &self.draft else {
            return Recovered::Left;
        };
        let record = draft.record();
        let registered = self.core.registry.get(&record.kind).is_some();
        let lost = |worker| self.core.is_lost(worker);
        let plan = recovery::plan(record, self.core.recover, registered, lost);
        let (phase, suspect) = (record.phase.clone(), record.recoveries);
        match plan {
            Plan::FinishStop | Plan::Interrupt | Plan::Quarantine => self.note_lost_worker(),
            // A run that begins notes it; one that cannot changes nothing.
            Plan::Leave | Plan::Resume | Plan::ResumeSuspect => {}
        }
        let policy = Arc::clone(&self.policy);
        let Some(draft) = &mut self.draft else {
            return Recovered::Left;
        };
        match plan {
            Plan::Leave => Recovered::Left,
            Plan::FinishStop => {
                let settled = draft.settle_stop();
                debug_assert!(settled.is_ok(), "what is stopping can be stopped");
                Recovered::Stopped
            }
            Plan::Interrupt => {
                let cause = PauseCause::Interrupted;
                let paused = draft.pause(cause, Cause::Interrupted, None, &policy);
                debug_assert!(paused.is_ok(), "an active session can be paused");
                Recovered::Interrupted
            }
            Plan::Quarantine => {
                let lost = suspect.saturating_add(1);
                let reason = format!("its workers were lost {lost} times before a checkpoint");
                self.quarantine(Cause::SuspectedOfCrashes, reason);
                Recovered::Quarantined
            }
            Plan::Resume | Plan::ResumeSuspect => {
                if let Phase::Active { restarting: Some(Restarting { due, .. }), .. } = phase
                    && due > self.core.clock.supervised()
                    && !faults::planted(Bug::ForgetBackoff)
                {
                    draft.adopt();
                    return Recovered::Resumed;
                }
                match self.begin_in_time(Cause::Recovered).await {
                    Begin::Begun => {
                        // Between two runs it was not what its worker died of.
                        if let Some(draft) = &mut self.draft
                            && matches!(phase, Phase::Active { restarting: None, .. })
                        {
                            draft.count_recovery();
                        }
                        Recovered::Resumed
                    }
                    Begin::NoPlace => Recovered::Left,
                    Begin::Refused(error) => Recovered::Failed(error),
                }
            }
        }
    }

    /// Its actor ended without a word: the run counts as failed.
    pub(super) fn lost(&mut self, run: RunId) {
        let policy = Arc::clone(&self.policy);
        let generation = self.core.generation;
        let Some(draft) = &mut self.draft else {
            return;
        };
        let record = draft.record();
        let mine = record.phase.run() == Some(run) && record.phase.worker() == Some(generation);
        let open = record.runs.since.is_some();
        let ended = open && record.state().is_terminal();
        if !(mine || ended) {
            return;
        }
        let message = "its actor ended unexpectedly".to_owned();
        let ending = Ending {
            run,
            end: RunEnd::Panicked { message },
            retry: Retry::ByPolicy,
            stored: Stored::Decoded,
            leaves: self.core.kept.has(record.id),
            intent: Intent::Run,
            recalled: false,
            interrupted: false,
            progressed: false,
            alarm: None,
            known_inputs: 0,
            next_run: self.core.clock.run_id(),
            random: self.core.random(),
            successor: None,
        };
        ending.settle(draft, &policy);
    }
}
