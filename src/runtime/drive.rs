//! The work half of a run: one task that drives the workload, and then lets go of everything.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tracing::Instrument;

use super::{
    core::Core,
    live::{ActorLine, Live},
    op::Op,
    session::Message,
};
use crate::{model::snapshot::SnapshotEnvelope, telemetry, workload::erased::ErasedWorkload};

/// Spawns the task of a run. It tells the actor when the run is over and everything that it held
/// is let go; or the session's next keeper, if the actor has given it up.
pub(super) fn spawn(
    core: Arc<Core>,
    live: Arc<Live>,
    line: ActorLine,
    workload: Arc<dyn ErasedWorkload>,
    snapshot: Arc<SnapshotEnvelope>,
    grace: Duration,
) {
    let run = live.run().clone();
    let span = telemetry::run_span(run.session(), run.id(), snapshot.header.kind.as_str());
    let runtime = core.workloads.clone();
    let task = async move {
        let driven = Arc::clone(&workload).drive(run.clone(), snapshot).await;
        run.abort_tasks();
        let closing = async {
            let own = AssertUnwindSafe(async { workload.close(&run, &driven.end).await });
            let held = AssertUnwindSafe(async { run.close_held(&driven.end).await });
            let own = own.catch_unwind().await;
            let held = held.catch_unwind().await;
            own.is_ok() && held.is_ok()
        };
        // A little less than the grace, so that a clean-up that hangs is not taken for a run
        // that does.
        let limit = grace.mul_f64(0.9);
        match tokio::time::timeout(limit, closing).await {
            Ok(true) => {}
            Ok(false) => telemetry::clean_up_failed(run.session(), run.id(), "panicked"),
            Err(_) => telemetry::clean_up_failed(run.session(), run.id(), "took too long"),
        }
        if live.run_is_over() {
            // Where the actor is gone, the worker is too.
            let _ = line.send(Message::Over(driven));
        } else {
            core.route(run.session(), Op::Returned { run: run.id() });
        }
    };
    runtime.spawn(task.instrument(span));
}
