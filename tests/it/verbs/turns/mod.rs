//! Inputs that do not wait their turn, and turns that are cut short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Backoff, BusyError, Context, Outcome, Policy, RestartPolicy, Rollover, SessionHandle, Start,
    Workload, WorkloadError,
    store::MemoryStore,
    testing::{Harness, audit},
};

use super::HANGS;

mod crashes;
mod interrupt;
mod rollover;
mod urgent;

/// Does what its inputs say, and keeps a diary as its state: `7` for input 7, `7@2` for its second
/// attempt, and what came of it.
#[derive(Clone, Default)]
struct Diarist {
    /// How often its step was called.
    steps: Arc<AtomicU32>,
}

/// What a diarist is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Tell {
    Note,
    /// Deaf to everything, for this long.
    Deaf(Duration),
    /// Busy, and says how that ended.
    Busy(Duration),
    /// Busy, and returns how that ended where it failed.
    BusyOrReturn(Duration),
    /// A step, and then busy.
    StepThenBusy(Duration),
    /// Asks, and waits for an answer.
    Ask,
    /// Asks, gets an answer, and panics on the first attempt.
    AskThenPanic,
    /// Asks, gets an answer, saves that, and panics on the first attempt.
    AskThenSaveAndPanic,
    /// Asks, gets an answer, and is busy.
    AskThenBusy(Duration),
    /// Asks again and again, in a hurry.
    AskInAHurry,
    Answer,
    /// Rolls the session over, to an empty diary.
    Clear,
}

impl Workload for Diarist {
    const KIND: &'static str = "diarist";
    const STATE_VERSION: u32 = 1;
    type State = Vec<String>;
    type Input = Tell;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(input) = cx.next_input().await? {
            let (number, attempt) = (input.sequence(), input.attempt());
            cx.state_mut().push(entry("", number, attempt));
            match *input {
                Tell::Note | Tell::Answer => {}
                Tell::Clear => return Ok(cx.rollover(Rollover::new(Vec::new()))),
                Tell::Deaf(span) => tokio::time::sleep(span).await,
                Tell::Busy(span) => busy(cx, span).await,
                Tell::BusyOrReturn(span) => cx.busy(HANGS, tokio::time::sleep(span)).await?,
                Tell::StepThenBusy(span) => {
                    let call = async |_| {
                        self.steps.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, WorkloadError>(())
                    };
                    cx.step("once", call).await?;
                    busy(cx, span).await;
                }
                Tell::Ask => {
                    if !ask(cx).await? {
                        return Ok(Outcome::Yielded);
                    }
                }
                Tell::AskThenPanic => {
                    ask(cx).await?;
                    assert!(attempt > 1, "told to panic");
                }
                Tell::AskThenSaveAndPanic => {
                    if attempt == 1 {
                        ask(cx).await?;
                        cx.save_progress().await?;
                        panic!("told to panic");
                    }
                }
                Tell::AskThenBusy(span) => {
                    ask(cx).await?;
                    busy(cx, span).await;
                }
                Tell::AskInAHurry => loop {
                    let answer = cx.take_input_if(|input| *input == Tell::Answer);
                    if let Ok(answer) = tokio::time::timeout(Duration::from_millis(1), answer).await
                    {
                        let answer = answer?.expect("nobody asks it to yield");
                        let taken = entry("took ", answer.sequence(), answer.attempt());
                        cx.state_mut().push(taken);
                        break;
                    }
                },
            }
        }
        Ok(Outcome::Yielded)
    }
}

fn entry(what: &str, number: u64, attempt: u32) -> String {
    if attempt == 1 { format!("{what}{number}") } else { format!("{what}{number}@{attempt}") }
}

async fn busy(cx: &mut Context<Diarist>, span: Duration) {
    let ended = match cx.busy(HANGS, tokio::time::sleep(span)).await {
        Ok(()) => "done",
        Err(BusyError::Interrupted) => "cut",
        Err(BusyError::Lapsed { .. }) => "lapsed",
    };
    cx.state_mut().push(ended.to_owned());
}

/// Waits for an answer; `false` where the run is to yield.
async fn ask(cx: &mut Context<Diarist>) -> Result<bool, WorkloadError> {
    let _waiting = cx.awaiting("an answer");
    let answer = cx.take_input_if(|input| *input == Tell::Answer).await?;
    let taken = match &answer {
        Some(answer) => {
            assert!(answer.is_urgent());
            entry("took ", answer.sequence(), answer.attempt())
        }
        None if cx.is_yield_requested() => return Ok(false),
        None => "cut".to_owned(),
    };
    cx.state_mut().push(taken);
    Ok(true)
}

/// A worker whose sessions go on at once whatever fails.
struct Stage {
    harness: Harness,
    diarist: Diarist,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|policy| policy).await
    }

    async fn with(
        set: impl Fn(sessionkeeper::PolicyBuilder) -> sessionkeeper::PolicyBuilder,
    ) -> Self {
        let restart = RestartPolicy {
            max_restarts: 1000,
            max_without_checkpoint: 1000,
            backoff: Backoff::NONE,
            ..RestartPolicy::default()
        };
        let policy = set(Policy::builder().restart(restart)).build().unwrap();
        let diarist = Diarist::default();
        let workload = diarist.clone();
        let harness = Harness::start(move |builder| {
            builder.workload(workload.clone()).policy(policy.clone())
        })
        .await;
        Self { harness, diarist }
    }

    fn store(&self) -> &MemoryStore {
        self.harness.place()
    }

    /// A session that has been told this.
    async fn told(&self, inputs: &[Tell]) -> SessionHandle<Diarist> {
        let start = Start::<Diarist>::new(Vec::new());
        let session = self.harness.supervisor().start(start).await.unwrap().into_handle();
        for input in inputs {
            session.send(*input).await.unwrap();
        }
        // Its run comes to its first turn.
        tokio::time::sleep(Duration::from_millis(10)).await;
        session
    }

    async fn crash(&mut self, session: &SessionHandle<Diarist>) -> SessionHandle<Diarist> {
        self.harness.crash_and_reopen().await;
        self.harness.again(session).await
    }

    /// Waits until all is worked off, looks the store through, and gives the diary.
    async fn diary(&self, session: &SessionHandle<Diarist>) -> Vec<String> {
        let diary = self.harness.drained(session).await;
        assert_eq!(audit(self.store()).await, []);
        diary
    }
}
