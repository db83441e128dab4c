//! What each request means for a session without an actor.

use std::sync::Arc;

use super::{Decided, Loaded, RETRY};
use crate::{
    model::{
        event::{Cause, RunEnd},
        ids::{RunId, SessionId},
        record::SessionRecord,
        state::{InvalidTransition, PauseCause, Phase, Restarting, State, Trigger},
    },
    policy::{
        Policy, WhileAbandoned,
        recovery::{self, Plan},
        restart::Retry,
    },
    runtime::{
        core::Core,
        draft::{Draft, RunAlive},
        error::SessionError,
        op::{NewSession, Op, Place, Recovered, TakenIds, Woken},
        session::{Ending, Intent},
    },
    store::StoreError,
    telemetry,
};

/// The decisions about one batch of requests.
pub(super) struct Desk<'a> {
    core: &'a Core,
    session: SessionId,
    policy: Arc<Policy>,
    has_place: bool,
    pub(super) place: Option<Place>,
    pub(super) taken: TakenIds,
    pub(super) draft: Option<Draft>,
    pub(super) decided: Vec<Decided>,
    /// What the run needs, once a request began one.
    pub(super) loaded: Option<Loaded>,
    /// Resumes that must wait for a place.
    pub(super) waiting: Vec<Op>,
}

