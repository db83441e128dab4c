//! The passing of time: what is due, in the order in which it is.

use sessionkeeper::{Cause, State};

use super::{Ms, Reference, Who, run::RunDue};

/// Things that are due so close to one another may come in either order.
const BLUR: Ms = 10;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Run(Who, RunDue),
    /// A backoff is over.
    Restart(Who),
    /// A session has waited for too long.
    Expire(Who),
    /// A session has slept for long enough.
    Alarm(Who),
    /// A parent that had no room for it is told of an end again.
    Tell(usize),
    /// The next suspect is recovered, however this one does.
    NextSuspect,
}

impl Due {
    const fn who(self) -> Option<Who> {
        match self {
            Self::Run(who, _) | Self::Restart(who) | Self::Expire(who) | Self::Alarm(who) => {
                Some(who)
            }
            Self::Tell(_) | Self::NextSuspect => None,
        }
    }
}

impl Reference {
    /// Lets time pass, and a little more where something is due just then.
    pub(super) fn pass(&mut self, span: Ms) {
        let mut end = self.now + span;
        while self.vague.is_none() {
            self.happen(end + BLUR);
            match self.dues().first() {
                Some((at, _)) if *at <= end + 2 * BLUR => end = at + 3 * BLUR,
                _ if self.now + BLUR > end => end = self.now + BLUR,
                _ => break,
            }
        }
        self.now = end;
    }

    /// Lets happen what is due until then.
    pub(super) fn happen(&mut self, until: Ms) {
        loop {
            let dues = self.dues();
            let Some(&(at, due)) = dues.first().filter(|(at, _)| *at <= until) else {
                return;
            };
            if dues.get(1).is_some_and(|&(next, other)| self.is_vague(next - at, due, other)) {
                return self.doubt(true, "two are due at once");
            }
            self.now = self.now.max(at);
            match due {
                Due::Run(who, due) => self.run_due(who, due),
                Due::Restart(who) => self.restart(who),
                Due::Expire(who) => self.expire(who),
                Due::Alarm(who) => self.ring(who),
                Due::Tell(number) => self.tell_again(number),
                Due::NextSuspect => self.next_suspect(),
            }
            self.tick();
        }
    }

    /// Whether it matters which of two comes first, and cannot be told.
    fn is_vague(&self, apart: Ms, due: Due, other: Due) -> bool {
        let rings = matches!(due, Due::Alarm(_)) || matches!(other, Due::Alarm(_));
        let contended = self.setup.places.is_some() && (rings || self.is_anybody_waiting());
        apart <= BLUR && (due.who() == other.who() || contended)
    }

    fn dues(&self) -> Vec<(Ms, Due)> {
        let mut dues = Vec::new();
        for (who, session) in self.present() {
            if let Some(run) = &session.alive {
                let due = run.due(session.care, session.recoveries > 0);
                dues.extend(due.into_iter().map(|(at, due)| (at, Due::Run(who, due))));
            }
            if let Some((_, at)) = session.backoff.filter(|_| !session.lost) {
                dues.push((at, Due::Restart(who)));
            }
            if let Some(at) = session.until.filter(|_| self.ends_waits) {
                dues.push((at, Due::Expire(who)));
            }
        }
        dues.extend(self.alarms().map(|(at, who)| (at, Due::Alarm(who))));
        dues.extend(self.untold().map(|(at, number)| (at, Due::Tell(number))));
        if let Some(at) = self.recovery.as_ref().and_then(|recovery| recovery.patience()) {
            dues.push((at, Due::NextSuspect));
        }
        dues.sort_by_key(|(at, _)| *at);
        dues
    }

    fn restart(&mut self, who: Who) {
        self.begin(who, Cause::Restarted);
    }

    fn expire(&mut self, who: Who) {
        let why = match self.sessions[who].state {
            State::Pending => Cause::PendingTimeout,
            _ => Cause::PausedTimeout,
        };
        self.go(who, State::Expired, why);
    }
}
