//! What becomes of a session when its run has ended. Pure: everything is passed in.

use std::time::Duration;

use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, RunEnd},
        ids::RunId,
        sleep::{Alarm, Sleep, WhileAsleep},
        state::{InvalidTransition, PauseCause, State},
    },
    policy::{
        OnSilence, Policy, WhileAbandoned,
        restart::{self, Retry, Verdict},
    },
    runtime::{
        draft::{Draft, Moves},
        op::NewSuccessor,
    },
    workload::erased::Stored,
};

/// What the session wants of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Intent {
    /// To go on.
    Run,
    /// To come to rest.
    Pause(Rest),
    /// To come to rest, so that a successor takes its place.
    RollOver,
    /// To be gone: it gave no sign of life.
    Silence(OnSilence),
}

/// Why a run is asked to come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Rest {
    /// A person said pause.
    Asked,
    /// Its parent was paused.
    Parent,
    /// It has nothing to do.
    Idle,
    /// The worker shuts down.
    Shutdown,
}

/// The end of a run, and everything that decides what follows.
pub(in crate::runtime) struct Ending {
    pub(in crate::runtime) run: RunId,
    pub(in crate::runtime) end: RunEnd,
    pub(in crate::runtime) retry: Retry,
    /// What became of the state that the run was to begin with.
    pub(in crate::runtime) stored: Stored,
    /// Whether it left what a stop has to wait for.
    pub(in crate::runtime) leaves: bool,
    pub(in crate::runtime) intent: Intent,
    /// Whether a pause was withdrawn that the run may have heard of.
    pub(in crate::runtime) recalled: bool,
    /// Whether the turn that the run was in is interrupted.
    pub(in crate::runtime) interrupted: bool,
    /// Whether the run consumed an input.
    pub(in crate::runtime) progressed: bool,
    /// Until when the workload wants to sleep, if it does.
    pub(in crate::runtime) alarm: Option<Alarm>,
    /// The last input that the workload knew of, or could have, when it went to sleep.
    pub(in crate::runtime) known_inputs: u64,
    /// The id of the run that follows, if one follows at once.
    pub(in crate::runtime) next_run: RunId,
    /// Between 0 and 1, for the backoff.
    pub(in crate::runtime) random: f64,
    /// What takes the place of the session, if it is rolled over.
    pub(in crate::runtime) successor: Option<Box<Successor>>,
}

/// What takes the place of a session.
pub(in crate::runtime) struct Successor {
    pub(in crate::runtime) asked: NewSuccessor,
    /// What of the session's work goes on there.
    pub(in crate::runtime) moves: Moves,
}

impl Ending {
    /// Records the end and moves the session on. The state that the run left is saved already.
    pub(in crate::runtime) fn settle(self, draft: &mut Draft, policy: &Policy) {
        let state = draft.state();
        let began = draft.record().runs.since;
        let ran_for = began.map_or(Duration::ZERO, |since| draft.moment().supervised.since(since));
        draft.end_run(self.run, self.end.clone());
        let moved = match state {
            State::Stopping
                if faults::planted(Bug::CompleteAfterStop) && self.end == RunEnd::Completed =>
            {
                draft.settle_stop().and_then(|()| draft.complete(Cause::Workload, None))
            }
            // What it left is closed by the session's next keeper, who settles the stop then.
            State::Stopping if self.leaves && !faults::planted(Bug::SettleBeforeHeldIsClosed) => {
                Ok(())
            }
            State::Stopping => {
                let settled = draft.settle_stop();
                match self.successor.as_deref() {
                    Some(next) if faults::planted(Bug::RollOverDespiteStop) => {
                        draft.roll_over(&next.asked, &next.moves, policy)
                    }
                    Some(_) | None => settled,
                }
            }
            State::Active => self.settle_active(draft, policy, ran_for),
            // It was ended from outside, or is no matter of this run.
            State::Pending
            | State::Paused
            | State::Stopped
            | State::Completed
            | State::Failed
            | State::Expired => Ok(()),
        };
        debug_assert!(moved.is_ok(), "the table allows every move out of active: {moved:?}");
    }

