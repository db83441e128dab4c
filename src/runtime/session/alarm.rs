//! The one timer of an actor. It is lazy: it only ever moves to an earlier time, and when it
//! rings too early it is simply set again.

use tokio::task::JoinHandle;

use super::{ActorLine, Message};
use crate::{
    clock::Clock,
    faults::{self, Bug},
    model::time::WorkerTime,
};

/// A timer that sends [`Message::Alarm`].
pub(super) struct Alarm {
    line: ActorLine,
    set: Option<(WorkerTime, JoinHandle<()>)>,
}

impl Alarm {
    pub(super) const fn new(line: ActorLine) -> Self {
        Self { line, set: None }
    }

    /// The way to the actor.
    pub(super) fn line(&self) -> ActorLine {
        self.line.clone()
    }

    /// Rings at a moment or earlier.
    pub(super) fn set(&mut self, clock: &Clock, at: Option<WorkerTime>) {
        let Some(at) = at else {
            return;
        };
        if self.set.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        self.off();
        let clock = clock.clone();
        let line = self.line.clone();
        // Without a call of another future, which would take more room in every idle session.
        let timer = tokio::spawn(async move {
            while let Some(rest) = clock.rest_until(at) {
                tokio::time::sleep(rest).await;
            }
            // An actor that is gone needs no alarm.
            let _ = line.send(Message::Alarm);
        });
        self.set = Some((at, timer));
    }

    /// It has rung.
    pub(super) fn rang(&mut self) {
        if faults::planted(Bug::RingOnce) {
            return;
        }
        self.set = None;
    }

    /// Does not ring any more.
    pub(super) fn off(&mut self) {
        if let Some((_, timer)) = self.set.take() {
            timer.abort();
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.off();
    }
}
