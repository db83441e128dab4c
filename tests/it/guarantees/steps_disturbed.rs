//! Steps beside what else may happen to a session: a stop, a failing store, a fence, damage.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::FutureExt;
use sessionkeeper::{
    PauseCause, Policy, SessionError, StepError, StepProgress, Turn,
    store::{MemoryStore, Part, Store},
    testing::{Call, Interference},
};

use super::{
    g4_steps::consumed,
    kit::{Custom, OwnRuntime, custom, custom_with, next, secs, start_on, tap, until},
    steps::{Notes, done, notes, noting},
};

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_also_while_a_stop_or_a_pause_is_under_way() {
    for stop in [true, false] {
        let seen = Notes::default();
        let calls = Arc::new(AtomicU32::new(0));
        let called = Arc::clone(&calls);
        let workload = noting(&seen, move |cx, _| {
            let called = Arc::clone(&called);
            async move {
                let call = async |_| {
                    called.fetch_add(1, Ordering::SeqCst);
                    cx.yield_requested().await;
                    tokio::time::sleep(secs(3)).await;
                    done(5).await
                };
                let result = cx.step("slow", call).await?;
                // Not at rest: the turn is cut short.
                if cx.is_yield_requested() {
                    pending::<()>().await;
                }
                Ok(result.to_string())
            }
            .boxed()
        });
        let worker = start_on(MemoryStore::new(), workload, |b| b).await;
        let session = custom_with(&worker, 1).await;
        tokio::time::sleep(secs(1)).await;
        if stop {
            session.stop().await.unwrap().ended().await.unwrap();
        } else {
            session.pause().await.unwrap();
        }
        session.resume().await.unwrap();
        consumed(&session).await;
        assert_eq!((notes(&seen), calls.load(Ordering::SeqCst)), (vec!["5".to_owned()], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_for_a_failing_store_and_is_not_silent_meanwhile() {
    let seen = Notes::default();
    let tap = tap();
    let breaking = tap.clone();
    let workload = noting(&seen, move |cx, _| {
        let tap = breaking.clone();
        async move {
            next(&tap, 200, Call::Commit, Interference::Fail);
            let call = async |_| {
                next(&tap, 200, Call::Commit, Interference::Fail);
                done(5).await
            };
            let before = cx.now();
            let result = cx.step("slow", call).await?;
            assert!(cx.now().since(before) > secs(60), "it did not wait");
            Ok(result.to_string())
        }
        .boxed()
    });
    let policy = Policy::builder().heartbeat_timeout(secs(5)).build().unwrap();
    let worker = start_on(tap, workload, |b| b.policy(policy)).await;
    let session = custom_with(&worker, 1).await;
    consumed(&session).await;
    assert_eq!(notes(&seen), ["5"]);
    assert_eq!(session.status().await.unwrap().record().runs.count, 1);
}

#[tokio::test(start_paused = true)]
async fn g3_a_stale_run_can_neither_begin_nor_finish_a_step() {
    let own = OwnRuntime::new();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (gate, tried) = (Arc::new(Mutex::new(Some(gate))), Notes::default());
    let trying = Arc::clone(&tried);
    let seen = Notes::default();
    let workload = noting(&seen, move |cx, _| {
        let (gate, tried) = (Arc::clone(&gate), Arc::clone(&trying));
        async move {
            let call = async |_| {
                let gate = gate.lock().unwrap().take();
                if let Some(gate) = gate {
                    tried.lock().unwrap().push("blocked".to_owned());
                    let _ = gate.recv();
                }
                done(1).await
            };
            let finished = cx.step("blocking", call).await;
            if let Err(StepError::Interrupted(_)) = finished {
                return Ok("interrupted".to_owned());
            }
            let begun = cx.step("another", async |_| done(2).await).await;
            tried.lock().unwrap().push(format!(
                "{} {}",
                matches!(finished, Err(StepError::Fenced { .. })),
                matches!(begun, Err(StepError::Fenced { .. })),
            ));
            Ok("stale".to_owned())
        }
        .boxed()
    });
    let tap = tap();
    let worker =
        start_on(tap.clone(), workload.clone(), |b| b.workload_runtime(own.handle())).await;
    let session = custom_with(&worker, 1).await;
    until("it blocks", || tried.lock().unwrap().len() == 1).await;
    session.pause().await.unwrap();
    drop(worker);
    let worker = start_on(tap.inner().clone(), workload, |b| b).await;
    worker.recovered().await.unwrap();
    let session: sessionkeeper::SessionHandle<Custom> =
        worker.session(session.id()).await.unwrap().typed().unwrap();
    drop(open);
    until("the stale run has tried", || tried.lock().unwrap().len() == 2).await;
    assert_eq!(tried.lock().unwrap()[1], "true true");
    let _ = session.resume().await;
    consumed(&session).await;
    assert_eq!(notes(&seen).last().map(String::as_str), Some("interrupted"));
}

/// A task that nobody ends has a step in hand while its session is completed from outside.
#[tokio::test(start_paused = true)]
async fn g3_a_session_that_has_ended_records_nothing_more_of_its_steps() {
    let came = Arc::new(Mutex::new(None));
    let coming = Arc::clone(&came);
    let workload = Custom::new(move |cx| {
        let (run, came) = (cx.run().clone(), Arc::clone(&coming));
        Box::pin(async move {
            tokio::spawn(async move {
                let slow = async |_| {
                    tokio::time::sleep(secs(2)).await;
                    done(1).await
                };
                let finished = run.step("slow", slow).await;
                *came.lock().unwrap() = Some(finished);
            });
            pending().await
        })
    })
    .closing(|_, _| Box::pin(tokio::time::sleep(secs(3))));
    let store = MemoryStore::new();
    let worker = start_on(store.clone(), workload, |b| b).await;
    let session = custom(&worker).await;
    tokio::time::sleep(secs(1)).await;
    session.complete().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    let came = came.lock().unwrap().take().expect("an answer");
    assert!(matches!(came, Err(StepError::Fenced { .. })), "{came:?}");
    let steps = store.steps(session.id(), Turn::default()).await.unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].progress, StepProgress::Begun);
}

/// A damaged step is not taken for one that was never begun.
#[tokio::test(start_paused = true)]
async fn g8_steps_that_cannot_be_read_are_no_reason_to_take_them_again() {
    let calls = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&calls);
    let workload = noting(&Notes::default(), move |cx, _| {
        let called = Arc::clone(&called);
        async move {
            cx.step("one", async |_| done(called.fetch_add(1, Ordering::SeqCst).into()).await)
                .await?;
            pending().await
        }
        .boxed()
    });
    let store = MemoryStore::new();
    let worker = start_on(store.clone(), workload.clone(), |b| b).await;
    let session = custom_with(&worker, 1).await;
    let other = custom(&worker).await;
    tokio::time::sleep(secs(1)).await;
    drop(worker);
    store.damage(session.id(), Part::Steps(sessionkeeper::Turn::of_input(1)));
    let worker = start_on(store, workload, |b| b).await;
    let report = worker.recovered().await.unwrap();
    let (id, error) = &report.failed[0];
    assert_eq!(*id, session.id());
    let SessionError::Unreadable { reason, .. } = error else { panic!("{error}") };
    assert!(reason.contains("(step)"), "{reason}");
    assert!(report.resumed.contains(&other.id()), "{report:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let session = worker.session(session.id()).await.unwrap();
    let status = session.status().await.unwrap();
    assert_ne!(status.pause_cause(), Some(PauseCause::Idle));
    let _ = session.resume().await.unwrap_err();
}
