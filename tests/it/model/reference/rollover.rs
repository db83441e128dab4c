//! A session ends, and its successor takes its place.

use serde::{Deserialize, Serialize};
use sessionkeeper::{Cause, State};

use super::{
    Call, Care, Done, Inbox, Line, Links, Made, Ms, Reference, Session, Who,
    run::{Alive, Intent},
    verbs::Answer,
    work::Work,
};
use crate::model::steps::Input;

/// What a run asks of the successor that it makes room for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Fresh {
    pub(in crate::model) sum: i8,
    pub(in crate::model) name: Option<u8>,
    pub(in crate::model) leave: bool,
    /// Whether it has something to do at once.
    pub(in crate::model) works: bool,
}

impl From<Fresh> for Next {
    fn from(Fresh { sum, name, leave, works }: Fresh) -> Self {
        let work = works.then_some(Work::Add(1));
        Self { sum, name, leave, work, ..Self::default() }
    }
}

/// What is asked of a successor. What is `None` is inherited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::model) struct Next {
    pub(in crate::model) key: Option<u8>,
    pub(in crate::model) sum: i8,
    pub(in crate::model) work: Option<Work>,
    pub(in crate::model) name: Option<u8>,
    pub(in crate::model) team: Option<u8>,
    pub(in crate::model) care: Option<Care>,
    /// Whether what was not worked off stays with the session that ends.
    pub(in crate::model) leave: bool,
    pub(in crate::model) within: Option<Ms>,
}

impl Next {
    /// The request: with another grace it is still the same.
    fn request(&self, who: Who) -> Made {
        Made::Rollover(who, Self { within: None, ..self.clone() })
    }
}

impl Reference {
    /// With a run, that comes to rest first; what can be refused is refused before. Without one, it
    /// happens at once.
    pub(in crate::model) fn rollover(
        &mut self,
        who: Who,
        next: &Next,
        call: Call,
    ) -> Option<Answer> {
        let session = &self.sessions[who];
        if session.alive.is_none() || session.state != State::Active {
            return Some(self.roll_over(who, next));
        }
        if let Some(answer) = self.no_successor(who, next) {
            return Some(answer);
        }
        self.roll_over_run(who, call, next.clone());
        None
    }

    /// Inputs go to the end of the chain; one that is known on the way is not sent again.
    pub(in crate::model) fn send_along(&mut self, who: Who, input: Input) -> Option<Answer> {
        if self.sessions[who].deleted.is_some() {
            return Some(Answer::NotFound);
        }
        match self.send(who, input) {
            Some(Answer::RolledOver(successor)) => self.send_along(successor, input),
            answer => answer,
        }
    }

    pub(in crate::model) fn latest(&self, who: Who) -> Option<Answer> {
        let session = &self.sessions[who];
        match session.links.successor {
            _ if session.deleted.is_some() => Some(Answer::NotFound),
            Some(successor) => self.latest(successor),
            None => Some(Answer::Found(Some(who))),
        }
    }

    /// A run is asked to make room, unless it was asked for something else, which comes first.
    pub(super) fn roll_over_run(&mut self, who: Who, call: Call, next: Next) {
        let grace = next.within.unwrap_or_else(|| self.sessions[who].care.pause_grace());
        let run = self.run(who);
        run.callers.rollers.push_back((call, next));
        if run.intent == Intent::Run {
            run.intent = Intent::RollOver;
            self.ask(who, grace);
        }
    }

    /// What a run has asked for that completes its session for a successor. Where that cannot be, the run has failed.
    pub(super) fn is_succeeded(&self, who: Who) -> Result<Option<Next>, ()> {
        let session = &self.sessions[who];
        let run =
            session.alive.as_ref().filter(|run| session.state == State::Active && !run.fenced);
        let Some(next) = run.and_then(|run| run.fresh).map(Next::from) else { return Ok(None) };
        match self.no_successor(who, &next) {
            None => Ok(Some(next)),
            Some(_) => Err(()),
        }
    }

    /// The run has ended for a successor: the first one that can be made is. The others were too late.
    pub(super) fn succeed_run(&mut self, who: Who, run: &mut Alive) -> bool {
        while let Some((call, next)) = run.callers.rollers.pop_front() {
            let answer = self.roll_over(who, &next);
            let is_made = matches!(answer, Answer::Started { .. });
            self.answer(call, answer);
            if is_made {
                return true;
            }
        }
        false
    }

    /// Rolls a session over that is at a safe point.
    pub(super) fn roll_over(&mut self, who: Who, next: &Next) -> Answer {
        if let Some(answer) = self.no_successor(who, next) {
            return answer;
        }
        self.bury(who);
        self.supersede_resumes(who, "rollover");
        let successor = self.succeed(who, next);
        // It has the place of the session, before all others who wait.
        let place = std::mem::take(&mut self.sessions[who].place);
        self.give_up(who);
        self.ask_children_first();
        if place && !self.draining {
            self.begin(successor, Cause::SlotFree);
        } else {
            self.ready = true;
        }
        Answer::Started { who: successor, repeated: false }
    }

    /// Why a session can have no successor; or it has this one already.
    fn no_successor(&self, who: Who, next: &Next) -> Option<Answer> {
        let session = &self.sessions[who];
        if let Some(answer) = self.made_before(&next.request(who)) {
            Some(answer)
        } else if let Some(successor) = session.links.successor {
            Some(Answer::RolledOver(successor))
        } else if let Some(holder) = self.holder(next.name).filter(|holder| *holder != who) {
            Some(Answer::NameTaken(holder))
        } else {
            (!session.accepts()).then_some(Answer::NoSuccessor(session.state))
        }
    }

    /// One ends and the other one begins: at no time there is none, or two.
    fn succeed(&mut self, who: Who, next: &Next) -> Who {
        let successor = self.sessions.len();
        let predecessor = self.sessions[who].links.predecessor;
        let had_children = predecessor.is_some_and(|before| self.sessions[before].has_children);
        // The children of its predecessor end meanwhile, and it may hear of that or its own successor.
        let is_new = self.sessions[who].since == self.now;
        self.doubt(had_children && is_new, "a successor is rolled over at once");
        self.go(who, State::Completed, Cause::RolledOver);
        let session = &mut self.sessions[who];
        let unread = session.inbox.unread();
        session.log.push(Line::SucceededBy(successor, unread.len() as u64));
        session.links.successor = Some(successor);
        let mut inputs = if next.leave { Vec::new() } else { unread };
        let moved = inputs.len() as u64;
        inputs.extend(next.work.map(Input::of));
        let mut inbox = Inbox::of(inputs);
        if !next.leave {
            inbox.go_on_with(&session.inbox);
        }
        let care = next.care.unwrap_or(session.care);
        let done = Done { sum: next.sum.into(), ..Done::default() };
        let new = Session {
            name: next.name.or(session.name),
            team: next.team.or(session.team),
            note: session.note,
            inbox,
            links: Links {
                predecessor: Some(who),
                successor: None,
                forked_from: None,
                ..session.links
            },
            log: vec![Line::Created, Line::SucceedsTo(who, moved)],
            ..Session::new(next.request(who), care, done, self.now)
        };
        self.sessions.push(new);
        successor
    }
}