/// What a request that would begin a run found.
enum Begin {
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
        }
    }

    /// Decides one after the other. Once a run has begun, the rest is left to its actor.
    pub(super) async fn decide_all(&mut self, ops: Vec<Op>) -> Vec<Op> {
        let mut ops = ops.into_iter();
        while self.loaded.is_none()
            && let Some(op) = ops.next()
        {
            self.decide(op).await;
        }
        ops.collect()
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
                    self.wake().await;
                }
                Decided::Send { input, reply: reply.begin(), answer }
            }
            Op::Pause { reply } => {
                let answer = self.pause();
                Decided::Pause { reply: reply.begin(), answer }
            }
            Op::Resume { place, reply } => {
                self.place = self.place.take().or(place);
                let answer = match self.resume().await {
                    Begin::Begun => Ok(()),
                    Begin::Refused(error) => Err(error),
                    Begin::NoPlace => {
                        return self.waiting.push(Op::Resume { place: None, reply });
                    }
                };
                Decided::Resume { reply: reply.begin(), answer }
            }
            Op::Stop { grace, reply } => {
                let answer = self.stop();
                Decided::Stop { grace, reply: reply.begin(), answer }
            }
            Op::Complete { reason, reply } => {
                let answer = self.with_draft(|draft| {
                    if draft.state() == State::Completed {
                        return Ok(());
                    }
                    draft.complete(Cause::Asked, reason.clone())
                });
                Decided::Complete { reason, reply: reply.begin(), answer }
            }
            Op::Fail { reason, reply } => {
                let answer = self.with_draft(|draft| {
                    if draft.state() == State::Failed {
                        return Ok(());
                    }
                    draft.fail(Cause::Asked, reason.clone())
                });
                Decided::Fail { reason, reply: reply.begin(), answer }
            }
            Op::Annotate { change, reply } => {
                let answer = self.with_draft(|draft| {
                    draft.annotate(change.clone());
                    Ok(())
                });
                Decided::Annotate { change, reply: reply.begin(), answer }
            }
            Op::Wake { place, done } => {
                self.place = self.place.take().or(place);
                let woken = match self.wake().await {
                    Begin::Begun | Begin::NoPlace => Woken::Done,
                    Begin::Refused(error) => {
                        telemetry::session_trouble(self.session, "it cannot be run now", &error);
                        Woken::CannotRun
                    }
                };
                Decided::Wake { done, woken }
            }
            Op::Recover { plan, place, done } => {
                self.place = self.place.take().or(place);
                let recovered = self.recover().await;
                Decided::Recover { plan, done, recovered }
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
            Op::Returned { run } => {
                if let Some(draft) = &mut self.draft {
                    draft.returned(run);
                }
                Decided::Quiet(Op::Returned { run })
            }
            // Meant for an actor that has ended meanwhile.
            Op::Cancel | Op::Abandon => return,
        };
        self.decided.push(decided);
    }

    fn not_found(&self) -> SessionError {
        SessionError::NotFound { session: self.session }
    }

    fn with_draft(
        &mut self,
        change: impl FnOnce(&mut Draft) -> Result<(), InvalidTransition>,
    ) -> Result<(), SessionError> {
        self.note_lost_worker();
        match &mut self.draft {
            Some(draft) => change(draft).map_err(SessionError::from),
            None => Err(self.not_found()),
        }
    }

    /// A run whose worker is gone has ended, whatever follows.
    fn note_lost_worker(&mut self) {
        if let Some(draft) = &mut self.draft
            && let Phase::Active { run, worker, restarting: None } | Phase::Stopping { run, worker } =
                draft.record().phase
            && self.core.is_lost(worker)
            && draft.record().runs.since.is_some()
        {
            draft.end_run(run, RunEnd::Interrupted);
        }
    }

    fn start(&mut self, mut new: Box<NewSession>) {
        if let Some(draft) = &self.draft {
            return new.already(draft.record());
        }
        self.policy = self.core.policy_of(&new.record);
        let snapshot = new.snapshot.clone();
        let moment = self.core.moment();
        let mut draft = Draft::new(new.record.clone(), Arc::clone(&snapshot), moment);
        draft.wait_for_place(&self.policy);
        if let Some(input) = &new.input
            && let Err(error) = draft.accept(input, &self.taken, &self.policy)
        {
            return new.reply.send(Err(error.into()));
        }
        self.place = self.place.take().or_else(|| new.place.take()).or_else(|| self.try_place());
        if self.place.is_some()
            && let Some(workload) = self.core.registry.get(&new.record.kind)
            && let Ok(loaded) = Loaded::new(Arc::clone(workload), &snapshot)
            && draft.activate(self.core.clock.run_id(), Cause::Asked, None).is_ok()
        {
            self.loaded = Some(loaded);
        }
        self.draft = Some(draft);
        let new = NewSession { reply: new.reply.begin(), ..*new };
        self.decided.push(Decided::Start(Box::new(new)));
    }

    fn try_place(&self) -> Option<Place> {
        Arc::clone(&self.core.places).try_acquire_owned().ok()
    }

    fn pause(&mut self) -> Result<(), SessionError> {
        let policy = Arc::clone(&self.policy);
        self.with_draft(|draft| draft.pause(PauseCause::Asked, Cause::Asked, None, &policy))
    }

    fn stop(&mut self) -> Result<(), SessionError> {
        self.with_draft(|draft| match draft.state() {
            State::Stopped => Ok(()),
            State::Stopping => draft.settle_stop(),
            State::Pending
            | State::Active
            | State::Paused
            | State::Completed
            | State::Failed
            | State::Expired => draft.stop(RunAlive::No),
        })
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
            let paused = draft.pause(PauseCause::Shutdown, Cause::Shutdown, None, &policy);
            debug_assert!(paused.is_ok(), "an active session can be paused");
        }
    }

    async fn resume(&mut self) -> Begin {
        let Some(record) = self.draft.as_ref().map(Draft::record) else {
            return Begin::Refused(self.not_found());
        };
        let quarantined = record.phase.pause_cause() == Some(PauseCause::Quarantined);
        let lost = record.phase.worker().is_some_and(|worker| self.core.is_lost(worker));
        match record.state() {
            State::Active if lost => {}
            // It runs, or will in its turn.
            State::Active | State::Pending => return Begin::Begun,
            State::Paused | State::Stopped => {}
            from @ (State::Stopping | State::Completed | State::Failed | State::Expired) => {
                let to = Trigger::Activate.target();
                let session = self.session;
                return Begin::Refused(InvalidTransition { session, from, to }.into());
            }
        }
        self.note_lost_worker();
        let begun = self.begin(Cause::Asked, None).await;
        if let (Begin::Begun, true, Some(draft)) = (&begun, quarantined, &mut self.draft) {
            draft.clear_failures();
        }
        begun
    }

    /// Begins to run if there is reason to: a place for a pending session, an input for an idle
    /// one.
    async fn wake(&mut self) -> Begin {
        let Some(record) = self.draft.as_ref().map(Draft::record) else {
            return Begin::NoPlace;
        };
        if record.ready_since().is_none() {
            return Begin::NoPlace;
        }
        let cause = match record.state() {
            State::Pending => Cause::SlotFree,
            State::Active
            | State::Paused
            | State::Stopping
            | State::Stopped
            | State::Completed
            | State::Failed
            | State::Expired => Cause::InputArrived,
        };
        self.begin(cause, None).await
    }

    /// Begins a run, if there is a place, nothing stands against it, and what it needs can be
    /// read.
    async fn begin(&mut self, cause: Cause, reason: Option<String>) -> Begin {
        let Some(draft) = &self.draft else {
            return Begin::NoPlace;
        };
        if let Some(run) = draft.record().abandoned.first().copied()
            && self.policy.while_abandoned() == WhileAbandoned::RefuseResume
        {
            let session = self.session;
            return Begin::Refused(SessionError::RunStillAlive { session, run });
        }
        let loaded = match Loaded::load(self.core, draft.record()).await {
            Ok(loaded) => loaded,
            Err(error) => return Begin::Refused(error),
        };
        if !self.has_place && self.place.is_none() {
            self.place = self.try_place();
            if self.place.is_none() {
                return Begin::NoPlace;
            }
        }
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

    async fn restart(&mut self) {
        let Some(draft) = &self.draft else {
            return;
        };
        let Phase::Active { worker, restarting, .. } = draft.record().phase else {
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
                    self.loaded = Some(loaded);
                    return;
                }
                Err(error) => Begin::Refused(error),
            },
        };
        match outcome {
            Begin::Begun | Begin::NoPlace => {}
            Begin::Refused(SessionError::Store { .. }) => {
                // The store failed: that is not the session's fault, so it waits on.
                if let Some(draft) = &mut self.draft {
                    draft.schedule_restart(0, RETRY);
                }
            }
            Begin::Refused(error) => self.quarantine(Cause::RestartsExhausted, error.to_string()),
        }
    }

    fn quarantine(&mut self, cause: Cause, reason: String) {
        let policy = Arc::clone(&self.policy);
        if let Some(draft) = &mut self.draft {
            let paused = draft.pause(PauseCause::Quarantined, cause, Some(reason), &policy);
            debug_assert!(paused.is_ok(), "an active session can be paused");
        }
    }

    fn time_out(&mut self) {
        let now = self.core.clock.supervised();
        if let Some(draft) = &mut self.draft
            && draft.record().waits_until().is_some_and(|until| until <= now)
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
        }
    }

    async fn recover(&mut self) -> Recovered {
        let Some(draft) = &self.draft else {
            return Recovered::Left;
        };
        let record = draft.record();
        let registered = self.core.registry.get(&record.kind).is_some();
        let lost = |worker| self.core.is_lost(worker);
        let plan = recovery::plan(record, self.core.recover, registered, lost);
        let (phase, suspect) = (record.phase.clone(), record.recoveries);
        self.note_lost_worker();
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
                let reason = format!("its worker was lost {suspect} times before a checkpoint");
                self.quarantine(Cause::SuspectedOfCrashes, reason);
                Recovered::Quarantined
            }
            Plan::Resume | Plan::ResumeSuspect => {
                if let Phase::Active { restarting: Some(Restarting { due, .. }), .. } = phase
                    && due > self.core.clock.supervised()
                {
                    draft.adopt();
                    return Recovered::Resumed;
                }
                match self.begin(Cause::Recovered, None).await {
                    Begin::Begun => {
                        if let Some(draft) = &mut self.draft
                            && phase.state() == State::Active
                        {
                            draft.count_recovery();
                        }
                        Recovered::Resumed
                    }
                    Begin::NoPlace => Recovered::Left,
                    Begin::Refused(error) => {
                        // Nothing is changed for a session that cannot be resumed.
                        self.draft = None;
                        Recovered::Failed(error)
                    }
                }
            }
        }
    }

    /// Its actor ended without a word: the run counts as failed.
    fn lost(&mut self, run: RunId) {
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
            undecodable: false,
            intent: Intent::Run,
            recalled: false,
            progressed: false,
            next_run: self.core.clock.run_id(),
            random: self.core.random(),
        };
        ending.settle(draft, &policy);
    }
}

