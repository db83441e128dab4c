//! The end of a worker within a budget: ask everybody to yield, cancel who does not, abandon who
//! cannot be cancelled, and say what became of each.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    core::{Core, Life},
    supervisor::{Drained, Message},
};
use crate::faults::{self, Bug};

/// How long past a tiny budget the report may take to be put together.
const LAST_WORD: Duration = Duration::from_millis(50);

/// More than this is no budget; and the end of time cannot be added to.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// How the budget is spent. The last parts are small, and never more than is left.
struct Schedule {
    cancel: Instant,
    abandon: Instant,
    conclude: Instant,
    close: Instant,
    end: Instant,
}

impl Schedule {
    fn of(budget: Duration) -> Self {
        let budget = budget.min(LONGEST);
        let end = Instant::now() + budget;
        // What it takes to cancel, to commit what became of the cancelled, and to close.
        let part = |share: f64, most: Duration| budget.mul_f64(share).min(most);
        let close = end - part(0.02, Duration::from_millis(200));
        let conclude = end - part(0.05, Duration::from_millis(500));
        let abandon = conclude - part(0.10, Duration::from_secs(1));
        let cancel = abandon - part(0.20, Duration::from_secs(4));
        Self { cancel, abandon, conclude, close, end }
    }

    fn until_cancel(&self) -> Duration {
        self.cancel.saturating_duration_since(Instant::now())
    }
}

/// Ends the worker. Called once; the façade shares its result.
pub(crate) async fn shut_down(core: Arc<Core>, budget: Duration) -> Vec<Drained> {
    let schedule = Schedule::of(budget);
    // A shutdown happens once.
    let _ = core.cancels_at.set(core.clock.worker().after(schedule.until_cancel()));
    core.set_life(Life::Draining);
    core.close_agenda();
    let paused = Arc::clone(&core);
    let letting_go = tokio::spawn(async move { paused.close_all_held().await });
    let (done, drained) = oneshot::channel();
    core.tell(Message::Drain { done });
    let mut drained = std::pin::pin!(drained);
    let mut result = None;
    for (until, message) in [
        (schedule.cancel, Some(Message::Cancel)),
        (schedule.abandon, Some(Message::Abandon)),
        (schedule.conclude, Some(Message::Conclude)),
        (schedule.end, None),
    ] {
        tokio::select! {
            biased;
            answer = &mut drained => {
                // None comes where the worker was lost meanwhile.
                result = Some(answer.unwrap_or_default());
                break;
            }
            () = tokio::time::sleep_until(until) => {
                if let Some(message) = message {
                    core.tell(message);
                }
            }
        }
    }
    let result = match result {
        Some(drained) => drained,
        // The last word of the supervisor is under way; it waits for nobody.
        None => match tokio::time::timeout(LAST_WORD, drained).await {
            Ok(Ok(drained)) => drained,
            Ok(Err(_)) | Err(_) => Vec::new(),
        },
    };
    let close = async {
        // What sessions held that were paused before, and while others were asked to yield.
        let _ = letting_go.await;
        core.close_all_held().await;
        core.checkpointer.flush().await;
        // Whoever follows the log can see how it ended.
        core.read_log().await;
        // They may take what is left of the budget, but for what it takes to close.
        let _ = tokio::time::timeout_at(schedule.close, core.finish_readers()).await;
        if let Some(store) = core.release_store() {
            // Everything acknowledged is durable already; the next open shows any trouble.
            let _ = store.close().await;
        }
    };
    let over = Duration::from_secs(if faults::planted(Bug::OverrunBudget) { 60 } else { 0 });
    let _ = tokio::time::timeout_at(schedule.end + over, close).await;
    core.crash();
    result
}
