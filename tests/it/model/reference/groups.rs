//! Verbs for many sessions at once.

use sessionkeeper::{Cause, State};

use super::{Answer, Call, Doing, Reference, Who, family::has_ended};

/// A call that many sessions are to answer.
#[derive(Debug, Clone)]
pub(super) struct Group {
    call: Call,
    lines: Vec<(Who, Option<Answer>)>,
}

/// What is asked of each session of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Together {
    Pause,
    Resume,
    Stop,
}

/// The calls of groups come after all others: so many for each.
const OF_GROUP: Call = 1 << 40;
const SIZE: Call = 1 << 8;

impl Together {
    /// In which states a session is asked.
    const fn concerns(self, state: State) -> bool {
        match self {
            Self::Pause => matches!(state, State::Pending | State::Active | State::Paused),
            Self::Resume => matches!(state, State::Paused),
            Self::Stop => {
                matches!(state, State::Pending | State::Active | State::Paused | State::Stopping)
            }
        }
    }
}

impl Reference {
    /// Each session that matches is asked as if it were alone, the newest first; one that refuses hinders no other.
    pub(in crate::model) fn ask_all(
        &mut self,
        what: Together,
        team: Option<u8>,
        call: Call,
    ) -> Option<Answer> {
        let of_team = self.present().rev().filter(|(_, session)| {
            what.concerns(session.state) && (team.is_none() || session.team == team)
        });
        let asked: Vec<_> = of_team.map(|(who, _)| who).collect();
        if asked.is_empty() {
            return Some(Answer::Each(Vec::new()));
        }
        let first = OF_GROUP + self.groups.len() * SIZE;
        let lines = asked.iter().map(|who| (*who, None)).collect();
        self.groups.push(Some(Group { call, lines }));
        let waits = asked.iter().any(|who| self.waits_for_one_of(*who, &asked));
        self.doubt(what == Together::Stop && waits, "a run waits for a child of its group");
        // All are asked before anything follows from that for their children and parents.
        let serves_families = std::mem::take(&mut self.serves_families);
        for (who, call) in asked.iter().copied().zip(first..) {
            let answer = match what {
                Together::Pause => self.pause(who, call),
                Together::Resume => self.resume(who, call),
                Together::Stop => Some(match self.stop_now(who, None, Cause::Asked) {
                    Ok(alive) => Answer::Stopping { alive },
                    Err(refused) => refused,
                }),
            };
            if let Some(answer) = answer {
                self.answer(call, answer);
            }
        }
        self.serves_families = serves_families;
        let outlives = asked.iter().any(|who| self.outlives_one_of(*who, &asked));
        let in_doubt = what == Together::Resume && outlives;
        self.doubt(in_doubt, "a parent ends as soon as it is resumed with its child");
        None
    }

    /// Whether its parent is among those, or whoever has followed the parent, and has ended.
    fn outlives_one_of(&self, who: Who, those: &[Who]) -> bool {
        let parent = self.sessions[who].links.parent;
        let successor = |parent: &Who| self.sessions[*parent].links.successor;
        let mut parents = std::iter::successors(parent, successor);
        parents.any(|parent| those.contains(&parent) && has_ended(self.sessions[parent].state))
    }

    /// Whether its run waits for the end of one of those who have no run, and would end at once.
    fn waits_for_one_of(&self, who: Who, those: &[Who]) -> bool {
        let run = self.sessions[who].alive.as_ref();
        let Some(Doing::Child { child }) = run.map(|run| run.doing) else { return false };
        those.contains(&child) && self.sessions[child].alive.is_none()
    }

    /// One of a group has answered. The last answer is that of the group. Says whether the call is one of a group.
    pub(super) fn hear_one(&mut self, call: Call, answer: &Answer) -> bool {
        let Some(place) = call.checked_sub(OF_GROUP) else { return false };
        let group = &mut self.groups[place / SIZE];
        if let Some(Group { call, lines }) = group {
            lines[place % SIZE].1 = Some(answer.clone());
            let answered = lines.iter().map(|(who, line)| Some((*who, line.clone()?)));
            if let Some(each) = answered.collect() {
                let call = *call;
                *group = None;
                self.answer(call, Answer::Each(each));
            }
        }
        true
    }
}
