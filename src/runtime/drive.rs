//! The work half of a run: one task that drives the workload, and then lets go of everything.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{sync::oneshot, time::Instant};
use tracing::Instrument;

use super::{
    core::{Core, Life},
    live::{ActorLine, Live},
    op::Op,
    session::Message,
};
use crate::{
    faults::{self, Bug},
    model::{event::RunEnd, snapshot::SnapshotEnvelope},
    telemetry,
    workload::{
        Run,
        erased::{Driven, ErasedWorkload},
        panics::{guard, guard_clean_up, guard_future},
        threads::{UserCode, Watched},
    },
};

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
    let (runtime, threads) = (core.workloads.clone(), Arc::clone(&core.threads));
    let owner = Arc::clone(run.owner());
    let task = async move {
        let _dropped = Dropped(run.clone());
        let driving = Arc::clone(&workload).drive(run.clone(), snapshot);
        // Whatever the driving itself did not catch, such as the panic of an error that is shown.
        let driven = guard_future(driving)
            .await
            .unwrap_or_else(|message| Driven::ended(RunEnd::Panicked { message }));
        run.abort_tasks();
        // A little less than the grace, so that a clean-up that hangs is not taken for a run
        // that does; and declared, so that it is not taken for silence.
        let limit = grace.mul_f64(0.9);
        let _declared = run.busy_guard(limit);
        let leaves = driven.end == RunEnd::Yielded || driven.next.is_some();
        if leaves && run.may_leave() {
            core.keep_held(&run);
        }
        // Boxed, so that a run that works has no room for its clean-up.
        Box::pin(clean_up(&*workload, &run, &driven.end, limit)).await;
        if live.run_is_over() {
            // Where the actor is gone, the worker is too.
            let _ = line.send(Message::Over(Box::new(driven)));
        } else {
            Box::pin(returned(&core, &run)).await;
        }
    };
    runtime.spawn(Watched::new(&threads, &owner, task.instrument(span)));
}

/// Drops what the run still holds where its task is dropped: its runtime is gone, and a resource that has the run in it
/// would keep itself.
struct Dropped(Run);

impl Drop for Dropped {
    fn drop(&mut self) {
        while let Some(last) = self.0.let_go() {
            // Nobody is left to hear of a panic.
            let _ = guard(|| drop(last));
        }
    }
}

/// Calls the workload's own clean-up and closes what the run holds, the last first. Each may take
/// an equal part of the time that is left, so that one that hangs or panics leaves the others
/// theirs.
async fn clean_up(workload: &dyn ErasedWorkload, run: &Run, end: &RunEnd, limit: Duration) {
    let until = Instant::now() + limit;
    let mut next: BoxFuture<'_, ()> = Box::pin(async { workload.close(run, end).await });
    run.owner().set_code(UserCode::Close);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let others = u32::try_from(run.count_held()).unwrap_or(u32::MAX - 1);
        if let Err(mishap) = guard_clean_up(left / (others + 1), next).await {
            telemetry::clean_up_failed(run.owner(), mishap);
        }
        let Some(last) = run.let_go().filter(|_| !faults::planted(Bug::LeaveHeldOpen)) else {
            return;
        };
        run.owner().set_code(UserCode::CloseResource);
        next = Box::pin(async move { last.close(end).await });
    }
}

/// Says that an abandoned run has come back, until somebody has heard it.
async fn returned(core: &Core, run: &Run) {
    while core.life() != Life::Ended {
        let (done, heard) = oneshot::channel();
        core.route(run.session(), Op::Returned { run: run.id(), done });
        if heard.await.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