    fn settle_active(
        self,
        draft: &mut Draft,
        policy: &Policy,
        ran_for: Duration,
    ) -> Result<(), InvalidTransition> {
        if let Some(successor) = &self.successor
            && self.may_run_again(policy)
        {
            if !matches!(self.end, RunEnd::Completed | RunEnd::Yielded) {
                draft.failures().last = Some(self.end.clone());
            }
            return draft.roll_over(&successor.asked, &successor.moves, policy);
        }
        if let Some(sleep) = self.sleep(draft) {
            return draft.sleep(sleep);
        }
        match &self.end {
            RunEnd::Completed => draft.complete(Cause::Workload, None),
            RunEnd::Yielded => match self.intent {
                Intent::Pause(rest) => pause(draft, rest, policy),
                Intent::Silence(action) => self.after_silence(action, draft, policy, ran_for),
                // Rolled over above; there is nothing else that could be wanted of it.
                Intent::RollOver => self.run_again(draft),
                Intent::Run if self.recalled || self.interrupted => self.run_again(draft),
                Intent::Run if draft.record().inbox.waiting() > 0 && !self.progressed => {
                    // Waking it at once would go round for ever.
                    let error = "it yielded though nobody had asked, and an input waits";
                    let end = RunEnd::Failed { error: error.to_owned() };
                    failure(draft, policy, &self, end, ran_for)
                }
                Intent::Run => draft.pause(PauseCause::Idle, Cause::Returned, None, policy),
            },
            RunEnd::Failed { .. } | RunEnd::Panicked { .. } if self.stored != Stored::Decoded => {
                let reason = self.end.to_string();
                if self.stored == Stored::Undecodable && draft.fall_back(reason.clone()) {
                    match self.intent {
                        Intent::Pause(rest) => pause(draft, rest, policy),
                        Intent::Run | Intent::RollOver | Intent::Silence(_) => {
                            self.run_again(draft)
                        }
                    }
                } else {
                    let cause = Cause::RestartsExhausted;
                    draft.pause(PauseCause::Quarantined, cause, Some(reason), policy)
                }
            }
            RunEnd::Failed { .. } | RunEnd::Panicked { .. } => match self.intent {
                Intent::Run | Intent::RollOver => {
                    let end = self.end.clone();
                    failure(draft, policy, &self, end, ran_for)
                }
                Intent::Pause(rest) => {
                    draft.failures().last = Some(self.end.clone());
                    pause(draft, rest, policy)
                }
                Intent::Silence(action) => self.after_silence(action, draft, policy, ran_for),
            },
            RunEnd::Cancelled | RunEnd::Abandoned | RunEnd::Interrupted => match self.intent {
                Intent::Pause(rest) => pause(draft, rest, policy),
                Intent::Silence(action) => self.after_silence(action, draft, policy, ran_for),
                Intent::Run if self.may_run_again(policy) => {
                    if self.recalled {
                        return self.run_again(draft);
                    }
                    let end = self.end.clone();
                    failure(draft, policy, &self, end, ran_for)
                }
                Intent::Run | Intent::RollOver => {
                    let reason = "resumed too late: its run could not be cancelled and is alive";
                    draft.pause(
                        PauseCause::Quarantined,
                        Cause::Asked,
                        Some(reason.to_owned()),
                        policy,
                    )
                }
            },
        }
    }

    /// The sleep that follows, if one does. A person's word wins over the workload's: after a pause
    /// there is no alarm, and a resume wakes a session that is just falling asleep. What the
    /// supervisor asked for by itself does not: the session would be woken early.
    fn sleep(&self, draft: &Draft) -> Option<Sleep> {
        let alarm = self.alarm.filter(|_| self.end == RunEnd::Yielded)?;
        match self.intent {
            Intent::Run if self.recalled => return None,
            Intent::Run | Intent::Pause(Rest::Idle | Rest::Shutdown) => {}
            Intent::Pause(Rest::Asked | Rest::Parent) | Intent::RollOver | Intent::Silence(_) => {
                return None;
            }
        }
        let woken_after = match alarm.inputs {
            WhileAsleep::Wait => None,
            WhileAsleep::Wake => Some(self.known_inputs),
        };
        Some(Sleep { until: alarm.rings(draft.moment().wall), woken_after })
    }

