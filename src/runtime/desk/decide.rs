//! What each request means for a session without an actor.

use std::sync::Arc;

use super::{Decided, Loaded};
use crate::{
    faults::{self, Bug},
    model::{
        deletion::Removal,
        event::{Cause, RunEnd},
        ids::{RunId, SessionId},
        record::SessionRecord,
        state::{InvalidTransition, PauseCause, Phase, State},
    },
    policy::Policy,
    runtime::{
        core::{Core, Life},
        draft::{Draft, RunAlive},
        error::SessionError,
        op::{Asker, Interruption, NewRollover, NewSession, Op, Place, TakenIds, Woken},
    },
    telemetry::{self, Stamp},
};

/// The decisions about one batch of requests.
pub(super) struct Desk<'a> {
    pub(super) core: &'a Core,
    pub(super) session: SessionId,
    pub(super) policy: Arc<Policy>,
    pub(super) has_place: bool,
    pub(super) place: Option<Place>,
    pub(super) taken: TakenIds,
    pub(super) draft: Option<Draft>,
    pub(super) decided: Vec<Decided>,
    /// What the run needs, once a request began one.
    pub(super) loaded: Option<Loaded>,
    /// Resumes that must wait for a place.
    pub(super) waiting: Vec<Op>,
    /// The verb that won over every resume before it, if one did.
    pub(super) won: Option<&'static str>,
}

