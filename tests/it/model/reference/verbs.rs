//! What each verb does, and what it answers.

use sessionkeeper::{Cause, PauseCause, State};

use super::{
    Call, Care, End, Failures, Line, Ms, Reference, Session, Until, Who,
    places::Seeker,
    run::{Done, Intent},
    worker::Recovered,
};
use crate::model::steps::{Begin, Input, Named};

/// What a verb was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) enum Answer {
    Done,
    /// There is nobody to ask.
    Nobody,
    Refused(State, State),
    Superseded(&'static str),
    ShuttingDown,
    OutcomeUnknown,
    Received {
        input: u64,
        repeated: bool,
    },
    NotAccepting(State),
    Full,
    InputIdReused(u64),
    Started {
        who: Who,
        repeated: bool,
    },
    KeyReused(Who),
    NameTaken(Who),
    /// A stop was accepted; whether a run was alive.
    Stopping {
        alive: bool,
    },
    /// The run of a stop is gone, and how it ended.
    Gone(Option<End>),
    NotRunning,
    Reached(State),
    Found(Option<Who>),
    Listed(Vec<Who>),
    Recovered(Recovered),
}

/// The verbs. `None` is a call that waits for its answer.
impl Reference {
    /// A repeated key is the same start or a mistake; then the name must be free.
    pub(in crate::model) fn start(&mut self, begin: &Begin, in_slot: bool) -> Option<Answer> {
        let has_slot = in_slot && self.slots > 0;
        if has_slot {
            self.slots -= 1;
        }
        let sessions = || self.sessions.iter().enumerate();
        let same_key = |session: &Session| begin.key.is_some() && session.begin.key == begin.key;
        if let Some((who, known)) = sessions().find(|(_, session)| same_key(session)) {
            let repeated = known.begin == *begin;
            return Some(if repeated {
                Answer::Started { who, repeated }
            } else {
                Answer::KeyReused(who)
            });
        }
        let holds = |session: &Session| {
            !session.is_terminal() && begin.name.is_some() && session.begin.name == begin.name
        };
        if let Some((holder, _)) = sessions().find(|(_, session)| holds(session)) {
            return Some(Answer::NameTaken(holder));
        }
        let who = self.sessions.len();
        let (now, has_place) = (self.now, self.is_place_free());
        let care = begin.care.unwrap_or(Care::Usual);
        self.sessions.push(Session {
            begin: begin.clone(),
            care,
            state: State::Pending,
            cause: None,
            since: now,
            until: care.pending_timeout().map(|limit| now + limit),
            alive: None,
            backoff: None,
            lost: false,
            open: false,
            place: false,
            inputs: begin.work.map(|work| Input { id: None, work }).into_iter().collect(),
            consumed: 0,
            in_hand: None,
            done: Done::default(),
            team: begin.team,
            note: None,
            external: begin.external,
            runs: 0,
            restarts: 0,
            failures: Failures::default(),
            recoveries: 0,
            last: None,
            log: vec![Line::Created],
        });
        if has_place {
            self.begin(who, Cause::Asked);
        } else {
            self.ready = true;
        }
        Some(Answer::Started { who, repeated: false })
    }

    /// An input is accepted while the session can still run; it wakes one that is idle.
    pub(in crate::model) fn send(&mut self, who: Who, input: Input) -> Option<Answer> {
        let session = &mut self.sessions[who];
        let mut numbered = (1..).zip(&session.inputs);
        if let Some((number, known)) =
            numbered.find(|(_, known)| known.id.is_some() && known.id == input.id)
        {
            return Some(if *known == input {
                Answer::Received { input: number, repeated: true }
            } else {
                Answer::InputIdReused(number)
            });
        }
        if !matches!(session.state, State::Pending | State::Active | State::Paused) {
            return Some(Answer::NotAccepting(session.state));
        }
        if session.waiting() >= Care::INPUTS {
            return Some(Answer::Full);
        }
        session.inputs.push(input);
        let number = session.inputs.len() as u64;
        let (wakes, pending) = (session.is_ready(), session.state == State::Pending);
        if wakes && self.is_place_free() {
            self.begin(who, if pending { Cause::SlotFree } else { Cause::InputArrived });
        } else {
            self.ready |= wakes;
        }
        self.wake_run(who);
        Some(Answer::Received { input: number, repeated: false })
    }

    /// With a run, it comes to rest first; without one, the session is paused at once.
    pub(in crate::model) fn pause(&mut self, who: Who, call: Call) -> Option<Answer> {
        let session = &self.sessions[who];
        match session.state {
            State::Active if session.alive.is_some() => {
                self.pause_run(who, call);
                return None;
            }
            State::Pending | State::Active | State::Paused => {}
            from => return Some(Answer::Refused(from, State::Paused)),
        }
        self.bury(who);
        self.give_up(who);
        self.supersede_resumes(who, "pause");
        self.rest(who, PauseCause::Asked, Cause::Asked);
        Some(Answer::Done)
    }

    /// What runs or will run has what it wants; else it needs a place.
    pub(in crate::model) fn resume(&mut self, who: Who, call: Call) -> Option<Answer> {
        let session = &self.sessions[who];
        match session.state {
            State::Active if !session.lost => {
                let intent = session.alive.as_ref().map(|run| run.intent);
                if matches!(intent, Some(Intent::Pause(_))) {
                    self.recall(who);
                }
                return Some(Answer::Done);
            }
            State::Pending => return Some(Answer::Done),
            State::Active | State::Paused | State::Stopped => {}
            from => return Some(Answer::Refused(from, State::Active)),
        }
        if self.is_place_free() {
            return Some(self.resume_now(who));
        }
        self.resumes.push_back((who, call));
        self.ready = true;
        None
    }

