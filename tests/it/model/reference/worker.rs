//! The end of a worker, and the beginning of the next one.

use std::collections::{BTreeSet, VecDeque};

use sessionkeeper::{Cause, PauseCause, RecoverWhat, State};

use super::{Call, End, Ms, Reference, Who, places::Seeker, run::Intent, verbs::Answer};

/// How long a shutdown with the budget of the tests leaves its sessions before it cancels them.
const SHUTDOWN_GRACE: Ms = 19_500;
/// The recovery waits no longer than this for a suspect to prove itself.
const PATIENCE: Ms = 60_000;
/// A session that took so many workers with it is quarantined.
const MOST_RECOVERIES: u32 = 3;

/// A recovery under way.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    call: Call,
    what: RecoverWhat,
    /// Those that nothing speaks against: they may have to wait for a place.
    ordinary: BTreeSet<Who>,
    /// Those that their last worker may have died of; they are recovered one after the other.
    suspects: VecDeque<Who>,
    /// The suspect that is recovered now; when it had its chance, once it runs.
    suspect: Option<(Who, Option<Ms>)>,
    report: Recovered,
}

impl Recovery {
    /// When the suspect has had its chance.
    pub(super) fn patience(&self) -> Option<Ms> {
        self.suspect.and_then(|(_, until)| until)
    }
}

/// What a recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::model) struct Recovered {
    pub(in crate::model) resumed: BTreeSet<Who>,
    pub(in crate::model) stopped: BTreeSet<Who>,
    pub(in crate::model) interrupted: BTreeSet<Who>,
    pub(in crate::model) quarantined: BTreeSet<Who>,
}

/// What a worker does with a session that the last one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Leave,
    FinishStop,
    Interrupt,
    Quarantine,
    Resume,
    ResumeSuspect,
}

impl Reference {
    /// The worker is lost: what its runs had not committed is, too.
    pub(in crate::model) fn crash(&mut self) {
        self.groups.iter_mut().for_each(|group| *group = None);
        for who in 0..self.sessions.len() {
            self.lose(who);
        }
        // Calls that keep the worker alive are never answered.
        self.line.clear();
        self.recovery = None;
        self.begun.clear();
        self.end_worker();
    }

    /// The worker brings everything to rest within its budget.
    pub(in crate::model) fn shut_down(&mut self) {
        self.draining = true;
        self.close_agenda();
        for who in 0..self.sessions.len() {
            let session = &self.sessions[who];
            match &session.alive {
                Some(run) if session.state == State::Active && run.intent == Intent::Run => {
                    self.pause_for(who, PauseCause::Shutdown, SHUTDOWN_GRACE);
                }
                Some(_) => self.ask(who, SHUTDOWN_GRACE),
                None if session.backoff.is_some() && !session.lost => {
                    self.shut_down_between_runs(who);
                }
                None => {}
            }
        }
        // Of what rests at once that is when it happened, however long the others take.
        self.note_what_happened();
        while self.sessions.iter().any(|session| session.alive.is_some()) && self.vague.is_none() {
            let next = self.now + 1_000;
            self.happen(next);
            if self.sessions.iter().any(|session| session.alive.is_some()) {
                self.now = next;
            }
        }
        self.tick();
        self.draining = false;
        self.end_worker();
    }

    /// A shutdown acts at once on a session that has no run.
    pub(super) fn shut_down_between_runs(&mut self, who: Who) {
        let session = &mut self.sessions[who];
        session.place = false;
        if session.backoff.take().is_none() {
            // It was to begin, and never did.
            session.open = false;
            session.ended(End::Cancelled);
        }
        self.rest(who, PauseCause::Shutdown, Cause::Shutdown);
    }

    /// Nothing new is begun.
    fn close_agenda(&mut self) {
        self.leave_duties();
        self.fills_places = false;
        self.ends_waits = false;
        self.serves_families = false;
        for seeker in std::mem::take(&mut self.line) {
            if let Seeker::Slot(call) = seeker {
                self.answer(call, Answer::ShuttingDown);
            }
        }
        if let Some(recovery) = self.recovery.take() {
            self.answer(recovery.call, Answer::ShuttingDown);
        }
    }

    fn end_worker(&mut self) {
        self.close_agenda();
        self.slots = 0;
        for (_, call) in std::mem::take(&mut self.resumes) {
            self.answer(call, Answer::ShuttingDown);
        }
        for (call, _, _) in std::mem::take(&mut self.waits) {
            self.answer(call, Answer::OutcomeUnknown);
        }
        for session in &mut self.sessions {
            session.lost |= matches!(session.state, State::Active | State::Stopping);
            session.place = false;
        }
    }

