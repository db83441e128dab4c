//! Races that were lost once, each in the one order in which it was.

use std::{future::Future, sync::Arc, time::Duration};

use sessionkeeper::{Activity, Labels, OnIdle, State};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};

use super::{MS, Race, SECOND, quiet, soon, turn};

fn on_paused_time<F: Future>(race: impl FnOnce(Arc<Race>) -> F) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(race(Arc::new(Race::new(0, false))));
}

/// Lets the tasks of a runtime go on for a while.
fn go_on(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..100 {
            yield_now().await;
        }
    });
}

/// G6: an input was accepted and given to the run; before its thread came to it, the session
/// expired for having nothing to do.
#[test]
fn g6_an_input_that_waits_for_a_thread_is_something_to_do() {
    let limit = SECOND * 60;
    let control = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let workloads = Builder::new_current_thread().enable_time().build().unwrap();
    let race = Race::new(0, false);
    let policy = quiet(|policy| policy.idle_timeout(limit).on_idle(OnIdle::Expire));
    let (worker, session) = control.block_on(async {
        let worker = race
            .worker(|builder| builder.policy(policy).workload_runtime(workloads.handle().clone()))
            .await;
        let session = race.session(&worker, |start| start).await;
        tokio::time::sleep(MS).await;
        (worker, session)
    });
    go_on(&workloads);
    control.block_on(async {
        race.idle(&session).await;
        session.send(turn(Duration::ZERO)).await.unwrap();
        tokio::time::sleep(limit * 3).await;
        let status = session.status().await.unwrap();
        assert_eq!(status.state(), State::Active);
        assert_ne!(*status.activity(), Activity::Idle);
    });
    go_on(&workloads);
    control.block_on(async {
        race.until(&session, |status| status.record().inbox.waiting() == 0).await;
        tokio::time::sleep(limit + SECOND).await;
        assert_eq!(session.status().await.unwrap().state(), State::Expired, "now it has nothing");
        drop(worker);
    });
}

/// G10: a request to a session that was paused, under way when the shutdown began, made a line in
/// its report; and one that came late to a session that was active made a second one.
#[test]
fn g10_a_request_makes_no_line_in_the_report_of_a_shutdown() {
    on_paused_time(async |race| {
        let worker = race.worker(|builder| builder.policy(quiet(|policy| policy))).await;
        let session = race.session(&worker, |start| start).await;
        race.idle(&session).await;
        soon(session.pause()).await.unwrap();
        let asked = session.set_labels(Labels::default());
        let (asked, report) = soon(async { tokio::join!(asked, worker.shutdown(SECOND)) }).await;
        asked.unwrap();
        assert!(report.lines.is_empty(), "{report}");
    });
}
