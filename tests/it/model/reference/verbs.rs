//! What each verb does, and what it answers.

use sessionkeeper::{Cause, OnInterrupt, PauseCause, State};

use super::{
    Call, Care, Done, End, Inbox, Line, Made, Ms, Reference, Session, Until, Who,
    family::{is_by_parent, paused_by},
    places::Seeker,
    run::Intent,
    runs::RunState,
    worker::Recovered,
};
use crate::model::steps::{Begin, Input};

/// What a verb was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) enum Answer {
    Done,
    /// There is nobody to ask.
    Nobody,
    Refused(State, State),
    /// Its successor goes on in its place.
    RolledOver(Who),
    /// It cannot be rolled over in this state.
    NoSuccessor(State),
    /// What has ended can have no children.
    ParentEnded(State),
    TooManyChildren,
    /// It was deleted, and nobody finds it.
    NotFound,
    /// It was deleted, and that is remembered: it is not started again.
    Deleted(Who),
    /// It was not deleted, since it was not at rest.
    NotAtRest(State),
    /// The checkpoint is not kept; these are.
    NotKept(Vec<u64>),
    /// There is a session with this id.
    Exists,
    Superseded(&'static str),
    ShuttingDown,
    OutcomeUnknown,
    Received {
        who: Who,
        input: u64,
        repeated: bool,
    },
    NotAccepting(State),
    Full,
    UrgentFull,
    Interrupted {
        input: u64,
        then: OnInterrupt,
    },
    NothingInHand,
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
    Run {
        who: Who,
        run: u32,
        state: RunState,
    },
    /// The run is not the present one, which is this.
    NotCurrentRun(Option<u32>),
    Reached(State),
    Found(Option<Who>),
    Listed(Vec<Who>),
    /// One of these: which, depends on when it was looked.
    OneOf(Vec<Self>),
    /// What each of a group answered.
    Each(Vec<(Who, Answer)>),
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
        let made = Made::Start(begin.clone());
        if let Some(answer) = self.made_before(&made) {
            return Some(answer);
        }
        if let Some(refused) = begin.parent.and_then(|(parent, _)| self.no_child(parent)) {
            return Some(refused);
        }
        if let Some(holder) = self.holder(begin.name) {
            return Some(Answer::NameTaken(holder));
        }
        let who = self.sessions.len();
        let has_place = self.is_place_free();
        let care = begin.care.unwrap_or(Care::Usual);
        let parent = begin.parent;
        let links = parent.map(|(parent, on_parent)| self.links_of_child(parent, on_parent));
        let new = Session {
            name: begin.name,
            inbox: Inbox::of(begin.work.map(Input::of).into_iter().collect()),
            team: begin.team,
            external: begin.external,
            links: links.unwrap_or_default(),
            ..Session::new(made, care, Done::default(), self.now)
        };
        if let Some((parent, _)) = parent {
            self.add_child(parent, new);
            return Some(Answer::Started { who, repeated: false });
        }
        self.sessions.push(new);
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
        let mut numbered = (1..).zip(&session.inbox.all);
        if let Some((number, known)) =
            numbered.find(|(_, known)| known.id.is_some() && known.id == input.id)
        {
            return Some(if known.work == input.work {
                Answer::Received { who, input: number, repeated: true }
            } else {
                Answer::InputIdReused(number)
            });
        }
        if let Some(successor) = session.links.successor {
            return Some(Answer::RolledOver(successor));
        }
        if !session.accepts() {
            return Some(Answer::NotAccepting(session.state));
        }
        let urgent = session.inbox.urgent().len() as u64;
        if input.urgent && urgent >= Care::URGENT {
            return Some(Answer::UrgentFull);
        }
        if !input.urgent && session.waiting() - urgent >= Care::INPUTS {
            return Some(Answer::Full);
        }
        session.inbox.all.push(input);
        let number = session.inbox.all.len() as u64;
        let wakes = session.is_ready() || self.rings(who);
        if wakes && self.is_place_free() {
            self.begin(who, self.why_wake(who));
        } else {
            self.ready |= wakes;
        }
        self.wake_run(who);
        Some(Answer::Received { who, input: number, repeated: false })
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
            _ => return Some(self.refused(who, State::Paused)),
        }
        self.bury(who);
        self.give_up(who);
        self.supersede_resumes(who, "pause");
        let (cause, why) = paused_by(call);
        self.rest(who, cause, why);
        Some(Answer::Done)
    }

    /// What runs or will run has what it wants; else it needs a place.
    pub(in crate::model) fn resume(&mut self, who: Who, call: Call) -> Option<Answer> {
        let session = &self.sessions[who];
        let by_parent = is_by_parent(call);
        if by_parent && session.alive.is_none() && session.cause != Some(PauseCause::Parent) {
            // It was paused for another reason, or is not paused any more.
            return Some(Answer::Done);
        }
        match session.state {
            State::Active if !session.lost => {
                let intent = session.alive.as_ref().map(|run| run.intent);
                let takes_back = match intent {
                    Some(Intent::Pause(cause)) => !by_parent || cause == PauseCause::Parent,
                    Some(Intent::Run | Intent::RollOver | Intent::Silence) | None => false,
                };
                if takes_back {
                    self.recall(who);
                }
                return Some(Answer::Done);
            }
            State::Pending => return Some(Answer::Done),
            State::Active | State::Paused | State::Stopped => {}
            _ => return Some(self.refused(who, State::Active)),
        }
        if self.is_place_free() {
            return Some(self.resume_now(who, call));
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
        let run = self.sessions[who].runs;
        let alive = match self.stop_now(who, grace, Cause::Asked) {
            Ok(alive) => alive,
            Err(refused) => return Some(refused),
        };
        self.answer(call, Answer::Stopping { alive });
        self.wait(call, who, Until::Gone { run: alive.then_some(run) });
        None
    }

    /// Stops a session, and says whether that has to wait for a run.
    pub(super) fn stop_now(
        &mut self,
        who: Who,
        grace: Option<Ms>,
        why: Cause,
    ) -> Result<bool, Answer> {
        let session = &self.sessions[who];
        let (state, alive) = (session.state, session.alive.is_some());
        match state {
            State::Active | State::Stopping if alive => {
                let grace = grace.unwrap_or_else(|| session.care.stop_grace());
                if state == State::Active {
                    self.go(who, State::Stopping, why);
                }
                self.ask_children();
                self.supersede_pausers(who, "stop");
                self.ask(who, grace);
                return Ok(true);
            }
            State::Active | State::Stopping => {
                self.bury(who);
                self.give_up(who);
                if state == State::Active {
                    self.go(who, State::Stopping, why);
                }
                self.go(who, State::Stopped, Cause::RunGone);
            }
            State::Pending | State::Paused => self.go(who, State::Stopped, why),
            State::Stopped => {}
            _ => return Err(self.refused(who, State::Stopped)),
        }
        self.supersede_resumes(who, "stop");
        Ok(false)
    }

    pub(in crate::model) fn complete(&mut self, who: Who) -> Option<Answer> {
        match self.sessions[who].state {
            State::Completed => Some(Answer::Done),
            State::Stopping | State::Failed | State::Expired => {
                Some(self.refused(who, State::Completed))
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
            _ => Some(self.refused(who, State::Failed)),
        }
    }

    /// The state of a session does not allow a move.
    pub(super) fn refused(&self, who: Who, to: State) -> Answer {
        let session = &self.sessions[who];
        session.links.successor.map_or(Answer::Refused(session.state, to), Answer::RolledOver)
    }

    /// The end comes first, and then the run is cancelled.
    fn conclude(&mut self, who: Who, to: State, by: &'static str) -> Option<Answer> {
        self.bury(who);
        self.go(who, to, Cause::Asked);
        self.supersede_resumes(who, by);
        if self.sessions[who].alive.is_some() {
            self.ask_children();
            self.supersede_pausers(who, by);
            self.ask(who, 0);
        } else {
            self.give_up(who);
        }
        Some(Answer::Done)
    }

    pub(in crate::model) fn label(&mut self, who: Who, team: Option<u8>) -> Option<Answer> {
        self.relabelled |= self.sessions[who].team != team;
        self.annotate(who, |session| {
            session.team = team;
            session.log.push(Line::Labelled(team));
        })
    }

    pub(in crate::model) fn describe(&mut self, who: Who, note: u8) -> Option<Answer> {
        self.annotate(who, |session| {
            session.note = Some(note);
            session.log.push(Line::Described);
        })
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
