//! How a session without an actor begins to run.

use super::decide::{Begin, Desk};
use super::{Loaded, RETRY};
use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, RunEnd},
        state::{InvalidTransition, PauseCause, Phase, Restarting, State, Trigger},
    },
    policy::WhileAbandoned,
    runtime::{core::Life, draft::Draft, error::SessionError, op::Asker},
};

/// How often a session is tried whose state cannot be read though the store works.
const PATIENCE: u32 = 20;

impl Desk<'_> {
    pub(super) async fn resume(&mut self, by: Asker) -> Begin {
        let Some(record) = self.draft.as_ref().map(Draft::record) else {
            return Begin::Refused(self.not_found());
        };
        let quarantined = record.phase.pause_cause() == Some(PauseCause::Quarantined);
        let lost = record.phase.worker().is_some_and(|worker| self.core.is_lost(worker));
        if by == Asker::Parent && record.phase.pause_cause() != Some(PauseCause::Parent) {
            // It was paused for another reason, or is not paused any more.
            return Begin::Begun;
        }
        match record.state() {
            State::Active if lost => {}
            // It runs, or will in its turn.
            State::Active | State::Pending => return Begin::Begun,
            State::Paused | State::Stopped => {}
            from @ (State::Stopping | State::Completed | State::Failed | State::Expired) => {
                let to = Trigger::Activate.target();
                let session = self.session;
                let refused = InvalidTransition { session, from, to };
                return Begin::Refused(SessionError::refused(record, refused));
            }
        }
        let begun = self.begin(by.cause(), None).await;
        if let (Begin::Begun, true, Some(draft)) = (&begun, quarantined, &mut self.draft) {
            draft.clear_failures();
        }
        begun
    }

    /// Why the session should begin to run: a place for a pending session, an input for an idle
    /// one, an alarm or an input for one that sleeps.
    pub(super) fn reason_to_wake(&self) -> Option<Cause> {
        let record = self.draft.as_ref().map(Draft::record)?;
        if self.is_alarm_due() {
            return Some(Cause::AlarmRang);
        }
        record.ready_since()?;
        Some(match &record.phase {
            Phase::Pending { .. } => Cause::SlotFree,
            Phase::Paused { cause: PauseCause::AlarmRang, .. } => Cause::AlarmRang,
            Phase::Active { .. }
            | Phase::Paused { .. }
            | Phase::Stopping { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => Cause::InputArrived,
        })
    }

    /// Begins a run, for those who can wait until the store can be read: as long as it fails for
    /// everybody, and for a while if it fails only here.
    pub(super) async fn begin_in_time(&mut self, cause: Cause) -> Begin {
        let mut patience = PATIENCE;
        loop {
            let begun = self.begin(cause, None).await;
            let store_failed = matches!(begun, Begin::Refused(SessionError::Store { .. }));
            if !store_failed || self.core.store().is_err() || patience == 0 {
                return begun;
            }
            if self.core.checkpointer.health().error().is_none() {
                patience -= 1;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Begins a run, if nothing stands against it, there is a place, and what it needs can be
    /// read. Else nothing is changed.
    pub(super) async fn begin(&mut self, cause: Cause, reason: Option<String>) -> Begin {
        let Some(draft) = &self.draft else {
            return Begin::NoPlace;
        };
        if self.core.life() != Life::Running {
            // What begins now might be begun after the shutdown has counted who runs.
            return Begin::Refused(SessionError::ShuttingDown { session: self.session });
        }
        if let Some(run) = draft.record().abandoned.first().copied()
            && self.policy.while_abandoned() == WhileAbandoned::RefuseResume
            && !faults::planted(Bug::ResumeBesideAbandoned)
        {
            let session = self.session;
            return Begin::Refused(SessionError::RunStillAlive { session, run });
        }
        if !self.has_place && self.place.is_none() {
            self.place = self.try_place();
            if self.place.is_none() {
                return Begin::NoPlace;
            }
        }
        let loaded = match Loaded::load(self.core, draft.record()).await {
            Ok(loaded) => loaded,
            Err(error) => return Begin::Refused(error),
        };
        self.note_lost_worker();
        let Some(draft) = &mut self.draft else {
            return Begin::NoPlace;
        };
        loaded.apply(draft);
        match draft.activate(self.core.clock.run_id(), cause, reason) {
            Ok(()) => {
                self.loaded = Some(loaded);
                Begin::Begun
            }
            Err(error) => Begin::Refused(error.into()),
        }
    }

    pub(super) async fn restart(&mut self) {
        let Some(draft) = &self.draft else {
            return;
        };
        let Phase::Active { run, worker, restarting } = draft.record().phase else {
            return;
        };
        if worker != self.core.generation {
            return;
        }
        let now = self.core.clock.supervised();
        let outcome = match restarting {
            // A timer of an earlier wait; the present one goes on.
            Some(Restarting { due, .. }) if due > now => return,
            Some(_) => self.begin(Cause::Restarted, None).await,
            // It was activated in the commit that ended the run before.
            None => match Loaded::load(self.core, draft.record()).await {
                Ok(loaded) => {
                    if let Some(draft) = &mut self.draft {
                        loaded.apply(draft);
                    }
                    self.loaded = Some(loaded);
                    return;
                }
                Err(error) => {
                    // It was to begin, and never did.
                    if let Some(draft) = &mut self.draft {
                        draft.end_run(run, RunEnd::Cancelled);
                    }
                    Begin::Refused(error)
                }
            },
        };
        match outcome {
            // The shutdown pauses it.
            Begin::Begun | Begin::NoPlace | Begin::Refused(SessionError::ShuttingDown { .. }) => {}
            Begin::Refused(SessionError::Store { .. }) => {
                // The store failed: that is not the session's fault, so it waits on.
                if let Some(draft) = &mut self.draft {
                    draft.schedule_restart(0, RETRY);
                }
            }
            Begin::Refused(error) => self.quarantine(Cause::RestartsExhausted, error.to_string()),
        }
    }
}
