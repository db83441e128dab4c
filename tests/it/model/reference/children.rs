//! How a session gets children, and hears of their ends.

use serde::{Deserialize, Serialize};
use sessionkeeper::{Cause, OnParent, State};

use super::{
    Care, Done, End, Inbox, Line, Links, Made, Manner, Ms, Reference, Session, Who, Work,
    family::{Duty, has_ended},
    run::{Doing, Retry},
    verbs::Answer,
};
use crate::model::steps::Input;

/// A child that a run is to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Birth {
    pub(in crate::model) key: u8,
    pub(in crate::model) on_parent: OnParent,
    pub(in crate::model) errand: Errand,
    /// Whether the run waits for its end.
    pub(in crate::model) wait: bool,
}

/// What a child has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) enum Errand {
    Nothing,
    Finish,
    GiveUp,
    Last(Manner, Ms),
    /// To start a child of its own, and to wait for its end.
    Bear,
}

impl Errand {
    pub(in crate::model) const fn work(self) -> Option<Work> {
        match self {
            Self::Nothing => None,
            Self::Finish => Some(Work::Finish),
            Self::GiveUp => Some(Work::GiveUp),
            Self::Last(manner, span) => Some(Work::Last(manner, span)),
            Self::Bear => Some(Work::Bear(Birth {
                key: 0,
                on_parent: OnParent::LEAVE,
                errand: Self::Nothing,
                wait: true,
            })),
        }
    }
}

/// What a run notes of the end of a child that it waited for.
pub(in crate::model) fn note_of_end(state: State, cause: Cause) -> String {
    format!("{state}: {cause}")
}

impl Reference {
    /// Why a session can have no child now.
    pub(super) fn no_child(&self, parent: Who) -> Option<Answer> {
        let session = &self.sessions[parent];
        let children = self.present().filter(|(_, session)| {
            session.links.parent == Some(parent) && !has_ended(session.state)
        });
        if session.deleted.is_some() {
            Some(Answer::NotFound)
        } else if children.count() >= Care::CHILDREN {
            Some(Answer::TooManyChildren)
        } else {
            (!session.accepts()).then_some(Answer::ParentEnded(session.state))
        }
    }

    pub(super) fn links_of_child(&self, parent: Who, on_parent: OnParent) -> Links {
        let depth = self.sessions[parent].links.depth + 1;
        Links { parent: Some(parent), on_parent, depth, ..Links::default() }
    }

    /// A run starts a child; with the same key it is the one that it started before.
    pub(super) fn bear(&mut self, parent: Who, birth: Birth) -> Result<Who, Answer> {
        let made = Made::Child(parent, Birth { wait: false, ..birth });
        match self.made_before(&made) {
            Some(Answer::Started { who, .. }) => return Ok(who),
            Some(refused) => return Err(refused),
            None => {}
        }
        if let Some(refused) = self.no_child(parent) {
            return Err(refused);
        }
        self.births.retain(|(at, _)| *at == self.now);
        let goes_on = self.births.iter().any(|(_, other)| *other == parent);
        let is_not_alone = self.births.last().is_some_and(|(_, last)| *last != parent);
        let contended = self.setup.places.is_some();
        self.doubt(contended && goes_on && is_not_alone, "two runs start children at once");
        self.births.push((self.now, parent));
        let inputs = birth.errand.work().map(Input::of).into_iter().collect();
        let new = Session {
            inbox: Inbox::of(inputs),
            links: self.links_of_child(parent, birth.on_parent),
            ..Session::new(made, Care::Usual, Done::default(), self.now)
        };
        Ok(self.add_child(parent, new))
    }

    /// A child that there was no reason against.
    pub(super) fn add_child(&mut self, parent: Who, child: Session) -> Who {
        self.sessions[parent].has_children = true;
        let who = self.sessions.len();
        self.sessions.push(child);
        self.owe(who, Duty::Heed);
        if self.is_place_free() {
            self.begin(who, Cause::Asked);
        } else {
            self.ready = true;
        }
        who
    }

    /// Runs that wait for the end of a child hear of it. Says whether any did.
    pub(super) fn hear_of_ends(&mut self) -> bool {
        let mut any = false;
        for who in 0..self.sessions.len() {
            while let Some(Doing::Child { child }) =
                self.sessions[who].alive.as_ref().map(|run| run.doing)
            {
                let session = &self.sessions[child];
                if session.deleted.is_some() {
                    self.end(who, End::Failed, Retry::ByPolicy);
                } else if let Some(successor) = session.links.successor {
                    self.run(who).doing = Doing::Child { child: successor };
                } else if has_ended(session.state) {
                    let note = note_of_end(session.state, session.ended_by());
                    self.run(who).state.ends.push(note);
                    self.turn_over(who);
                } else {
                    break;
                }
                any = true;
            }
        }
        any
    }
}

impl Session {
    /// Which rule, or whose word, ended it. What settled a stop says only that the run was gone.
    fn ended_by(&self) -> Cause {
        let ends = |to| to == self.state || (self.state == State::Stopped && to == State::Stopping);
        let moves = self.log.iter().rev();
        let mut ends = moves.filter_map(|line| match line {
            Line::Moved(_, to, why) if ends(*to) && *why != Cause::RunGone => Some(*why),
            _ => None,
        });
        ends.next().expect("it has ended")
    }
}
