//! The one timer of an actor. It is lazy: it only ever moves to an earlier time, and when it
//! rings too early it is simply set again.
//!
//! Before it rings it looks at the run itself, and cancels one that is silent: that is behind no
//! message and no commit, however many sessions are silent at once.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{Message, vigil::verdict};
use crate::{
    faults::{self, Bug},
    model::time::WorkerTime,
    policy::{Policy, liveness::Verdict},
    runtime::live::Live,
    workload::Ask,
};

/// A timer that sends [`Message::Alarm`].
#[derive(Default)]
pub(super) struct Alarm {
    set: Option<(WorkerTime, JoinHandle<()>)>,
}

impl Alarm {
    /// Rings at a moment or earlier.
    pub(super) fn set(&mut self, live: &Arc<Live>, policy: &Arc<Policy>, at: Option<WorkerTime>) {
        let Some(at) = at else {
            return;
        };
        if self.set.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        self.off();
        let (live, policy) = (Arc::clone(live), Arc::clone(policy));
        // Without a call of another future, which would take more room in every idle session.
        let timer = tokio::spawn(async move {
            while let Some(rest) = live.run().rest_until(at) {
                tokio::time::sleep(rest).await;
            }
            if call_if_silent(&live, &policy) {
                // All that are silent at this moment are called so first: what follows takes longer.
                tokio::task::yield_now().await;
            }
            // An actor that is gone needs no alarm.
            let _ = live.line().send(Message::Alarm);
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

/// Calls a run silent that is, and cancels it. Its actor does the rest.
fn call_if_silent(live: &Live, policy: &Policy) -> bool {
    let silent = verdict(live.run().now(), live, policy) == Verdict::Silent && live.call_silent();
    if silent {
        live.run().set_ask(Ask::Cancel);
    }
    silent
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.off();
    }
}