    /// With a run, it is stopping until that is gone; a second stop may shorten the grace.
    pub(in crate::model) fn stop(
        &mut self,
        who: Who,
        grace: Option<Ms>,
        call: Call,
    ) -> Option<Answer> {
        let session = &self.sessions[who];
        let (state, run) = (session.state, session.runs);
        let alive = session.alive.is_some();
        match state {
            State::Active | State::Stopping if alive => {
                let grace = grace.unwrap_or_else(|| session.care.stop_grace());
                if state == State::Active {
                    self.go(who, State::Stopping, Cause::Asked);
                }
                self.supersede_pausers(who, "stop");
                self.answer(call, Answer::Stopping { alive });
                self.ask(who, grace);
                self.wait(call, who, Until::Gone { run });
                return None;
            }
            State::Active => {
                self.bury(who);
                self.give_up(who);
                self.go(who, State::Stopping, Cause::Asked);
                self.go(who, State::Stopped, Cause::RunGone);
            }
            State::Stopping => {
                self.bury(who);
                self.give_up(who);
                self.go(who, State::Stopped, Cause::RunGone);
            }
            State::Pending | State::Paused => self.go(who, State::Stopped, Cause::Asked),
            State::Stopped => {}
            from => return Some(Answer::Refused(from, State::Stopped)),
        }
        self.supersede_resumes(who, "stop");
        self.answer(call, Answer::Stopping { alive });
        Some(Answer::Gone(None))
    }

    pub(in crate::model) fn complete(&mut self, who: Who) -> Option<Answer> {
        match self.sessions[who].state {
            State::Completed => Some(Answer::Done),
            from @ (State::Stopping | State::Failed | State::Expired) => {
                Some(Answer::Refused(from, State::Completed))
            }
            _ => self.conclude(who, State::Completed, "complete"),
        }
    }

    pub(in crate::model) fn fail(&mut self, who: Who) -> Option<Answer> {
        match self.sessions[who].state {
            State::Failed => Some(Answer::Done),
            State::Pending | State::Active | State::Paused => {
                self.conclude(who, State::Failed, "fail")
            }
            from => Some(Answer::Refused(from, State::Failed)),
        }
    }

    /// The end comes first, and then the run is cancelled.
    fn conclude(&mut self, who: Who, to: State, by: &'static str) -> Option<Answer> {
        self.bury(who);
        self.go(who, to, Cause::Asked);
        self.supersede_resumes(who, by);
        if self.sessions[who].alive.is_some() {
            self.supersede_pausers(who, by);
            self.ask(who, 0);
        } else {
            self.give_up(who);
        }
        Some(Answer::Done)
    }

    pub(in crate::model) fn label(&mut self, who: Who, team: Option<u8>) -> Option<Answer> {
        self.annotate(who, |session| session.team = team)
    }

    pub(in crate::model) fn describe(&mut self, who: Who, note: u8) -> Option<Answer> {
        self.annotate(who, |session| session.note = Some(note))
    }

    pub(in crate::model) fn set_external(&mut self, who: Who, external: u8) -> Option<Answer> {
        self.annotate(who, |session| {
            session.external = Some(external);
            session.log.push(Line::External(external));
        })
    }

    /// What is written on a session can be changed in every state.
    fn annotate(&mut self, who: Who, change: impl FnOnce(&mut Session)) -> Option<Answer> {
        self.bury(who);
        let session = &mut self.sessions[who];
        change(session);
        self.ready |= session.is_ready();
        Some(Answer::Done)
    }

    pub(in crate::model) fn heartbeat(&mut self, who: Who) -> Option<Answer> {
        Some(if self.beat(who) { Answer::Done } else { Answer::NotRunning })
    }

    pub(in crate::model) fn wait_for(
        &mut self,
        who: Who,
        until: Until,
        call: Call,
    ) -> Option<Answer> {
        self.wait(call, who, until);
        None
    }

    /// Who has not ended holds its name; else the newest is found.
    pub(in crate::model) fn find(&self, named: Named) -> Option<Answer> {
        let newest_first = || self.sessions.iter().enumerate().rev();
        let found = match named {
            Named::Key(key) => newest_first().find(|(_, s)| s.begin.key == Some(key)),
            Named::External(external) => newest_first().find(|(_, s)| s.external == Some(external)),
            Named::Name(name) => {
                let named = || newest_first().filter(|(_, s)| s.begin.name == Some(name));
                named().find(|(_, s)| !s.is_terminal()).or_else(|| named().next())
            }
        };
        Some(Answer::Found(found.map(|(who, _)| who)))
    }

    /// Newest first.
    pub(in crate::model) fn list(&self, states: &[State], team: Option<u8>) -> Option<Answer> {
        let matches = |session: &Session| {
            (states.is_empty() || states.contains(&session.state))
                && (team.is_none() || session.team == team)
        };
        let newest_first = self.sessions.iter().enumerate().rev();
        let listed = newest_first.filter(|(_, session)| matches(session));
        Some(Answer::Listed(listed.map(|(who, _)| who).collect()))
    }

    /// Keeps a place, or waits for one.
    pub(in crate::model) fn slot(&mut self, call: Call) -> Option<Answer> {
        self.queue(Seeker::Slot(call));
        None
    }

    /// Gives a place back.
    pub(in crate::model) fn drop_slot(&mut self) -> Option<Answer> {
        if self.slots == 0 {
            return Some(Answer::Nobody);
        }
        self.slots -= 1;
        Some(Answer::Done)
    }
}
