//! What the README says, as a program: the sessions of one store, their worker, and a clock.
//!
//! Nothing here is concurrent, durable or fast. A verb changes the model at once and is answered,
//! or its call waits in the model until something answers it. Time is supervised time in
//! milliseconds; [`Reference::pass`] walks from one due moment to the next.

mod children;
mod deletion;
mod ending;
mod family;
mod fork;
mod groups;
mod inbox;
mod places;
mod queries;
mod retention;
mod rollover;
mod run;
mod runs;
mod session;
mod sleep;
mod statistics;
mod time;
mod verbs;
mod work;
mod worker;

use std::collections::{BTreeMap, VecDeque};

use sessionkeeper::{Cause, PauseCause, State};

pub(super) use self::{
    children::{Birth, Errand, note_of_end},
    family::word_for,
    fork::Branch,
    groups::Together,
    rollover::{Fresh, Next},
    run::{Doing, Intent},
    runs::RunState,
    session::{End, Kept, Line, Links, Made, Session},
    sleep::wall,
    statistics::{Numbers, Span},
    verbs::Answer,
    work::{Done, Manner, Work},
    worker::Recovered,
};
use self::{
    family::Family, groups::Group, inbox::Inbox, places::Seeker, session::Failures,
    statistics::Happened, worker::Recovery,
};
use super::{care::Care, steps::Step};

pub(super) type Ms = u64;
/// A verb that was called: the number of its step.
pub(super) type Call = usize;
/// A session, by the order of the starts.
pub(super) type Who = usize;

/// What differs from one life to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// `max_active`.
    pub(super) places: Option<usize>,
    /// How long the clean-up of every run takes.
    pub(super) closing: Ms,
    /// How many events are kept of each session, if not all.
    pub(super) newest: Option<u64>,
}

/// Everything that there is.
#[derive(Clone)]
pub(super) struct Reference {
    pub(super) setup: Setup,
    pub(super) now: Ms,
    pub(super) sessions: Vec<Session>,
    /// When the worker began.
    began: Ms,
    /// For how long there was no worker, in all. The wall clock went on.
    away: Ms,
    /// What each call was answered.
    pub(super) answers: BTreeMap<Call, Vec<Answer>>,
    /// Why the life ends here: two things are due at the same moment, and either may come first.
    pub(super) vague: Option<&'static str>,
    calls: Call,
    /// Places that the caller keeps.
    slots: usize,
    /// Who waits for a place, the first at the front.
    line: VecDeque<Seeker>,
    /// Resumes that wait for one, the first at the front.
    resumes: VecDeque<(Who, Call)>,
    /// Whether somebody may have become ready since it was last looked.
    ready: bool,
    /// Whether the worker has begun to give places to those who wait.
    fills_places: bool,
    /// Whether it carries out what is owed to children and parents.
    serves_families: bool,
    /// Whether it ends waits that have a limit.
    ends_waits: bool,
    /// Whether the worker shuts down.
    draining: bool,
    recovery: Option<Recovery>,
    /// The runs that a recovery has begun, and that have not asked for anything yet.
    begun: Vec<Who>,
    family: Family,
    /// Whose runs have started children at this moment.
    births: Vec<(Ms, Who)>,
    /// Calls that many are to answer; those that are answered are none any more.
    groups: Vec<Option<Group>>,
    /// All that was written down of any session.
    happened: Vec<Happened>,
    /// Whether one has, or had, another label than when something happened to it.
    relabelled: bool,
    /// Calls that wait for a session to come somewhere.
    waits: Vec<(Call, Who, Until)>,
    /// Sessions that runs have made in this step by a rollover: nobody has heard of them.
    unheard: Vec<Who>,
}

/// What a call waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Until {
    /// The end of a run that is being stopped.
    Gone { run: Option<u32> },
    /// Nothing of a run, so that it can be deleted; perhaps after it was stopped for that.
    Deletable { stopped: bool },
    /// One of these states.
    In(Vec<State>),
    /// Rest, until somebody acts.
    Settled,
}

impl Reference {
    pub(super) fn new(setup: Setup) -> Self {
        let mut new = Self {
            setup,
            now: 0,
            began: 0,
            away: 0,
            sessions: Vec::new(),
            answers: BTreeMap::new(),
            vague: None,
            calls: 0,
            slots: 0,
            line: VecDeque::new(),
            resumes: VecDeque::new(),
            ready: true,
            fills_places: true,
            serves_families: true,
            ends_waits: true,
            draining: false,
            recovery: None,
            begun: Vec::new(),
            family: Family::default(),
            births: Vec::new(),
            groups: Vec::new(),
            happened: Vec::new(),
            relabelled: false,
            waits: Vec::new(),
            unheard: Vec::new(),
        };
        new.tick();
        new
    }

    /// The step that was taken last.
    pub(super) const fn last_call(&self) -> Call {
        self.calls - 1
    }