    /// Whether another run may begin: not beside an abandoned one, unless policy says so.
    fn may_run_again(&self, policy: &Policy) -> bool {
        self.end != RunEnd::Abandoned || policy.while_abandoned() == WhileAbandoned::AllowResume
    }

    /// Goes on in a new run at once.
    fn run_again(self, draft: &mut Draft) -> Result<(), InvalidTransition> {
        let why = if self.interrupted && !self.recalled {
            "it gave up the turn that was interrupted"
        } else {
            "resumed before it had come to rest"
        };
        let (cause, reason) = if self.stored == Stored::Undecodable {
            (Cause::Restarted, self.end.to_string())
        } else {
            (Cause::Asked, why.to_owned())
        };
        draft.activate(self.next_run, cause, Some(reason))
    }

    fn after_silence(
        self,
        action: OnSilence,
        draft: &mut Draft,
        policy: &Policy,
        ran_for: Duration,
    ) -> Result<(), InvalidTransition> {
        let reason = format!("no sign of life for {}", policy.heartbeat_timeout());
        match action {
            OnSilence::Expire => draft.expire(Cause::Silence, Some(reason)),
            OnSilence::Pause => {
                draft.pause(PauseCause::Quarantined, Cause::Silence, Some(reason), policy)
            }
            OnSilence::Restart => {
                let may_run = self.end != RunEnd::Abandoned
                    || policy.while_abandoned() == WhileAbandoned::AllowResume;
                if may_run {
                    let end = RunEnd::Failed { error: reason };
                    failure(draft, policy, &self, end, ran_for)
                } else {
                    let reason = format!("{reason}, and the run could not be cancelled");
                    draft.pause(PauseCause::Quarantined, Cause::Silence, Some(reason), policy)
                }
            }
        }
    }
}

fn pause(draft: &mut Draft, rest: Rest, policy: &Policy) -> Result<(), InvalidTransition> {
    let (pause, cause) = match rest {
        Rest::Asked => (PauseCause::Asked, Cause::Asked),
        Rest::Parent => (PauseCause::Parent, Cause::Parent),
        Rest::Idle => (PauseCause::Idle, Cause::IdleTimeout),
        Rest::Shutdown => (PauseCause::Shutdown, Cause::Shutdown),
    };
    draft.pause(pause, cause, None, policy)
}

/// Counts a failure and does what the restart policy says.
fn failure(
    draft: &mut Draft,
    policy: &Policy,
    ending: &Ending,
    end: RunEnd,
    ran_for: Duration,
) -> Result<(), InvalidTransition> {
    let now = draft.moment().supervised;
    let reason = end.to_string();
    let verdict = restart::on_failure(
        policy.restart(),
        draft.failures(),
        end,
        ending.retry,
        now,
        ran_for,
        ending.random,
    );
    match verdict {
        Verdict::Restart { delay, .. } if delay.is_zero() => {
            draft.activate(ending.next_run, Cause::Restarted, Some(reason))
        }
        Verdict::Restart { attempt, delay } => {
            draft.schedule_restart(attempt, delay);
            Ok(())
        }
        Verdict::Quarantine { why } => {
            let reason = Some(format!("{why}; the last: {reason}"));
            draft.pause(PauseCause::Quarantined, Cause::RestartsExhausted, reason, policy)
        }
        Verdict::Fail => {
            let cause = match ending.retry {
                Retry::Never => Cause::Workload,
                Retry::ByPolicy | Retry::After(_) => Cause::RestartsExhausted,
            };
            draft.fail(cause, reason)
        }
    }
}
