//! What is found, and what is listed.

use sessionkeeper::State;

use super::{Made, Reference, Session, Who, session::Key, verbs::Answer};
use crate::model::steps::Named;

impl Reference {
    /// Who has not ended holds its name; else the newest is found.
    pub(in crate::model) fn find(&self, named: Named) -> Option<Answer> {
        let newest_first = || self.present().rev();
        let found = match named {
            Named::Key(key) => {
                let key = Some(Key::OfCaller(key));
                newest_first().find(|(_, s)| s.made.key() == key)
            }
            Named::External(external) => newest_first().find(|(_, s)| s.external == Some(external)),
            Named::Name(name) => {
                let named = || newest_first().filter(|(_, s)| s.name == Some(name));
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
        let listed = self.present().rev().filter(|(_, session)| matches(session));
        Some(Answer::Listed(listed.map(|(who, _)| who).collect()))
    }

    /// The sessions that were not deleted.
    pub(in crate::model) fn present(&self) -> impl DoubleEndedIterator<Item = (Who, &Session)> {
        self.sessions.iter().enumerate().filter(|(_, session)| session.deleted.is_none())
    }

    /// Those with urgent inputs that wait.
    pub(in crate::model) fn who_has_urgent_inputs(&self) -> Vec<Who> {
        let urgent = self
            .present()
            .filter(|(_, session)| session.accepts() && !session.inbox.urgent().is_empty());
        urgent.map(|(who, _)| who).collect()
    }

    /// Who has not ended and has this name.
    pub(super) fn holder(&self, name: Option<u8>) -> Option<Who> {
        let holds = |session: &Session| !session.is_terminal() && session.name == name;
        let holder = self.present().find(|(_, session)| holds(session));
        name.and_then(|_| holder.map(|(who, _)| who))
    }

    /// What a request is answered whose key was used before: it is the same, or a mistake.
    pub(super) fn made_before(&self, made: &Made) -> Option<Answer> {
        let key = made.key()?;
        let has_key =
            |session: &Session| session.made.key() == Some(key) && session.is_remembered(self.now);
        let who = self.sessions.iter().position(has_key)?;
        Some(if self.sessions[who].deleted.is_some() {
            Answer::Deleted(who)
        } else if self.sessions[who].made == *made {
            Answer::Started { who, repeated: true }
        } else {
            Answer::KeyReused(who)
        })
    }
}
