//! How a draft moves its session along the table.

use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, Fact, Lifecycle, RunEnd},
        family,
        ids::{RunId, WorkerGeneration},
        record::{EndedRun, SessionRecord, Transition},
        sleep::Sleep,
        state::{InvalidTransition, PauseCause, Phase, State, Trigger, transition},
    },
    policy::Policy,
};

use super::{Draft, RunAlive};

impl Draft {
    /// Moves the session along the table, or refuses. The one place where a phase is set.
    pub(super) fn step(
        &mut self,
        trigger: Trigger,
        phase: Phase,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        let from = self.record.state();
        let to = transition(from, trigger).ok_or(InvalidTransition {
            session: self.record.id,
            from,
            to: trigger.target(),
        })?;
        debug_assert_eq!(to, phase.state(), "the phase is the one that the table names");
        let run = phase.run().or_else(|| self.record.phase.run());
        let before = std::mem::replace(&mut self.record.phase, phase);
        self.record.ended = match to {
            State::Stopped | State::Completed | State::Failed | State::Expired => {
                Some(self.moment.supervised)
            }
            State::Pending | State::Active | State::Paused | State::Stopping => None,
        };
        let at = self.moment.wall;
        let is_first = self.record.runs.count == 0 || from == State::Stopped;
        let begins = to == State::Active && is_first && !faults::planted(Bug::BeginUntold);
        let change = Lifecycle::StateChanged { from, to, cause, reason: reason.clone(), begins };
        self.push(at, run, None, Fact::Lifecycle(change));
        self.owe_for_move(&before, cause);
        if self.record.history.len() >= SessionRecord::KEPT_HISTORY {
            self.record.history.pop_front();
        }
        self.record.history.push_back(Transition { at, from, to, cause, reason });
        Ok(())
    }

    /// Begins a run.
    pub(crate) fn activate(
        &mut self,
        run: RunId,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        let phase = Phase::Active { run, worker: self.moment.worker, restarting: None };
        self.step(Trigger::Activate, phase, cause, reason)?;
        self.record.runs.count = self.record.runs.count.saturating_add(1);
        self.record.runs.since = Some(self.moment.supervised);
        if cause == Cause::Restarted {
            self.record.runs.restarts = self.record.runs.restarts.saturating_add(1);
        }
        Ok(())
    }

    /// Records that the present run ended. The state of the session is another matter.
    pub(crate) fn end_run(&mut self, run: RunId, end: RunEnd) {
        if let Some(since) = self.record.runs.since.take() {
            let span = self.moment.supervised.since(since);
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            self.record.runs.active_ms = self.record.runs.active_ms.saturating_add(span);
        }
        self.record.runs.last = Some(EndedRun { run, end: end.clone() });
        if end == RunEnd::Abandoned && !faults::planted(Bug::HideAbandoned) {
            self.record.abandoned.push(run);
        }
        let fact = Fact::Lifecycle(Lifecycle::RunEnded { how: end });
        self.push(self.moment.wall, Some(run), None, fact);
    }

    /// A run whose worker is gone has ended, whatever follows.
    pub(crate) fn end_lost_run(&mut self, is_lost: impl FnOnce(WorkerGeneration) -> bool) {
        if let Phase::Active { run, worker, restarting: None } | Phase::Stopping { run, worker } =
            self.record.phase
            && self.record.runs.since.is_some()
            && is_lost(worker)
        {
            self.end_run(run, RunEnd::Interrupted);
        }
    }

    /// Forgets an abandoned run that came back.
    pub(crate) fn returned(&mut self, run: RunId) {
        if self.record.abandoned.contains(&run) {
            self.record.abandoned.retain(|abandoned| *abandoned != run);
            let fact = Fact::Lifecycle(Lifecycle::AbandonedRunReturned);
            self.push(self.moment.wall, Some(run), None, fact);
        }
    }

    /// Forgets abandoned runs of a worker that is gone: they went with it.
    pub(crate) fn forget_abandoned(&mut self) {
        if self.record.writer != self.moment.worker && !self.record.abandoned.is_empty() {
            self.changed = true;
            self.record.abandoned.clear();
        }
    }

    /// Begins the wait of a restart.
    pub(crate) fn schedule_restart(&mut self, attempt: u32, delay: std::time::Duration) {
        let due = self.moment.supervised.after(delay);
        if let Phase::Active { worker, restarting, .. } = &mut self.record.phase {
            *worker = self.moment.worker;
            *restarting = Some(crate::model::state::Restarting { attempt, due });
        }
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.log(Lifecycle::RestartScheduled { attempt, delay_ms });
    }

    /// Takes over a restart that another worker scheduled.
    pub(crate) fn adopt(&mut self) {
        if let Phase::Active { worker, .. } | Phase::Stopping { worker, .. } =
            &mut self.record.phase
        {
            self.changed |= *worker != self.moment.worker;
            *worker = self.moment.worker;
        }
    }

