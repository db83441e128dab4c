//! A session sleeps because its workload said so, and is woken by an input only where that was said too.

use sessionkeeper::{Cause, Lifecycle, SessionId};

use super::{
    Found, Story,
    ledger::{Did, Entry, Ledger},
};

pub(super) fn judge(found: &Found, ledger: &Ledger, wrong: &mut Vec<String>) {
    for (session, story) in found.stories() {
        if let Some(what) = contradicts(session, story, ledger) {
            wrong.push(format!("session {session}: {what}"));
        }
    }
}

fn contradicts(session: SessionId, story: &Story, ledger: &Ledger) -> Option<String> {
    let mut asleep = None;
    for (event, what) in story.lifecycle() {
        match what {
            Lifecycle::FellAsleep(sleep) => {
                let went = ledger.0.iter().any(|entry| {
                    matches!(entry, Entry::Run { session: of, did: Did::Sleep, .. } if *of == session)
                });
                if !went {
                    return Some(format!("it did not go to sleep, and {event:?}"));
                }
                asleep = Some(*sleep);
            }
            Lifecycle::StateChanged { cause: Cause::InputArrived, .. } => {
                let sleep = asleep.take();
                if sleep.is_some_and(|sleep| sleep.woken_after.is_none()) {
                    return Some(format!("no input was to wake it, and {event:?}"));
                }
            }
            Lifecycle::StateChanged { cause: Cause::AlarmRang, .. } if asleep.is_none() => {
                return Some(format!("it did not sleep, and {event:?}"));
            }
            // A person's pause takes the alarm back; one that has rung may wait for its place.
            Lifecycle::StateChanged { .. } => asleep = None,
            _ => {}
        }
    }
    None
}