/// Tells a caller that the record cannot be loaded; gives back what is not a caller's, unless
/// the trouble lasts.
pub(super) fn store_failed(
    op: Op,
    session: SessionId,
    error: &Arc<StoreError>,
    lasting: bool,
) -> Option<Op> {
    match op {
        Op::Start(new) => {
            new.reply.store_failed(error);
            None
        }
        Op::Send { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Pause { reply } => {
            reply.store_failed(error);
            None
        }
        Op::Stop { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Resume { reply, .. }
        | Op::Complete { reply, .. }
        | Op::Fail { reply, .. }
        | Op::Annotate { reply, .. } => {
            reply.store_failed(error);
            None
        }
        Op::Wake { done, .. } => {
            let _ = done.send(Woken::CannotRun);
            None
        }
        Op::Recover { done, .. } => {
            let source = Arc::clone(error);
            let error = SessionError::Store { session, under_way: false, source };
            let _ = done.send(Recovered::Failed(error));
            None
        }
        Op::TimeOut { done } => {
            drop(done);
            None
        }
        op @ (Op::Shutdown
        | Op::Cancel
        | Op::Abandon
        | Op::Restart
        | Op::Lost { .. }
        | Op::Returned { .. }) => (!lasting).then_some(op),
    }
}

/// While the store fails, tells callers so at once; gives back what can wait.
pub(super) fn refuse_callers(ops: Vec<Op>, session: SessionId, error: &Arc<StoreError>) -> Vec<Op> {
    ops.into_iter().filter_map(|op| store_failed(op, session, error, false)).collect()
}
