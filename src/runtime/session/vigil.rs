//! Looking at the run: when, and what follows.

use std::time::Duration;

use super::{Intent, Session, Task, settle::Rest};
use crate::{
    faults::{self, Bug},
    model::{event::Cause, state::State, time::WorkerTime},
    policy::{Limit, OnIdle, OnSilence, liveness, recovery::PROVEN_AFTER},
    runtime::{
        alarms::{lateness, verdict},
        ladder::{Ladder, Rung},
    },
    telemetry,
    workload::YieldReason,
};

/// How long notes may wait for a commit.
pub(super) const NOTES_WAIT: Duration = Duration::from_millis(100);
/// How far commits of many notes are apart, so that who emits without an end does not stop a paused clock.
pub(super) const NOTES_APART: Duration = Duration::from_millis(1);

impl Session {
    /// Whether signs of life are asked of the run depends on what else was asked of it.
    pub(super) fn watch(&self) {
        self.live.keep_watch(self.ladder == Ladder::Free);
    }

    /// The alarm calls a silent run so before anybody hears of it.
    pub(super) fn heed_alarm(&mut self) {
        if self.live.is_silent() && !matches!(self.intent, Intent::Silence(_)) {
            self.on_silence();
        }
    }

    /// Looks at the run, when the alarm rings.
    pub(super) fn look(&mut self, now: WorkerTime) {
        self.heed_alarm();
        if self.proven_due().is_some_and(|due| now >= due) {
            self.queue.push_back(Task::Prove);
        }
        match self.ladder.look(now) {
            Rung::Wait => {}
            Rung::Cancel => self.cancel(),
            Rung::Abandon => self.abandon(),
        }
        if self.ladder == Ladder::Free && self.record.state() == State::Active {
            match verdict(now, &self.live, &self.policy) {
                liveness::Verdict::Alive { .. } => {}
                liveness::Verdict::Silent => self.on_silence(),
                // What is on its way may be an input.
                liveness::Verdict::Idle if self.is_committing() => {}
                liveness::Verdict::Idle => self.on_idle(now),
            }
        }
    }

    /// The run gave no sign for too long: it may commit no more, and is cancelled.
    pub(super) fn on_silence(&mut self) {
        self.fenced = true;
        // Its alarm has said so, unless it was found here.
        if !self.live.is_silent() {
            telemetry::called_silent(self.record.id);
            self.note_expiry(Cause::Silence, self.core.clock.worker());
        }
        let limit = self.policy.heartbeat_timeout();
        let reason = format!("no sign of life for {limit}");
        self.intent = Intent::Silence(self.policy.on_silence());
        if self.policy.on_silence() == OnSilence::Expire {
            self.queue.push_back(Task::Expire { cause: Cause::Silence, reason });
        }
        self.cancel();
    }

    fn note_expiry(&self, cause: Cause, now: WorkerTime) {
        let late = lateness(now, self.live.run().doing(), &self.policy);
        self.core.meters.expired(cause, late);
    }

    pub(super) fn on_idle(&mut self, now: WorkerTime) {
        match self.policy.on_idle() {
            OnIdle::Pause => {
                let grace = self.policy.pause_grace();
                self.pause_for(Rest::Idle, YieldReason::Pause, grace);
            }
            OnIdle::Expire => {
                self.fenced = true;
                self.note_expiry(Cause::IdleTimeout, now);
                let reason = format!("nothing to do for {}", self.policy.idle_timeout());
                self.queue.push_back(Task::Expire { cause: Cause::IdleTimeout, reason });
                self.cancel();
            }
        }
    }

    /// When the run must be looked at next. A declared wait may end at any moment, and the window
    /// that begins then is no shorter than the limit: looking once in every limit is never late.
    pub(super) fn next_look(&self) -> Option<WorkerTime> {
        let now = self.core.clock.worker();
        let liveness = if self.ladder == Ladder::Free && self.record.state() == State::Active {
            let until = match verdict(now, &self.live, &self.policy) {
                liveness::Verdict::Alive { until } => until,
                // It is looked at again when the commit is through.
                liveness::Verdict::Idle if self.is_committing() => None,
                liveness::Verdict::Silent | liveness::Verdict::Idle => Some(now),
            };
            match self.policy.heartbeat_timeout() {
                Limit::Never => until,
                Limit::After(limit) if faults::planted(Bug::RearmForWholeLimit) => {
                    Some(now.after(limit))
                }
                Limit::After(limit) => {
                    let once = now.after(limit);
                    Some(until.map_or(once, |until| until.min(once)))
                }
            }
        } else {
            None
        };
        [self.ladder.due(), self.notes_due(), self.proven_due(), liveness]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_committing(&self) -> bool {
        self.flight.is_some() || !self.queue.is_empty()
    }

    pub(super) fn notes_due(&self) -> Option<WorkerTime> {
        match self.flight {
            Some(_) => None,
            None => self.notes_until,
        }
    }

    /// Notes wait in the run, and are to be committed soon.
    pub(super) fn commit_notes_soon(&mut self) {
        self.commit_notes_by(self.core.clock.worker().after(NOTES_WAIT));
    }

    /// Many notes wait in the run, and are to be committed at once.
    pub(super) fn commit_notes_now(&mut self) {
        self.commit_notes_by(self.took_off.after(NOTES_APART));
    }

    fn commit_notes_by(&mut self, until: WorkerTime) {
        self.notes_until = Some(self.notes_until.map_or(until, |before| before.min(until)));
    }

    pub(super) fn proven_due(&self) -> Option<WorkerTime> {
        let part = if faults::planted(Bug::ProveTooSoon) { 6 } else { 1 };
        (self.record.recoveries > 0 && self.flight.is_none() && !self.over)
            .then(|| self.started.after(PROVEN_AFTER / part))
    }
}
