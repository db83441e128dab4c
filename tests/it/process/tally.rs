//! The workload of the children: it keeps a list of every input that had its effect, and says
//! what it does. Facts are said before they are recorded, since a kill may come in between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Context, Event, Outcome, Run, RunEnd, SnapshotRef, Usage, Workload, WorkloadError,
};

use super::line::enter;
use crate::oracle::ledger::{Did, Entry};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// The number and tag of each input that had its effect, in order.
    applied: Vec<(u64, u64)>,
    /// An input that is half done.
    half: Option<u64>,
    /// Makes the state as large as it is told to be.
    pad: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Different for each input of a test.
    pub(crate) tag: u64,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Nothing,
    Pad(usize),
    Emit(u32),
    Spend(u64),
    Checkpoint,
    /// Saves in the middle of the turn.
    Halves,
    /// Fails after the effect, on the first attempt.
    Fail,
    /// The same, by a panic.
    Panic,
    Sleep(Duration),
    Complete,
}

pub(crate) struct Teller;

impl Workload for Teller {
    const KIND: &'static str = "teller";
    const STATE_VERSION: u32 = 1;
    type State = Tally;
    type Input = Job;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let said = Said::begin(cx);
        let mut emitted = 0;
        while let Some(job) = cx.next_input().await? {
            let (input, attempt) = (job.sequence(), job.attempt());
            let Job { tag, work } = job.into_inner();
            said.did(Did::Take { input, attempt, tag });
            match work {
                Work::Emit(count) => {
                    for _ in 0..count {
                        emitted += 1;
                        said.did(Did::Emit(emitted));
                        cx.emit(Event::custom("n", emitted)).await?;
                    }
                }
                Work::Spend(tokens) => {
                    said.did(Did::Spend(tokens));
                    cx.record_usage(Usage::tokens(tokens, 1));
                }
                Work::Halves if cx.state().half != Some(tag) => {
                    cx.state_mut().half = Some(tag);
                    said.committed(cx.save_progress().await?);
                }
                Work::Sleep(span) => tokio::time::sleep(span).await,
                Work::Pad(bytes) => cx.state_mut().pad = "x".repeat(bytes),
                Work::Nothing
                | Work::Checkpoint
                | Work::Halves
                | Work::Fail
                | Work::Panic
                | Work::Complete => {}
            }
            cx.state_mut().half = None;
            cx.state_mut().applied.push((input, tag));
            match work {
                Work::Fail if attempt == 1 => return Err("told to fail".into()),
                Work::Panic => assert!(attempt > 1, "told to panic"),
                Work::Checkpoint => said.committed(cx.checkpoint().await?),
                Work::Complete => return Ok(Outcome::Completed),
                _ => {}
            }
        }
        Ok(Outcome::Yielded)
    }

    async fn close(&self, run: &Run, _: &RunEnd) {
        let did = |did| enter(Entry::Run { session: run.session(), run: run.id(), did });
        did(Did::BeginClose);
        tokio::task::yield_now().await;
        did(Did::EndClose);
    }
}

/// Says what a run does; that it ends, where this is dropped.
struct Said(Run);

impl Said {
    fn begin(cx: &Context<Teller>) -> Self {
        let said = Self(cx.run().clone());
        said.did(Did::Begin);
        said
    }

    fn did(&self, did: Did) {
        enter(Entry::Run { session: self.0.session(), run: self.0.id(), did });
    }

    fn committed(&self, at: SnapshotRef) {
        self.did(Did::Commit { sequence: at.sequence, consumed: at.consumed });
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.did(Did::End);
    }
}
