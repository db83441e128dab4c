//! The workload of the races.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{Context, Outcome, SessionId, Workload, WorkloadError};

/// Adds its inputs to a list, as each of them says. Never yields in the middle of a turn.
#[derive(Clone, Default)]
pub(crate) struct Racer {
    running: Arc<Mutex<BTreeSet<SessionId>>>,
    twice: Arc<AtomicU32>,
}

/// An input: how long it takes, and what then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) takes: Duration,
    pub(crate) then: Then,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Then {
    /// The number of the input is added to the state.
    Add,
    /// The run fails, at the first attempt.
    FailOnce,
    /// The session completes.
    Complete,
}

impl Racer {
    /// How often a run began while another of its session was alive.
    pub(crate) fn twice(&self) -> u32 {
        self.twice.load(Ordering::SeqCst)
    }

    /// How many runs are alive.
    pub(crate) fn alive(&self) -> usize {
        self.running.lock().unwrap().len()
    }
}

struct Alive<'a>(&'a Racer, SessionId);

impl<'a> Alive<'a> {
    fn new(racer: &'a Racer, session: SessionId) -> Self {
        if !racer.running.lock().unwrap().insert(session) {
            racer.twice.fetch_add(1, Ordering::SeqCst);
        }
        Self(racer, session)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().remove(&self.1);
    }
}

impl Workload for Racer {
    const KIND: &'static str = "racer";
    const STATE_VERSION: u32 = 1;
    type State = Vec<u64>;
    type Input = Turn;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let _alive = Alive::new(self, cx.session());
        while let Some(input) = cx.next_input().await? {
            if !input.takes.is_zero() {
                tokio::time::sleep(input.takes).await;
            }
            match input.then {
                Then::Add => cx.state_mut().push(input.sequence()),
                Then::FailOnce if input.attempt() == 1 => return Err("told to fail".into()),
                Then::FailOnce => cx.state_mut().push(input.sequence()),
                Then::Complete => {
                    cx.state_mut().push(input.sequence());
                    return Ok(Outcome::Completed);
                }
            }
        }
        Ok(Outcome::Yielded)
    }
}