    /// Pauses the session; of one that is paused, changes the cause.
    pub(crate) fn pause(
        &mut self,
        pause: PauseCause,
        cause: Cause,
        reason: Option<String>,
        policy: &Policy,
    ) -> Result<(), InvalidTransition> {
        let since = self.moment.supervised;
        let limit = match pause {
            PauseCause::Quarantined | PauseCause::Asleep(_) | PauseCause::AlarmRang => None,
            PauseCause::Asked
            | PauseCause::Idle
            | PauseCause::Shutdown
            | PauseCause::Interrupted
            | PauseCause::Parent => policy.paused_timeout().duration(),
        };
        let until = limit.map(|limit| since.after(limit));
        let before = self.record.phase.clone();
        if let Phase::Paused { cause: present, since: begun, until: ends } = &mut self.record.phase
        {
            let from = *present;
            // What was quarantined stays so, until it is resumed; and a person's word is not taken back by a parent's.
            let stays = from == PauseCause::Quarantined
                || (from == PauseCause::Asked && pause == PauseCause::Parent);
            if from != pause && !stays {
                *present = pause;
                match from {
                    // A sleep is not waiting, which begins now.
                    PauseCause::Asleep(_) | PauseCause::AlarmRang => {
                        (*begun, *ends) = (since, until)
                    }
                    PauseCause::Asked
                    | PauseCause::Idle
                    | PauseCause::Shutdown
                    | PauseCause::Interrupted
                    | PauseCause::Parent
                    | PauseCause::Quarantined => {
                        if pause == PauseCause::Quarantined {
                            *ends = None;
                        }
                    }
                }
                self.log(Lifecycle::PauseCauseChanged { from, to: pause });
                if !family::is_held(&before) {
                    self.owe_for_move(&before, cause);
                }
            }
            return Ok(());
        }
        let phase = Phase::Paused { cause: pause, since, until };
        self.step(Trigger::Pause, phase, cause, reason)
    }

    /// Pauses the session until its alarm rings.
    pub(crate) fn sleep(&mut self, sleep: Sleep) -> Result<(), InvalidTransition> {
        let cause = PauseCause::Asleep(sleep);
        let phase = Phase::Paused { cause, since: self.moment.supervised, until: None };
        self.step(Trigger::Pause, phase, Cause::FellAsleep, None)?;
        self.log(Lifecycle::FellAsleep(sleep));
        Ok(())
    }

    /// The alarm of a session that sleeps has rung, and it cannot run at once: it waits for its place
    /// from now on, whatever becomes of the wall clock.
    pub(crate) fn ring(&mut self) {
        if let Phase::Paused { cause, since, .. } = &mut self.record.phase
            && let from @ PauseCause::Asleep(_) = *cause
        {
            *cause = PauseCause::AlarmRang;
            *since = self.moment.supervised;
            self.log(Lifecycle::PauseCauseChanged { from, to: PauseCause::AlarmRang });
        }
    }

    /// Accepts a stop. With a run alive the session is `stopping` until it is gone; else it is
    /// stopped in the same commit.
    pub(crate) fn stop(
        &mut self,
        run_alive: RunAlive,
        cause: Cause,
    ) -> Result<(), InvalidTransition> {
        match (self.record.phase.run(), run_alive) {
            (Some(run), RunAlive::Yes) => self.stopping(run, self.moment.worker, cause),
            (Some(run), RunAlive::No) => {
                self.stopping(run, self.moment.worker, cause)?;
                self.settle_stop()
            }
            (None, _) => self.step(Trigger::Stop, Phase::Stopped, cause, None),
        }
    }

    /// Accepts a stop of a paused session that holds something outside its memory: it is stopped
    /// when that is let go.
    pub(crate) fn stop_held(&mut self, cause: Cause) -> Result<(), InvalidTransition> {
        let Some(run) = self.record.runs.last.as_ref().map(|last| last.run) else {
            return self.stop(RunAlive::No, cause);
        };
        let phase = Phase::Stopping { run, worker: self.moment.worker };
        self.step(Trigger::StopHeld, phase, cause, None)
    }

    pub(super) fn stopping(
        &mut self,
        run: RunId,
        worker: WorkerGeneration,
        cause: Cause,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Stop, Phase::Stopping { run, worker }, cause, None)
    }

    /// Nothing of the stopped run is alive any more.
    pub(crate) fn settle_stop(&mut self) -> Result<(), InvalidTransition> {
        self.step(Trigger::Settle, Phase::Stopped, Cause::RunGone, None)
    }

    /// Ends the session well; one that has ended so already has what is asked.
    pub(crate) fn complete(
        &mut self,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        if self.state() == State::Completed {
            return Ok(());
        }
        self.step(Trigger::Complete, Phase::Completed, cause, reason)
    }

    /// Ends the session badly; one that has ended so already has what is asked.
    pub(crate) fn fail(&mut self, cause: Cause, reason: String) -> Result<(), InvalidTransition> {
        if self.state() == State::Failed {
            return Ok(());
        }
        self.step(Trigger::Fail, Phase::Failed, cause, Some(reason))
    }

    /// Ends the session because its time ran out.
    pub(crate) fn expire(
        &mut self,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Expire, Phase::Expired, cause, reason)
    }
}