    /// Takes a step, and lets time pass until everything that follows at once has happened.
    pub(super) fn step(&mut self, step: &Step) {
        if self.vague.is_some() {
            return;
        }
        let call = self.calls;
        self.calls += 1;
        self.unheard.clear();
        if let Some(answer) = step.expect(self, call) {
            self.answer(call, answer);
        }
        self.tick();
        self.pass(step.lasts());
    }

    /// Where it cannot be told what comes first, the life ends.
    fn doubt(&mut self, cannot_be_told: bool, why: &'static str) {
        if cannot_be_told {
            self.vague.get_or_insert(why);
        }
    }

    pub(super) fn answer(&mut self, call: Call, answer: Answer) {
        if let Answer::Started { who, .. } = answer {
            // Sessions have their numbers in the order in which they are heard of.
            let is_later = self.unheard.iter().any(|unheard| *unheard < who);
            self.doubt(is_later, "a caller hears of a successor before one that was made earlier");
        }
        if self.hear_one(call, &answer) {
            return;
        }
        if family::is_by_parent(call) {
            return self.hear_child(call, &answer);
        }
        self.answers.entry(call).or_default().push(answer);
    }

    /// What follows at once: free places are given, and who waited for something has it.
    fn tick(&mut self) {
        loop {
            let mut any = self.go_on_recovering();
            any |= self.set_out();
            self.give_places();
            any |= self.set_out();
            self.answer_resumes();
            any |= self.follow_family();
            any |= self.go_on_recovering();
            self.answer_waits();
            self.note_what_happened();
            if !any {
                return;
            }
        }
    }

    /// Runs that were begun go to work. Their parents' word comes before.
    fn set_out(&mut self) -> bool {
        self.ask_children();
        let begun = std::mem::take(&mut self.begun);
        for who in &begun {
            self.next_input(*who);
        }
        !begun.is_empty()
    }

    /// Who waits for a session to be at rest sees that, also where it is deleted then.
    fn answer_waits(&mut self) {
        self.answer_reached();
        for (call, who) in self.take_deletable() {
            if let Some(answer) = self.delete(who, false, call) {
                self.answer(call, answer);
            }
        }
        self.answer_reached();
    }

    fn answer_reached(&mut self) {
        for (call, who, until) in std::mem::take(&mut self.waits) {
            match self.sessions[who].reached(&until) {
                Some(answer) => self.answer(call, answer),
                None => self.waits.push((call, who, until)),
            }
        }
    }

    fn wait(&mut self, call: Call, who: Who, until: Until) {
        self.waits.push((call, who, until));
    }

    /// A session moves along the table.
    fn go(&mut self, who: Who, to: State, why: Cause) {
        self.go_for(who, to, None, why);
    }

    fn go_for(&mut self, who: Who, to: State, cause: Option<PauseCause>, why: Cause) {
        let session = &mut self.sessions[who];
        let before = (session.state, session.cause);
        session.log.push(Line::Moved(session.state, to, why));
        session.state = to;
        session.cause = cause;
        session.until = None;
        self.owe_for_move(who, before, why);
    }

    /// A session is paused; one that is paused already is so for another reason.
    fn rest(&mut self, who: Who, cause: PauseCause, why: Cause) {
        let present = self.sessions[who].cause;
        if let Some(present) = present {
            let session = &mut self.sessions[who];
            // What was quarantined stays so, and a person's word is not taken back by a parent's.
            let stays = present == PauseCause::Quarantined
                || (present == PauseCause::Asked && cause == PauseCause::Parent);
            if present != cause && !stays {
                session.cause = Some(cause);
                session.log.push(Line::CauseChanged(present, cause));
                if matches!(present, PauseCause::Asleep(_) | PauseCause::AlarmRang) {
                    // A sleep is not waiting, which begins now.
                    session.since = self.now;
                    session.until = session.care.paused_timeout().map(|limit| self.now + limit);
                }
                if !family::is_held(Some(present)) {
                    self.owe_for_move(who, (State::Paused, Some(present)), why);
                }
            }
        } else {
            self.go_for(who, State::Paused, Some(cause), why);
            let session = &mut self.sessions[who];
            session.since = self.now;
            session.until = session.care.paused_timeout().map(|limit| self.now + limit);
        }
        let session = &mut self.sessions[who];
        if matches!(session.cause, Some(PauseCause::Quarantined | PauseCause::Asleep(_))) {
            session.until = None;
        }
        self.ready |= session.is_ready();
    }

    /// Writes down how the run ended that was lost with its worker.
    fn bury(&mut self, who: Who) {
        let session = &mut self.sessions[who];
        if session.lost && session.backoff.is_none() && std::mem::take(&mut session.open) {
            session.ended(End::Interrupted);
        }
    }
}

/// A life is told by its setup: everything else follows from the steps.
impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.setup.fmt(f)
    }
}
