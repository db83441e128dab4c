//! Sleeping sessions. The wall clock wakes them, which goes on where there is no worker.

use chrono::{DateTime, TimeDelta};
use sessionkeeper::{Cause, PauseCause, Sleep, Timestamp};

use super::{
    Line, Ms, Reference, Session, Who,
    run::{Alive, Intent},
};

/// The shortest sleep.
const SHORTEST: Ms = 1_000;

/// What the wall clock shows so long after the beginning of a life.
pub(in crate::model) fn wall(since: Ms) -> Timestamp {
    let beginning = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    beginning + TimeDelta::milliseconds(i64::try_from(since).unwrap())
}

/// How long after the beginning the wall clock shows that.
fn since_beginning(at: Timestamp) -> Ms {
    u64::try_from((at - wall(0)).num_milliseconds()).unwrap()
}

/// What a workload wants that goes to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm {
    /// By the wall clock.
    pub(super) at: Ms,
    pub(super) woken_by_input: bool,
}

impl Session {
    /// When its alarm rings, by the wall clock.
    pub(super) fn sleeps_until(&self) -> Option<Ms> {
        match self.cause {
            Some(PauseCause::Asleep(sleep)) => Some(since_beginning(sleep.until)),
            _ => None,
        }
    }

    /// The last input that is no news to a session which goes to sleep now.
    fn known_inputs(&self, run: &Alive) -> u64 {
        match run.in_hand.filter(|input| self.inbox.is_waiting(*input)) {
            Some(input) => run.began_with.max(input),
            None if run.progressed => self.inbox.consumed,
            None => run.began_with.max(self.inbox.consumed),
        }
    }
}

impl Reference {
    pub(super) const fn wall_now(&self) -> Ms {
        self.now + self.away
    }

    /// The run said that its session is to sleep. A person's word, which came before its end, wins.
    pub(super) fn fall_asleep(&mut self, who: Who, run: &Alive) -> bool {
        let Some(alarm) = run.alarm else { return false };
        let may_sleep = match run.intent {
            Intent::Run => !run.recalled,
            Intent::Pause(cause) => matches!(cause, PauseCause::Idle | PauseCause::Shutdown),
            Intent::RollOver | Intent::Silence => false,
        };
        if may_sleep {
            let known = self.sessions[who].known_inputs(run);
            let until = wall(alarm.at.max(self.wall_now() + SHORTEST));
            let sleep = Sleep { until, woken_after: alarm.woken_by_input.then_some(known) };
            self.rest(who, PauseCause::Asleep(sleep), Cause::FellAsleep);
            self.sessions[who].log.push(Line::FellAsleep(sleep));
        }
        may_sleep
    }

    /// Who sleeps, and when that is over.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (Ms, Who)> {
        let sleepers = self.present().filter(|_| self.fills_places);
        sleepers.filter_map(|(who, session)| {
            let at = session.sleeps_until()?;
            Some((at.saturating_sub(self.away).max(self.now), who))
        })
    }

    pub(in crate::model) fn who_sleeps(&self) -> Vec<Who> {
        let sleepers = self.present().filter(|(_, session)| session.sleeps_until().is_some());
        sleepers.map(|(who, _)| who).collect()
    }

    /// The alarm rings. Without a place the session waits for one, and has waited since now.
    pub(super) fn ring(&mut self, who: Who) {
        if self.is_place_free() {
            return self.begin(who, Cause::AlarmRang);
        }
        let session = &mut self.sessions[who];
        if let Some(asleep @ PauseCause::Asleep(_)) = session.cause {
            session.cause = Some(PauseCause::AlarmRang);
            session.since = self.now;
            session.log.push(Line::CauseChanged(asleep, PauseCause::AlarmRang));
            self.ready = true;
        }
    }

    /// Whether the alarm of a session is due.
    pub(super) fn rings(&self, who: Who) -> bool {
        let until = self.sessions[who].sleeps_until();
        until.is_some_and(|until| until <= self.wall_now())
    }

    /// Why a session begins to run that has waited, or slept.
    pub(super) fn why_wake(&self, who: Who) -> Cause {
        let session = &self.sessions[who];
        match session.cause {
            None => Cause::SlotFree,
            Some(PauseCause::AlarmRang) => Cause::AlarmRang,
            Some(_) if self.rings(who) => Cause::AlarmRang,
            Some(_) => Cause::InputArrived,
        }
    }
}
