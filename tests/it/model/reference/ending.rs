//! The end of a run, and what follows.

use sessionkeeper::{Cause, OnExhausted, OnSilence, PauseCause, State};

use super::{
    Care, End, Line, Reference, Who,
    family::paused_by,
    run::{Alive, Callers, Doing, Intent, Retry},
    verbs::Answer,
};

impl Reference {
    /// The run returned or was cancelled; first of all it cleans up.
    pub(super) fn end(&mut self, who: Who, end: End, retry: Retry) {
        let closing = self.setup.closing;
        if closing == 0 {
            return self.gone(who, end, retry);
        }
        let until = self.now + closing;
        self.run(who).doing = Doing::Closing { until, end, retry };
    }

    /// Nothing of the run is alive any more: what follows?
    pub(super) fn gone(&mut self, who: Who, mut end: End, retry: Retry) {
        let next = self.is_succeeded(who).unwrap_or_else(|()| {
            end = End::Failed;
            None
        });
        let session = &self.sessions[who];
        let may_save = session.may_write();
        let run = self.run(who);
        if may_save && !run.fenced {
            match end {
                End::Completed => self.consume(who),
                End::Yielded if run.in_hand.is_none() => self.checkpoint(who),
                _ => {}
            }
        }
        let session = &mut self.sessions[who];
        let mut run = session.alive.take().expect("it has ended");
        self.family.bequeath(who, &mut run.callers.pausers);
        let session = &mut self.sessions[who];
        session.open = false;
        session.ended(end);
        match session.state {
            State::Stopping => self.go(who, State::Stopped, Cause::RunGone),
            State::Active => match next {
                Some(next) => {
                    if let Answer::Started { who: made, .. } = self.roll_over(who, &next) {
                        self.unheard.push(made);
                    }
                }
                None => self.follow(who, &mut run, end, retry),
            },
            _ => {}
        }
        // That follows from the commit of the end, before the place is another's.
        self.do_duties_at_end(who);
        run.callers.pausers.append(&mut self.family.take_words(who));
        self.leave(who, run.callers);
    }

    /// What follows the end of a run that was not stopped.
    fn follow(&mut self, who: Who, run: &mut Alive, end: End, retry: Retry) {
        match (end, run.intent) {
            (End::Completed, _) => self.go(who, State::Completed, Cause::Workload),
            (_, Intent::RollOver) => {
                if !self.succeed_run(who, run) {
                    // Nobody takes its place: it goes on.
                    run.intent = Intent::Run;
                    run.recalled = true;
                    self.follow(who, run, end, retry);
                }
            }
            (End::Yielded, _) if self.fall_asleep(who, run) => {}
            (_, Intent::Pause(cause)) => {
                let why = match cause {
                    PauseCause::Idle => Cause::IdleTimeout,
                    PauseCause::Shutdown => Cause::Shutdown,
                    PauseCause::Parent => Cause::Parent,
                    _ => Cause::Asked,
                };
                self.rest(who, cause, why);
            }
            (_, Intent::Silence) => match self.sessions[who].care.on_silence() {
                OnSilence::Pause => self.rest(who, PauseCause::Quarantined, Cause::Silence),
                OnSilence::Restart | OnSilence::Expire => self.failure(who, run, Retry::ByPolicy),
            },
            (End::Yielded, Intent::Run) if run.interrupted.is_some() => {
                self.again(who, Cause::Asked)
            }
            (End::Yielded | End::Cancelled, Intent::Run) if run.recalled => {
                self.again(who, Cause::Asked);
            }
            (End::Yielded, Intent::Run) => {
                if self.sessions[who].waiting() > 0 && !run.progressed {
                    // It would be woken at once, for ever.
                    self.failure(who, run, Retry::ByPolicy);
                } else {
                    self.rest(who, PauseCause::Idle, Cause::Returned);
                }
            }
            (_, Intent::Run) => self.failure(who, run, retry),
        }
    }

    /// A failure is counted, and the policy says what follows.
    fn failure(&mut self, who: Who, run: &Alive, retry: Retry) {
        let now = self.now;
        let session = &mut self.sessions[who];
        let (care, failures) = (session.care, &mut session.failures);
        failures.recent.retain(|at| now - at < Care::WINDOW);
        failures.recent.push(now);
        failures.without_checkpoint += 1;
        if now - run.since >= Care::HEALTHY {
            failures.in_a_row = 0;
        }
        failures.in_a_row += 1;
        let attempt = failures.in_a_row;
        let exhausted = failures.recent.len() > care.restarts() as usize
            || failures.without_checkpoint > Care::WITHOUT_CHECKPOINT;
        let after = match retry {
            Retry::Never => return self.go(who, State::Failed, Cause::Workload),
            _ if exhausted => {
                return match care.on_exhausted() {
                    OnExhausted::Fail => self.go(who, State::Failed, Cause::RestartsExhausted),
                    OnExhausted::Quarantine => {
                        self.rest(who, PauseCause::Quarantined, Cause::RestartsExhausted);
                    }
                };
            }
            Retry::After(wait) => wait,
            Retry::ByPolicy => care.backoff(attempt),
        };
        if after == 0 {
            return self.again(who, Cause::Restarted);
        }
        session.backoff = Some((attempt, now + after));
        session.log.push(Line::Restart { attempt, after });
    }

    /// Another run follows at once.
    fn again(&mut self, who: Who, why: Cause) {
        self.go(who, State::Active, why);
        let session = &mut self.sessions[who];
        session.runs += 1;
        session.restarts += u32::from(why == Cause::Restarted);
        session.open = true;
    }

    /// The run has left its session, and those who waited for its end are told.
    fn leave(&mut self, who: Who, callers: Callers) {
        let session = &mut self.sessions[who];
        let is_active = session.state == State::Active;
        if self.draining && is_active {
            self.doubt(!callers.is_empty(), "a call behind the end of a run in a shutdown");
            return self.shut_down_between_runs(who);
        }
        match session.backoff {
            None if is_active => return self.launch(who, callers),
            Some(_) if callers.is_empty() => return,
            // Between two runs a pause acts at once.
            Some(_) if !callers.pausers.is_empty() => {
                session.backoff = None;
                for call in &callers.pausers {
                    let (cause, why) = paused_by(*call);
                    self.rest(who, cause, why);
                }
            }
            Some(_) => {}
            None => {
                self.sessions[who].place = false;
                // Who waits may have the place before all that was asked for has been looked at.
                let contended = self.setup.places.is_some() && self.is_anybody_waiting();
                let in_doubt = callers.rollers.len() > 1 && contended;
                self.doubt(in_doubt, "several rollovers behind one pause");
            }
        }
        for call in callers.pausers {
            let answer = match self.sessions[who].state {
                State::Paused => Answer::Done,
                _ => self.refused(who, State::Paused),
            };
            self.answer(call, answer);
        }
        // So does a rollover, which hands its place on.
        for (call, next) in callers.rollers {
            let answer = self.roll_over(who, &next);
            self.answer(call, answer);
        }
        self.sessions[who].place = false;
    }

    /// The worker is lost, and the run with it.
    pub(super) fn lose(&mut self, who: Who) {
        if let Some(run) = self.sessions[who].alive.take() {
            let rollers = run.callers.rollers.into_iter().map(|(call, _)| call);
            for call in run.callers.pausers.into_iter().chain(rollers) {
                self.answer(call, Answer::OutcomeUnknown);
            }
        }
        let session = &mut self.sessions[who];
        session.lost = matches!(session.state, State::Active | State::Stopping);
        session.place = false;
    }
}
