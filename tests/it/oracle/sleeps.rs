//! A session sleeps because its workload said so, is woken by an input only where that was said too, and its alarm rings neither early
//! nor late.

use std::time::Duration;

use sessionkeeper::{Cause, EventRecord, Fact, Lifecycle, PauseCause, SessionId, Timestamp};

use super::{
    Calm, Found, Story,
    ledger::{Did, Entry, Ledger},
};

/// How late an alarm may ring where nothing went wrong; and where the wall clock jumped, which is looked at only now and then.
const LATE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(35)];

pub(super) fn judge(found: &Found, ledger: &Ledger, calm: &Calm, wrong: &mut Vec<String>) {
    for (session, story) in found.stories() {
        if let Some(what) = contradicts(found, session, story, ledger) {
            wrong.push(format!("session {session}: {what}"));
        }
    }
    for sleep in Slept::all(found) {
        if let Some(what) = sleep.oversleeps(calm) {
            wrong.push(format!("session {}: {what}", sleep.session));
        }
    }
}

/// A time in which a session slept, by the numbers of events in the log of all sessions.
struct Slept {
    session: SessionId,
    until: Timestamp,
    /// When it fell asleep, and when something else was so.
    from: u64,
    to: Option<u64>,
}

impl Slept {
    fn all(found: &Found) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for ((session, event), number) in found.history.iter().zip(1..) {
            let Fact::Lifecycle(what) = &event.fact else { continue };
            let mut present = all.iter_mut().rfind(|slept| slept.session == *session);
            match what {
                Lifecycle::FellAsleep(sleep) => {
                    let (session, until) = (*session, sleep.until);
                    all.push(Self { session, until, from: number, to: None });
                }
                Lifecycle::StateChanged { .. }
                | Lifecycle::PauseCauseChanged { .. }
                | Lifecycle::Deleted { .. } => {
                    if let Some(present) = &mut present {
                        present.to.get_or_insert(number);
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// Whether it slept on for long after its alarm was due, though nothing hindered the worker.
    fn oversleeps(&self, calm: &Calm) -> Option<String> {
        let late = calm.lasting(LATE, |_, moment| {
            let slept = moment.events >= self.from && self.to.is_none_or(|to| moment.events < to);
            slept && moment.wall >= self.until
        })?;
        Some(format!("it was to sleep until {}, and slept at {late:?}", self.until))
    }
}

/// Whether a session is a fork that had not run yet, of one which was to sleep until the same time.
fn sleeps_as_its_parent(found: &Found, fork: &Story, fell: &EventRecord, until: Timestamp) -> bool {
    let has_run = fork.log.iter().any(|at| at.sequence < fell.sequence && at.run.is_some());
    let parent = fork.lifecycle().find_map(|(_, what)| match what {
        Lifecycle::Forked(forked) => found.story(forked.from.session),
        _ => None,
    });
    let mut slept = parent.into_iter().flat_map(Story::lifecycle);
    !has_run
        && slept
            .any(|(_, what)| matches!(what, Lifecycle::FellAsleep(sleep) if sleep.until == until))
}

fn contradicts(
    found: &Found,
    session: SessionId,
    story: &Story,
    ledger: &Ledger,
) -> Option<String> {
    let (mut asleep, mut has_rung) = (None, false);
    for (event, what) in story.lifecycle() {
        match what {
            Lifecycle::FellAsleep(sleep) => {
                let went = ledger.0.iter().any(|entry| {
                    matches!(entry, Entry::Run { session: of, did: Did::Sleep, .. } if *of == session)
                });
                if !went && !sleeps_as_its_parent(found, story, event, sleep.until) {
                    return Some(format!("it did not go to sleep, and {event:?}"));
                }
                (asleep, has_rung) = (Some(*sleep), false);
            }
            Lifecycle::StateChanged { cause: Cause::InputArrived, .. } => {
                let sleep = asleep.take();
                if sleep.is_some_and(|sleep| sleep.woken_after.is_none()) {
                    return Some(format!("no input was to wake it, and {event:?}"));
                }
            }
            Lifecycle::StateChanged { cause: Cause::AlarmRang, .. }
            | Lifecycle::PauseCauseChanged { to: PauseCause::AlarmRang, .. }
                if !has_rung && asleep.is_some_and(|sleep| event.at < sleep.until) =>
            {
                return Some(format!("it was to sleep until {asleep:?}, and {event:?}"));
            }
            Lifecycle::StateChanged { cause: Cause::AlarmRang, .. } if asleep.is_none() => {
                return Some(format!("it did not sleep, and {event:?}"));
            }
            // It may have to wait for its place, and has rung though the clock be set back.
            Lifecycle::PauseCauseChanged { to: PauseCause::AlarmRang, .. } => has_rung = true,
            // A person's pause takes the alarm back.
            Lifecycle::StateChanged { .. } => asleep = None,
            _ => {}
        }
    }
    None
}
