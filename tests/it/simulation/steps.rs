//! The steps of the workload of the simulation.

use sessionkeeper::{Run, StepError, WorkloadError};

use super::player::disturb;
use crate::oracle::ledger::{Book, Did};

/// Takes some steps, two at a time, and fails after them, once. Tells the ledger of each call and each result.
///
/// What a step gives is known from the tag of its input, which stays the same where an input is moved to a successor.
pub(super) async fn take(
    book: &Book,
    run: &Run,
    (input, attempt, tag): (u64, u32, u64),
    count: u64,
) -> Result<(), WorkloadError> {
    for first in (0..count * 2).step_by(2) {
        let one = |step| take_one(book, run, (input, step), tag + step);
        let (one, other) = tokio::join!(one(first), one(first + 1));
        one?;
        other?;
        disturb().await?;
    }
    if attempt == 1 { Err("told to fail after its steps".into()) } else { Ok(()) }
}

async fn take_one(
    book: &Book,
    run: &Run,
    (input, step): (u64, u64),
    gives: u64,
) -> Result<(), WorkloadError> {
    let tell = |did| book.run(run.session(), run.id(), did);
    let call = async |told| {
        tell(Did::Call { input, step, told });
        match disturb().await {
            Ok(()) => Ok(gives),
            Err(error) => {
                tell(Did::CallFailed { input, step });
                Err(error)
            }
        }
    };
    let key = step.to_string();
    let given = match run.step(&key, async |_| call(false).await).await {
        Err(StepError::Interrupted(_)) => run.retry_step(&key, async |_| call(true).await).await,
        Err(StepError::Failed(_)) => run.step(&key, async |_| call(false).await).await,
        given => given,
    }?;
    tell(Did::Given { input, step });
    if given == gives { Ok(()) } else { Err(format!("step {step} gave {given}").into()) }
}
