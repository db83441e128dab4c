//! Places under `max_active`, and who waits for them.

use sessionkeeper::{Cause, PauseCause, State};

use super::{Call, Made, Reference, Who, family::is_by_parent, verbs::Answer};

/// Somebody who waits for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeker {
    /// The recovery, for a session that the last worker left.
    Recovery(Who),
    /// A caller who wants to keep it.
    Slot(Call),
    /// Who gives places to resumes, and then to sessions that are ready.
    Filler,
}

impl Reference {
    pub(super) fn is_place_free(&self) -> bool {
        let taken = self.sessions.iter().filter(|session| session.place).count() + self.slots;
        self.setup.places.is_none_or(|places| taken < places)
    }

    pub(super) fn is_anybody_waiting(&self) -> bool {
        let ready = |session: &super::Session| session.is_ready();
        !(self.line.is_empty() && self.resumes.is_empty())
            || self.present().any(|(_, session)| ready(session))
    }

    /// For whom a resume waits for its place.
    pub(in crate::model) fn who_waits_for_a_resume(&self) -> Vec<Who> {
        self.resumes.iter().map(|(who, _)| *who).collect()
    }

    pub(super) fn queue(&mut self, seeker: Seeker) {
        self.line.push_back(seeker);
    }

    /// Gives free places to those who wait, in order.
    pub(super) fn give_places(&mut self) {
        loop {
            if self.fills_places && self.ready && !self.line.contains(&Seeker::Filler) {
                self.ready = false;
                self.queue(Seeker::Filler);
            }
            if !self.is_place_free() {
                return;
            }
            match self.line.pop_front() {
                None => return,
                Some(Seeker::Slot(call)) => {
                    self.slots += 1;
                    self.answer(call, Answer::Done);
                }
                Some(Seeker::Recovery(who)) => self.recover(who),
                Some(Seeker::Filler) => {
                    // Who was to be stopped or paused with a parent does not get it.
                    self.ask_children();
                    // Who has given one looks for another.
                    if self.fill() {
                        self.queue(Seeker::Filler);
                    }
                }
            }
        }
    }

    /// Gives a place to the resume that waits longest, or else to the session that does.
    fn fill(&mut self) -> bool {
        if let Some((who, call)) = self.resumes.pop_front() {
            let answer = self.resume_now(who, call);
            self.answer(call, answer);
            return true;
        }
        let ready = self.present().filter(|(_, session)| session.is_ready());
        let Some((who, _)) = ready.min_by_key(|(who, session)| (session.since, *who)) else {
            return false;
        };
        self.doubt(self.is_just_born(who), "a child is started just as a place is given up");
        self.begin(who, self.why_wake(who));
        true
    }

    /// Whether a run has started it at this moment, and goes on: the place that it gets is another's, which may have had it until then or
    /// not.
    fn is_just_born(&self, who: Who) -> bool {
        let session = &self.sessions[who];
        match session.made {
            Made::Child(parent, _) => session.since == self.now && self.sessions[parent].place,
            Made::Start(_) | Made::Rollover(..) | Made::Fork(..) => false,
        }
    }

    /// The resumes of a session that wait for a place.
    pub(super) fn take_resumes(&mut self, who: Who) -> Vec<Call> {
        let resumes = std::mem::take(&mut self.resumes).into_iter();
        let (taken, rest): (Vec<_>, Vec<_>) = resumes.partition(|(waiting, _)| *waiting == who);
        self.resumes = rest.into();
        taken.into_iter().map(|(_, call)| call).collect()
    }

    /// A resume that waits is told when there is nothing to wait for any more.
    pub(super) fn answer_resumes(&mut self) {
        for (who, call) in std::mem::take(&mut self.resumes) {
            let session = &self.sessions[who];
            match session.state {
                State::Active if !session.lost => self.answer(call, Answer::Done),
                State::Active | State::Paused | State::Stopped => {
                    self.resumes.push_back((who, call));
                }
                _ => self.answer(call, self.refused(who, State::Active)),
            }
        }
    }

    /// Later word on a session wins over a resume that waits.
    pub(super) fn supersede_resumes(&mut self, who: Who, by: &'static str) {
        for call in self.take_resumes(who) {
            self.answer(call, Answer::Superseded(by));
        }
    }

    /// A resume that has its place.
    pub(super) fn resume_now(&mut self, who: Who, call: Call) -> Answer {
        let session = &self.sessions[who];
        if is_by_parent(call) && session.cause != Some(PauseCause::Parent) {
            return Answer::Done;
        }
        match session.state {
            State::Active if !session.lost => Answer::Done,
            State::Active | State::Paused | State::Stopped => {
                let quarantined = session.cause == Some(PauseCause::Quarantined);
                if quarantined {
                    let session = &mut self.sessions[who];
                    session.failures = super::Failures::default();
                    session.recoveries = 0;
                }
                let why = if is_by_parent(call) { Cause::Parent } else { Cause::Asked };
                self.begin(who, why);
                Answer::Done
            }
            State::Pending => Answer::Done,
            _ => self.refused(who, State::Active),
        }
    }
}
