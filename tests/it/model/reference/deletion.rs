//! A session is gone for good, and for a while it is remembered that it was there.

use sessionkeeper::{Cause, State};

use super::{Call, Line, Ms, Reference, Session, Until, Who, verbs::Answer};

/// How long its id and its start key are taken.
const REMEMBERED: Ms = 24 * 3_600_000;

impl Session {
    /// Whether a request may still meet it, or its tombstone.
    pub(super) fn is_remembered(&self, now: Ms) -> bool {
        self.deleted.is_none_or(|at| now < at + REMEMBERED || !self.owed.is_empty())
    }
}

impl Reference {
    /// Only a session at rest is deleted; with `stop_first` it is brought to rest. What was deleted
    /// is, as long as it is remembered.
    pub(in crate::model) fn delete(
        &mut self,
        who: Who,
        stop_first: bool,
        call: Call,
    ) -> Option<Answer> {
        let session = &self.sessions[who];
        if session.deleted.is_some() {
            let known = session.is_remembered(self.now);
            return Some(if known { Answer::Done } else { Answer::NotFound });
        }
        let at_rest = match session.state {
            State::Pending | State::Active | State::Stopping => false,
            State::Paused | State::Stopped | State::Completed | State::Failed | State::Expired => {
                true
            }
        };
        if at_rest && session.alive.is_some() {
            // Its run is about to be gone.
            self.wait(call, who, Until::Deletable { stopped: false });
            return None;
        }
        if !at_rest && !stop_first {
            return Some(Answer::NotAtRest(session.state));
        }
        if !at_rest {
            // Nothing of these states refuses a stop.
            let _ = self.stop_now(who, None, Cause::Asked);
            self.wait(call, who, Until::Deletable { stopped: true });
            return None;
        }
        self.supersede_resumes(who, "delete");
        self.leave_family(who);
        let session = &mut self.sessions[who];
        session.log.push(Line::Deleted);
        session.deleted = Some(self.now);
        // What is left of it has no label.
        self.relabelled |= session.team.is_some();
        Some(Answer::Done)
    }

    /// Who waits to delete a session that nothing of a run is alive of any more. A worker that shuts
    /// down goes no further than to stop it.
    pub(super) fn take_deletable(&mut self) -> Vec<(Call, Who)> {
        let mut deletable = Vec::new();
        for (call, who, until) in std::mem::take(&mut self.waits) {
            match until {
                Until::Deletable { stopped } if self.sessions[who].alive.is_none() => {
                    if stopped && self.draining {
                        self.answer(call, Answer::ShuttingDown);
                    } else {
                        deletable.push((call, who));
                    }
                }
                until => self.waits.push((call, who, until)),
            }
        }
        deletable
    }

    /// A start with the id of a session that there is, or was.
    pub(in crate::model) fn start_as(&self, who: Who) -> Option<Answer> {
        let session = &self.sessions[who];
        Some(match session.deleted {
            None => Answer::Exists,
            Some(_) if session.is_remembered(self.now) => Answer::Deleted(who),
            // It would begin anew, and nobody tries that.
            Some(_) => Answer::Nobody,
        })
    }
}
