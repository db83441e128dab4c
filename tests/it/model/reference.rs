//! What the README says, as a program: the sessions of one store, their worker, and a clock.
//!
//! Nothing here is concurrent, durable or fast. A verb changes the model at once and is answered,
//! or its call waits in the model until something answers it. Time is supervised time in
//! milliseconds; [`Reference::pass`] walks from one due moment to the next.

mod ending;
mod places;
mod run;
mod time;
mod verbs;
mod worker;

use std::collections::{BTreeMap, VecDeque};

use sessionkeeper::{Cause, PauseCause, State};

use self::{places::Seeker, run::Alive, worker::Recovery};
pub(super) use self::{
    run::{Doing, Done, Intent, Manner, Work},
    verbs::Answer,
    worker::Recovered,
};
use super::{
    care::Care,
    steps::{Begin, Input, Step},
};

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
}

/// Everything that there is.
#[derive(Clone)]
pub(super) struct Reference {
    pub(super) setup: Setup,
    pub(super) now: Ms,
    pub(super) sessions: Vec<Session>,
    /// What each call was answered.
    pub(super) answers: BTreeMap<Call, Vec<Answer>>,
    /// Two things are due at the same moment, and either may come first: the life ends here.
    pub(super) vague: bool,
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
    /// Whether it ends waits that have a limit.
    ends_waits: bool,
    /// Whether the worker shuts down.
    draining: bool,
    recovery: Option<Recovery>,
    /// Calls that wait for a session to come somewhere.
    waits: Vec<(Call, Who, Until)>,
}

/// What a call waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Until {
    /// The end of a run that is being stopped.
    Gone { run: u32 },
    /// One of these states.
    In(Vec<State>),
    /// Rest, until somebody acts.
    Settled,
}

/// A session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) begin: Begin,
    pub(super) care: Care,
    pub(super) state: State,
    /// Why it is paused, if it is.
    pub(super) cause: Option<PauseCause>,
    /// Since when it waits, pending or paused, and when that ends in expiry.
    since: Ms,
    until: Option<Ms>,
    /// Its run, as long as it is alive in this worker.
    pub(super) alive: Option<Alive>,
    /// When the next run begins, between two runs: which attempt it is, and when.
    pub(super) backoff: Option<(u32, Ms)>,
    /// It was active in a worker that is gone, and this one has not taken it up.
    pub(super) lost: bool,
    /// Whether the end of its last run is not recorded yet.
    open: bool,
    /// Whether it has one of the places.
    place: bool,
    pub(super) inputs: Vec<Input>,
    pub(super) consumed: u64,
    /// The input that a run was given and that is not consumed, and how often.
    pub(super) in_hand: Option<(u64, u32)>,
    /// The state of its last checkpoint.
    pub(super) done: Done,
    pub(super) team: Option<u8>,
    pub(super) note: Option<u8>,
    pub(super) external: Option<u8>,
    pub(super) runs: u32,
    pub(super) restarts: u32,
    failures: Failures,
    /// How many workers were lost while it ran, since it last proved itself.
    pub(super) recoveries: u32,
    pub(super) last: Option<(u32, End)>,
    pub(super) log: Vec<Line>,
}

/// What counts against a session.
#[derive(Debug, Clone, Default)]
struct Failures {
    recent: Vec<Ms>,
    in_a_row: u32,
    without_checkpoint: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Yielded,
    Completed,
    Failed,
    Panicked,
    Cancelled,
    Interrupted,
}

/// What the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Created,
    Moved(State, State, Cause),
    CauseChanged(PauseCause, PauseCause),
    Ended(End),
    Restart { attempt: u32, after: Ms },
    External(u8),
    Event,
    Usage,
}

impl Reference {
    pub(super) fn new(setup: Setup) -> Self {
        let mut new = Self {
            setup,
            now: 0,
            sessions: Vec::new(),
            answers: BTreeMap::new(),
            vague: false,
            calls: 0,
            slots: 0,
            line: VecDeque::new(),
            resumes: VecDeque::new(),
            ready: true,
            fills_places: true,
            ends_waits: true,
            draining: false,
            recovery: None,
            waits: Vec::new(),
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
        if self.vague {
            return;
        }
        let call = self.calls;
        self.calls += 1;
        if let Some(answer) = step.expect(self, call) {
            self.answer(call, answer);
        }
        self.tick();
        self.pass(step.lasts());
    }

    pub(super) fn answer(&mut self, call: Call, answer: Answer) {
        self.answers.entry(call).or_default().push(answer);
    }

    /// What follows at once: free places are given, and who waited for something has it.
    fn tick(&mut self) {
        self.go_on_recovering();
        self.give_places();
        self.answer_resumes();
        self.answer_waits();
    }

    fn answer_waits(&mut self) {
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
        let session = &mut self.sessions[who];
        session.log.push(Line::Moved(session.state, to, why));
        session.state = to;
        session.cause = None;
        session.until = None;
    }

    /// A session is paused; one that is paused already is so for another reason.
    fn rest(&mut self, who: Who, cause: PauseCause, why: Cause) {
        let present = self.sessions[who].cause;
        if let Some(present) = present {
            let session = &mut self.sessions[who];
            if present != cause && present != PauseCause::Quarantined {
                session.cause = Some(cause);
                session.log.push(Line::CauseChanged(present, cause));
            }
        } else {
            self.go(who, State::Paused, why);
            let session = &mut self.sessions[who];
            session.cause = Some(cause);
            session.since = self.now;
            session.until = session.care.paused_timeout().map(|limit| self.now + limit);
        }
        let session = &mut self.sessions[who];
        if session.cause == Some(PauseCause::Quarantined) {
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

impl Session {
    pub(super) fn waiting(&self) -> u64 {
        self.inputs.len() as u64 - self.consumed
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed | State::Expired)
    }

    /// Whether it would run if it had a place.
    fn is_ready(&self) -> bool {
        match self.state {
            State::Pending => true,
            State::Paused => self.cause == Some(PauseCause::Idle) && self.waiting() > 0,
            _ => false,
        }
    }

    fn ended(&mut self, end: End) {
        self.last = Some((self.runs, end));
        self.log.push(Line::Ended(end));
    }

    fn reached(&self, until: &Until) -> Option<Answer> {
        let reached = match until {
            Until::Gone { run } => {
                self.state != State::Stopping && !(self.state == State::Active && self.runs == *run)
            }
            Until::In(states) => states.contains(&self.state),
            Until::Settled => {
                self.is_terminal()
                    || self.state == State::Stopped
                    || self.cause == Some(PauseCause::Quarantined)
            }
        };
        reached.then(|| match until {
            Until::Gone { run } => {
                let end = self.last.filter(|(last, _)| last == run).map(|(_, end)| end);
                Answer::Gone(end)
            }
            Until::In(_) | Until::Settled => Answer::Reached(self.state),
        })
    }
}

/// A life is told by its setup: everything else follows from the steps.
impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.setup.fmt(f)
    }
}