/// What a request that would begin a run found.
pub(super) enum Begin {
    Begun,
    NoPlace,
    Refused(SessionError),
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        core: &'a Core,
        session: SessionId,
        record: Option<&SessionRecord>,
        has_place: bool,
        taken: TakenIds,
        place: Option<Place>,
    ) -> Self {
        let policy =
            record.map_or_else(|| Arc::clone(&core.policy), |record| core.policy_of(record));
        let mut draft = record.map(|record| Draft::of(record, core.moment()));
        if let Some(draft) = &mut draft {
            draft.forget_abandoned();
        }
        Self {
            core,
            session,
            policy,
            has_place,
            place,
            taken,
            draft,
            decided: Vec::new(),
            loaded: None,
            waiting: Vec::new(),
            won: None,
        }
    }

    /// Decides one after the other. Once a run has begun, the rest is left to its actor; a start
    /// that is repeated waits until the first is durable; and what comes behind a delete finds nothing.
    pub(super) async fn decide_all(&mut self, ops: Vec<Op>) -> Vec<Op> {
        let mut ops = ops.into_iter().peekable();
        while self.loaded.is_none()
            && !self.is_deleted()
            && let Some(op) = ops.next_if(|op| !(self.is_new() && matches!(op, Op::Start(_))))
        {
            self.decide(op).await;
        }
        ops.collect()
    }

    /// Whether the session is not in the store yet.
    fn is_new(&self) -> bool {
        self.draft.as_ref().is_some_and(|draft| draft.record().version == 0)
    }

    /// Whether the session has just been deleted.
    fn is_deleted(&self) -> bool {
        let is_deleted = self.draft.as_ref().is_some_and(|draft| draft.record().is_deleted());
        is_deleted && !faults::planted(Bug::GoOnBehindDelete)
    }

    async fn decide(&mut self, op: Op) {
        let decided = match op {
            Op::Start(new) => return self.start(new),
            Op::Send { input, reply } => {
                let answer = match &mut self.draft {
                    Some(draft) => draft.accept(&input, &self.taken, &self.policy),
                    None => Err(self.not_found().into()),
                };
                if answer.is_ok() {
                    // Without a place, or if it cannot run now, the input waits.
                    if let Some(cause) = self.reason_to_wake() {
                        self.begin(cause, None).await;
                    }
                }
                Decided::Send { input, reply: reply.begin(), answer }
            }
            Op::Pause { by, reply } => {
                let answer = self.pause(by);
                self.supersede_resumes("pause", answer.is_ok());
                Decided::Pause { by, reply: reply.begin(), answer }
            }
            Op::Resume { by, place, reply } => {
                self.place = self.place.take().or(place);
                let answer = match self.resume(by).await {
                    Begin::Begun => Ok(()),
                    Begin::Refused(error) => Err(error),
                    Begin::NoPlace => {
                        return self.waiting.push(Op::Resume { by, place: None, reply });
                    }
                };
                Decided::Resume { by, reply: reply.begin(), answer }
            }
            Op::Stop { by, grace, only, reply, asked } => {
                let answer = match self.is_run(only) {
                    Ok(()) => {
                        self.let_go_of_inherited().await;
                        self.stop(by, asked)
                    }
                    Err(error) => Err(error),
                };
                self.supersede_resumes("stop", answer.is_ok());
                Decided::Stop { by, grace, only, reply: reply.begin(), answer, asked }
            }
            Op::Complete { reason, reply } => {
                let answer = self.with_draft(|draft| draft.complete(Cause::Asked, reason.clone()));
                self.supersede_resumes("complete", answer.is_ok());
                Decided::Complete { reason, reply: reply.begin(), answer }
            }
            Op::Fail { reason, reply } => {
                let answer = self.with_draft(|draft| draft.fail(Cause::Asked, reason.clone()));
                self.supersede_resumes("fail", answer.is_ok());
                Decided::Fail { reason, reply: reply.begin(), answer }
            }
            Op::Rollover(asked) => {
                let answer = self.roll_over(&asked.successor).await;
                self.supersede_resumes("rollover", answer.is_ok());
                let asked = NewRollover { reply: asked.reply.begin(), ..*asked };
                Decided::Rollover { asked: Box::new(asked), answer }
            }
            Op::Bear { run, reply } => {
                let answer = match &mut self.draft {
                    Some(draft) => draft.bear(run),
                    None => Err(self.not_found().into()),
                };
                Decided::Bear { run, reply: reply.begin(), answer }
            }
            Op::Discharge { owed, done } => {
                if let Some(draft) = &mut self.draft {
                    draft.discharge(&owed);
                }
                Decided::Discharge { owed, done }
            }
            Op::Trimmed { to, done } => {
                if let Some(draft) = &mut self.draft {
                    draft.note_trimmed(to);
                }
                Decided::Trimmed { to, done }
            }
            Op::Annotate { change, reply } => {
                let answer = self.with_draft(|draft| {
                    draft.annotate(change.clone());
                    Ok(())
                });
                Decided::Annotate { change, reply: reply.begin(), answer }
            }
            Op::Interrupt { then, reply } => {
                let answer = match self.draft {
                    Some(_) => Ok(Interruption::Nothing),
                    None => Err(self.not_found()),
                };
                Decided::Interrupt { then, reply: reply.begin(), answer }
            }
            Op::Delete { by, reply } => {
                let answer = self.delete(by);
                self.supersede_resumes("delete", answer.is_ok());
                Decided::Delete { by, reply: reply.begin(), answer }
            }
            Op::Wake { place, done } => {
                self.place = self.place.take().or(place);
                let begun = match self.reason_to_wake() {
                    Some(cause) => self.begin_in_time(cause).await,
                    None => Begin::NoPlace,
                };
                let woken = match begun {
                    Begin::Begun => Woken::Done,
                    Begin::NoPlace => {
                        self.ring();
                        Woken::Done
                    }
                    Begin::Refused(error) => {
                        self.ring();
                        telemetry::session_trouble(self.session, "it cannot be run now", &error);
                        not_woken(&error)
                    }
                };
                Decided::Wake { done, woken }
            }
            Op::Recover { place, done } => {
                self.place = self.place.take().or(place);
                let recovered = self.recover().await;
                Decided::Recover { done, recovered }
            }
            Op::TimeOut { done } => {
                self.time_out();
                Decided::TimeOut { done }
            }
            Op::Shutdown => {
                self.shut_down();
                Decided::Quiet(Op::Shutdown)
            }
            Op::Restart => {
                self.restart().await;
                Decided::Quiet(Op::Restart)
            }
            Op::Lost { run } => {
                self.lost(run);
                Decided::Quiet(Op::Lost { run })
            }
            Op::Returned { run, done } => {
                if let Some(draft) = &mut self.draft {
                    draft.returned(run);
                }
                Decided::Returned { run, done }
            }
            // Meant for an actor that has ended meanwhile.
            Op::Cancel | Op::Abandon => return,
            // Only a tombstone is purged, and that is done before anything is decided.
            Op::Purge { done } => return drop(done),
        };
        self.decided.push(decided);
    }

    /// Later word on a session wins over resumes that wait for a place, unless it is refused.
    fn supersede_resumes(&mut self, by: &'static str, is_done: bool) {
        if !is_done {
            return;
        }
        self.won = Some(by);
        let session = self.session;
        for op in self.waiting.drain(..) {
            if let Op::Resume { by: asker, reply, .. } = op {
                let answer = Err(SessionError::Superseded { session, by });
                self.decided.push(Decided::Resume { by: asker, reply: reply.begin(), answer });
            }
        }
    }

    pub(super) fn not_found(&self) -> SessionError {
        SessionError::NotFound { session: self.session }
    }

    pub(super) fn with_draft(
        &mut self,
        change: impl FnOnce(&mut Draft) -> Result<(), InvalidTransition>,
    ) -> Result<(), SessionError> {
        self.note_lost_worker();
        match &mut self.draft {
            Some(draft) => {
                change(draft).map_err(|refused| SessionError::refused(draft.record(), refused))
            }
            None => Err(self.not_found()),
        }
    }

    /// Of a run that its worker left behind.
    pub(super) fn note_lost_worker(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.end_lost_run(|worker| self.core.is_lost(worker));
        }
    }

    fn start(&mut self, mut new: Box<NewSession>) {
        if let Some(draft) = &self.draft {
            return new.already(draft.record());
        }
        self.policy = self.core.policy_of(&new.record);
        let moment = self.core.moment();
        let mut draft = Draft::new(new.record.clone(), Arc::clone(&new.snapshot), moment);
        if let Some(fork) = &new.fork {
            draft.fork(fork.forked.clone(), &fork.inputs, &fork.urgent);
        }
        draft.heed_parent();
        draft.wait_for_place(&self.policy);
        if let Some(input) = &new.input
            && let Err(error) = draft.accept_first(input, &self.taken, &self.policy)
        {
            return new.reply.send(Err(error.into()));
        }
        match new.fork.as_ref().and_then(|fork| Some((fork.sleep?, &fork.inputs))) {
            Some((theirs, inputs)) => draft.sleep_too(theirs, inputs),
            None => self.begin_new(&mut draft, &mut new),
        }
        self.draft = Some(draft);
        let new = NewSession { reply: new.reply.begin(), ..*new };
        self.decided.push(Decided::Start(Box::new(new)));
    }

    /// Begins the first run of a new session, if there is a place; else it waits for one.
    fn begin_new(&mut self, draft: &mut Draft, new: &mut NewSession) {
        self.place = self.place.take().or_else(|| new.place.take()).or_else(|| self.try_place());
        if self.place.is_some()
            && let Some(workload) = self.core.registry.get(&new.record.kind)
            && let Ok(loaded) = Loaded::new(Arc::clone(workload), &new.snapshot)
            && draft.activate(self.core.clock.run_id(), Cause::Asked, None).is_ok()
        {
            self.loaded = Some(loaded);
        }
    }

    pub(super) fn try_place(&self) -> Option<Place> {
        if self.core.life() != Life::Running {
            return None;
        }
        Arc::clone(&self.core.places).try_acquire_owned().ok()
    }

    fn pause(&mut self, by: Asker) -> Result<(), SessionError> {
        let policy = Arc::clone(&self.policy);
        let moves = self.draft.as_ref().is_some_and(|draft| draft.state() != State::Paused);
        let paused =
            self.with_draft(|draft| draft.pause(by.pause_cause(), by.cause(), None, &policy));
        if moves && paused.is_ok() {
            self.core.meters.asked_to_pause(self.session, Stamp::now());
        }
        paused
    }

    fn is_run(&self, only: Option<RunId>) -> Result<(), SessionError> {
        self.draft.as_ref().map_or_else(|| Err(self.not_found()), |draft| draft.is_run(only))
    }

    fn stop(&mut self, by: Asker, asked: Stamp) -> Result<(), SessionError> {
        let holds = self.core.kept.has(self.session);
        let first = self.draft.as_ref().is_some_and(|draft| match draft.state() {
            State::Stopping | State::Stopped => false,
            State::Pending
            | State::Active
            | State::Paused
            | State::Completed
            | State::Failed
            | State::Expired => true,
        });
        let stopped = self.with_draft(|draft| match draft.state() {
            State::Paused if holds => draft.stop_held(by.cause()),
            // It waits between two runs, of which the next has not taken it yet.
            State::Active if holds => draft.stop(RunAlive::Yes, by.cause()),
            State::Stopped => Ok(()),
            State::Stopping if holds => Ok(()),
            State::Stopping => draft.settle_stop(),
            State::Pending
            | State::Active
            | State::Paused
            | State::Completed
            | State::Failed
            | State::Expired => draft.stop(RunAlive::No, by.cause()),
        });
        if first && stopped.is_ok() {
            self.core.meters.asked_to_stop(self.session, asked);
        }
        stopped
    }

    /// A session at rest becomes its tombstone.
    fn delete(&mut self, by: Removal) -> Result<(), SessionError> {
        let holds = self.core.kept.has(self.session);
        let Some(draft) = &mut self.draft else { return Err(self.not_found()) };
        let (session, state) = (self.session, draft.state());
        let is_at_rest = match state {
            State::Pending | State::Active | State::Stopping => {
                faults::planted(Bug::DeleteTheLiving)
            }
            // What it holds would be closed behind the back of whoever is to resume it.
            State::Paused => !holds,
            State::Stopped | State::Completed | State::Failed | State::Expired => true,
        };
        // It is removed for its age as it was found: somebody may have resumed it meanwhile.
        let as_found = match by {
            Removal::Asked => true,
            Removal::Age => self.core.retention.is_over(draft.record(), draft.moment().supervised),
            Removal::Space => self.core.retention.may_go(draft.record()),
        };
        if !(is_at_rest && as_found) {
            return Err(SessionError::NotAtRest { session, state });
        }
        draft.delete(by);
        Ok(())
    }

    fn shut_down(&mut self) {
        let policy = Arc::clone(&self.policy);
        let generation = self.core.generation;
        if let Some(draft) = &mut self.draft
            && let Phase::Active { run, worker, restarting } = draft.record().phase
            && worker == generation
        {
            if restarting.is_none() {
                // It was to begin, and never did.
                draft.end_run(run, RunEnd::Cancelled);
            }
            self.core.meters.asked_to_pause(self.session, Stamp::now());
            let paused = draft.pause(PauseCause::Shutdown, Cause::Shutdown, None, &policy);
            debug_assert!(paused.is_ok(), "an active session can be paused");
        }
    }
}

/// Whether a session that cannot be run now may be tried again by this worker.
fn not_woken(error: &SessionError) -> Woken {
    match error {
        SessionError::NoWorkload { .. }
        | SessionError::NewerState { .. }
        | SessionError::Unreadable { .. } => Woken::NotHere,
        SessionError::NotFound { .. }
        | SessionError::Refused(_)
        | SessionError::RolledOver { .. }
        | SessionError::Superseded { .. }
        | SessionError::NotCurrentRun { .. }
        | SessionError::RunStillAlive { .. }
        | SessionError::NotAtRest { .. }
        | SessionError::WrongKind { .. }
        | SessionError::Undecodable { .. }
        | SessionError::MetadataTooDeep { .. }
        | SessionError::ShuttingDown { .. }
        | SessionError::OutcomeUnknown { .. }
        | SessionError::Store { .. } => Woken::NotNow,
    }
}
