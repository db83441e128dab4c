//! A new session goes on from a checkpoint of another one, to which nothing happens.

use sessionkeeper::Cause;

use super::{Care, Inbox, Line, Links, Made, Reference, Session, Who, verbs::Answer, work::Work};
use crate::model::steps::Input;

/// What is asked of a fork. The label and the policy that are `None` are inherited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Branch {
    pub(in crate::model) key: Option<u8>,
    pub(in crate::model) name: Option<u8>,
    pub(in crate::model) team: Option<u8>,
    pub(in crate::model) care: Option<Care>,
    /// The input of its own, after those that are copied. For it the limit of the inbox holds.
    pub(in crate::model) work: Option<Work>,
    pub(in crate::model) copy_inputs: bool,
}

impl Reference {
    /// From the newest checkpoint, or from the one that lies so far back, if that is kept.
    pub(in crate::model) fn fork(
        &mut self,
        who: Who,
        back: Option<u64>,
        branch: &Branch,
    ) -> Option<Answer> {
        let parent = &self.sessions[who];
        if parent.deleted.is_some() && back.is_some() {
            // Nobody can say which one that is.
            return Some(Answer::NotFound);
        }
        let at = back.map(|back| parent.kept[0].number.saturating_sub(back));
        let made = Made::Fork(who, at, branch.clone());
        if let Some(answer) = self.made_before(&made) {
            return Some(answer);
        }
        if parent.deleted.is_some() {
            return Some(Answer::NotFound);
        }
        let Some(kept) = parent.kept.iter().find(|kept| at.is_none_or(|at| kept.number == at))
        else {
            return Some(Answer::NotKept(parent.kept.iter().map(|kept| kept.number).collect()));
        };
        if let Some(holder) = self.holder(branch.name) {
            return Some(Answer::NameTaken(holder));
        }
        let mut inputs = if branch.copy_inputs { parent.inbox.lacking(kept) } else { Vec::new() };
        let copied = inputs.len() as u64;
        inputs.extend(branch.work.map(Input::of));
        let care = branch.care.unwrap_or(parent.care);
        let new = Session {
            name: branch.name,
            team: branch.team.or(parent.team),
            note: parent.note,
            inbox: Inbox::of(inputs),
            links: Links { forked_from: Some((who, kept.number)), ..Links::default() },
            log: vec![Line::Created, Line::Forked(who, kept.number, copied)],
            ..Session::new(made, care, kept.done.clone(), self.now)
        };
        let fork = self.sessions.len();
        self.sessions.push(new);
        if self.is_place_free() {
            self.begin(fork, Cause::Asked);
        } else {
            self.ready = true;
        }
        Some(Answer::Started { who: fork, repeated: false })
    }
}