    /// The next worker takes up what this one left, the newest session first.
    pub(in crate::model) fn begin_worker(&mut self, call: Call, what: RecoverWhat, away: Ms) {
        self.began = self.now;
        self.away += away;
        self.ready = true;
        self.ends_waits = true;
        self.serves_families = true;
        let mut recovery = Recovery {
            call,
            what,
            ordinary: BTreeSet::new(),
            suspects: VecDeque::new(),
            suspect: None,
            report: Recovered::default(),
        };
        let newest_first = (0..self.sessions.len()).rev();
        let plans: Vec<_> = newest_first.map(|who| (who, self.plan(who, what))).collect();
        for (who, plan) in &plans {
            match plan {
                Plan::Leave => {}
                Plan::ResumeSuspect => recovery.suspects.push_back(*who),
                Plan::FinishStop | Plan::Interrupt | Plan::Quarantine | Plan::Resume => {
                    recovery.ordinary.insert(*who);
                }
            }
        }
        self.recovery = Some(recovery);
        for (who, plan) in plans {
            match plan {
                Plan::Resume => self.queue(Seeker::Recovery(who)),
                Plan::FinishStop | Plan::Interrupt | Plan::Quarantine => self.recover(who),
                Plan::Leave | Plan::ResumeSuspect => {}
            }
        }
        self.go_on_recovering();
    }

    /// The plan for a session, by how it stands.
    fn plan(&self, who: Who, what: RecoverWhat) -> Plan {
        let session = &self.sessions[who];
        let resume = match session.recoveries {
            0 => Plan::Resume,
            1..MOST_RECOVERIES => Plan::ResumeSuspect,
            _ => Plan::Quarantine,
        };
        match (session.state, session.cause, what) {
            _ if session.deleted.is_some() => Plan::Leave,
            (State::Stopping, ..) if session.lost => Plan::FinishStop,
            (State::Active, _, RecoverWhat::All) if session.lost => resume,
            (State::Active, ..) if session.lost => Plan::Interrupt,
            (_, Some(PauseCause::Shutdown), RecoverWhat::All | RecoverWhat::ShutdownOnly) => resume,
            (_, Some(PauseCause::Interrupted), RecoverWhat::All) => resume,
            _ => Plan::Leave,
        }
    }

    /// Recovers a session, as it stands now. Who is to run has a place.
    pub(super) fn recover(&mut self, who: Who) {
        let Some(recovery) = &mut self.recovery else { return };
        recovery.ordinary.remove(&who);
        let what = recovery.what;
        let mut resumed = false;
        let plan = self.plan(who, what);
        match plan {
            Plan::Leave => {}
            Plan::FinishStop => {
                self.bury(who);
                self.sessions[who].lost = false;
                self.go(who, State::Stopped, Cause::RunGone);
            }
            Plan::Interrupt => {
                self.bury(who);
                self.give_up(who);
                self.rest(who, PauseCause::Interrupted, Cause::Interrupted);
            }
            Plan::Quarantine => {
                self.bury(who);
                self.give_up(who);
                self.rest(who, PauseCause::Quarantined, Cause::SuspectedOfCrashes);
            }
            Plan::Resume | Plan::ResumeSuspect => {
                resumed = true;
                let (now, session) = (self.now, &mut self.sessions[who]);
                let was_running = session.state == State::Active && session.backoff.is_none();
                session.recoveries += u32::from(was_running);
                if session.backoff.is_some_and(|(_, due)| due > now) {
                    // It waits out the remainder.
                    session.lost = false;
                    session.place = true;
                } else {
                    self.begin(who, Cause::Recovered);
                }
            }
        }
        if let Some(recovery) = &mut self.recovery {
            let report = &mut recovery.report;
            let list = match plan {
                Plan::Leave => None,
                Plan::FinishStop => Some(&mut report.stopped),
                Plan::Interrupt => Some(&mut report.interrupted),
                Plan::Quarantine => Some(&mut report.quarantined),
                Plan::Resume | Plan::ResumeSuspect => Some(&mut report.resumed),
            };
            list.map(|list| list.insert(who));
            if recovery.suspect.is_some_and(|(suspect, _)| suspect == who) {
                recovery.suspect =
                    if resumed { Some((who, Some(self.now + PATIENCE))) } else { None };
            }
        }
        self.go_on_recovering();
    }

    /// What was active in a lost worker is so no more.
    pub(super) fn give_up(&mut self, who: Who) {
        let session = &mut self.sessions[who];
        session.lost = false;
        session.backoff = None;
        session.place = false;
    }

    /// The suspect has had its chance.
    pub(super) fn next_suspect(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.suspect = None;
        }
        self.go_on_recovering();
    }

    /// After the ordinary sessions come the suspects, one at a time, while places are filled. Says whether it went on.
    pub(super) fn go_on_recovering(&mut self) -> bool {
        let Some(recovery) = &mut self.recovery else { return false };
        if !recovery.ordinary.is_empty() {
            return false;
        }
        if let Some((who, Some(_))) = recovery.suspect {
            let session = &self.sessions[who];
            if session.recoveries > 0 && session.state == State::Active {
                return false;
            }
            recovery.suspect = None;
        }
        let goes_on = recovery.suspect.is_none();
        if goes_on {
            if let Some(who) = recovery.suspects.pop_front() {
                recovery.suspect = Some((who, None));
                self.queue(Seeker::Recovery(who));
            } else {
                let done = self.recovery.take().expect("it is under way");
                self.answer(done.call, Answer::Recovered(done.report));
            }
        }
        self.fills_places = true;
        goes_on
    }
}
