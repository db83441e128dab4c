//! Steps: what a call of one gives, and what is left of it however it ends.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use sessionkeeper::{
    Context, Outcome, Policy, State, StepError, WorkloadError, store::MemoryStore,
};

use super::{
    g4_steps::consumed,
    kit::{Custom, Ran, custom, custom_with, restarting, secs, start_on, tireless},
};

/// What was seen in the runs of a test.
pub(super) type Notes = Arc<Mutex<Vec<String>>>;

pub(super) fn notes(of: &Notes) -> Vec<String> {
    of.lock().unwrap().clone()
}

pub(super) type Done = Result<u64, WorkloadError>;

pub(super) async fn done(result: u64) -> Done {
    Ok(result)
}

/// A workload whose runs do something with each input, and note what comes of it.
pub(super) fn noting<F>(notes: &Notes, body: F) -> Custom
where
    F: for<'a> Fn(&'a mut Context<Custom>, u64) -> BoxFuture<'a, Result<String, WorkloadError>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let notes = Arc::clone(notes);
    Custom::new(move |cx| {
        let (notes, body) = (Arc::clone(&notes), body.clone());
        Box::pin(async move { note_each(cx, &notes, body).await })
    })
}

async fn note_each<F>(cx: &mut Context<Custom>, notes: &Notes, body: F) -> Ran
where
    F: for<'a> Fn(&'a mut Context<Custom>, u64) -> BoxFuture<'a, Result<String, WorkloadError>>
        + Send
        + Sync,
{
    while let Some(number) = cx.next_input().await? {
        let note = body(cx, *number).await?;
        notes.lock().unwrap().push(note);
        cx.state_mut().push(*number);
    }
    Ok(Outcome::Yielded)
}

/// What an error says, without the session.
fn said(error: &StepError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_cut_short_comes_back_as_interrupted_and_the_workload_decides() {
    for choice in ["retry", "skip", "ask"] {
        let seen = Notes::default();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let called = Arc::clone(&calls);
        let workload = noting(&seen, move |cx, _| {
            let called = Arc::clone(&called);
            async move {
                let first = called.lock().unwrap().is_empty();
                let call = |key: sessionkeeper::IdempotencyKey| {
                    called.lock().unwrap().push(key.to_string());
                    async move { if first { pending().await } else { done(7).await } }
                };
                let lost = match cx.step("pay", call).await {
                    Err(StepError::Interrupted(lost)) => lost,
                    other => return Ok(format!("{other:?}")),
                };
                assert_eq!((lost.session, lost.key.as_str()), (cx.session(), "pay"));
                assert_eq!(called.lock().unwrap()[0], lost.idempotency_key.as_str());
                // Until it is decided it stays so.
                let again = cx.step("pay", call).await.unwrap_err();
                assert!(matches!(again, StepError::Interrupted(_)), "{again}");
                if choice == "ask" {
                    let _waiting = cx.awaiting("was it paid?");
                    tokio::time::sleep(secs(5)).await;
                }
                let decided = if choice == "retry" {
                    cx.retry_step("pay", call).await
                } else {
                    cx.skip_step("pay", 8).await
                };
                assert_eq!(cx.step("pay", call).await.unwrap(), *decided.as_ref().unwrap());
                assert_eq!(cx.skip_step("pay", 9).await.unwrap(), *decided.as_ref().unwrap());
                Ok(format!("{}", decided?))
            }
            .boxed()
        });
        let worker = start_on(MemoryStore::new(), workload, |b| b).await;
        let session = custom_with(&worker, 1).await;
        tokio::time::sleep(secs(1)).await;
        session.kill().await.unwrap().ended().await.unwrap();
        session.resume().await.unwrap();
        consumed(&session).await;
        let calls = calls.lock().unwrap().clone();
        assert_eq!(notes(&seen), [if choice == "retry" { "7" } else { "8" }]);
        let expected = format!("{}/1/pay", session.id());
        assert_eq!(calls.len(), if choice == "retry" { 2 } else { 1 }, "{choice}");
        assert!(calls.iter().all(|call| *call == expected), "{calls:?}");
    }
}

/// Else what was cut short before an input was there would be forgotten by a pause.
#[tokio::test(start_paused = true)]
async fn a_run_that_does_nothing_ends_no_turn_of_the_one_before_it() {
    let seen = Notes::default();
    let (noted, runs) = (Arc::clone(&seen), Arc::new(AtomicU32::new(0)));
    let workload = Custom::new(move |cx| {
        let (seen, runs) = (Arc::clone(&noted), Arc::clone(&runs));
        Box::pin(async move {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            let call = async |_| if run == 0 { pending().await } else { done(1).await };
            if run != 1 {
                let came = cx.step("begin", call).await.map_err(|error| said(&error));
                seen.lock().unwrap().push(format!("{came:?}"));
            }
            while cx.next_input().await?.is_some() {}
            Ok(Outcome::Yielded)
        })
    });
    let worker = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom(&worker).await;
    tokio::time::sleep(secs(1)).await;
    session.kill().await.unwrap().ended().await.unwrap();
    for _ in 0..3 {
        session.resume().await.unwrap();
        tokio::time::sleep(secs(1)).await;
        session.pause().await.unwrap();
    }
    let notes = notes(&seen);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("was begun and never finished"), "{notes:?}");
    assert_eq!(notes[1], "Ok(1)", "the run before it was told, and asked for its next input");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_is_interrupted_and_one_that_fails_is_not() {
    for panics in [true, false] {
        let seen = Notes::default();
        let calls = Arc::new(AtomicU32::new(0));
        let called = Arc::clone(&calls);
        let workload = noting(&seen, move |cx, _| {
            let called = Arc::clone(&called);
            async move {
                let call = async |_| {
                    let times = called.fetch_add(1, Ordering::SeqCst);
                    assert!(!(panics && times == 0), "told to panic");
                    if times < 2 { Err(std::io::Error::other("no route")) } else { Ok(times) }
                };
                match cx.step("call", call).await {
                    // Once more in the same turn, and then in the next run.
                    Err(StepError::Failed(failed)) => {
                        assert_eq!(failed.error().to_string(), "no route");
                        assert_eq!(
                            (failed.session(), failed.key().as_str()),
                            (cx.session(), "call")
                        );
                        Ok(cx.step("call", call).await?.to_string())
                    }
                    other => Ok(other
                        .map_err(|error| said(&error))
                        .map_or_else(|e| e, |n| n.to_string())),
                }
            }
            .boxed()
        });
        let policy = restarting(tireless());
        let worker = start_on(MemoryStore::new(), workload, |b| b.policy(policy)).await;
        let session = custom_with(&worker, 1).await;
        consumed(&session).await;
        let noted = notes(&seen).remove(0);
        if panics {
            assert!(noted.starts_with("step \"call\" was begun and never finished"), "{noted}");
        } else {
            assert_eq!(noted, "2");
        }
        assert_eq!(calls.load(Ordering::SeqCst), if panics { 1 } else { 3 });
        assert_eq!(session.status().await.unwrap().record().runs.restarts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_step_says_about_trying_again_is_heeded() {
    let workload = noting(&Notes::default(), |cx, _| {
        async move {
            let refuse = async |_| Err::<u64, _>(WorkloadError::permanent("the card is stolen"));
            // Also where it is inside of another.
            let outer = async |_| cx.step("inner", refuse).await;
            Ok(cx.step("outer", outer).await?.to_string())
        }
        .boxed()
    });
    let worker = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&worker, 1).await;
    tokio::time::sleep(secs(1)).await;
    let status = session.status().await.unwrap();
    assert_eq!((status.state(), status.record().runs.count), (State::Failed, 1));
    let end = status.record().runs.last.as_ref().unwrap().end.to_string();
    assert!(end.contains("the card is stolen"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_in_one_hand_at_a_time_and_gives_one_result_in_a_turn() {
    let seen = Notes::default();
    let workload = noting(&seen, |cx, number| {
        async move {
            let slow = async |_| {
                tokio::time::sleep(secs(1)).await;
                done(number).await
            };
            let [first, second] = [cx.step("one", slow), cx.step("one", slow)].map(Box::pin);
            let (first, second) = tokio::join!(first, second);
            assert_eq!(first?, number, "the key of another turn is another");
            let inside = cx.step("two", async |_| cx.step("two", slow).await).await.unwrap_err();
            let known = cx.step("one", async |_| done(99).await).await?;
            let long = cx.step(&"x".repeat(257), slow).await.unwrap_err();
            let StepError::Failed(inside) = inside else { panic!("{inside}") };
            let second = second.unwrap_err();
            assert!(matches!(second, StepError::InHand { .. }), "{second}");
            let inside = inside.error().downcast_ref::<StepError>().unwrap();
            assert!(matches!(inside, StepError::InHand { .. }), "{inside}");
            assert!(matches!(long, StepError::InvalidKey { .. }), "{long}");
            assert!(matches!(cx.step("", slow).await, Err(StepError::InvalidKey { .. })));
            Ok(known.to_string())
        }
        .boxed()
    });
    let worker = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&worker, 3).await;
    session.send(4).await.unwrap();
    consumed(&session).await;
    assert_eq!(notes(&seen), ["3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn results_that_cannot_be_kept_or_read_are_typed_errors() {
    let seen = Notes::default();
    let calls = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&calls);
    let workload = noting(&seen, move |cx, _| {
        let called = Arc::clone(&called);
        async move {
            let of_size = async |bytes| {
                called.fetch_add(1, Ordering::SeqCst);
                Ok::<_, WorkloadError>("x".repeat(bytes))
            };
            let mut came = Vec::new();
            let error = cx.step("large", async |_| of_size(20_000).await).await.unwrap_err();
            let StepError::TooLarge { session, limit, .. } = error else { panic!("{error}") };
            assert_eq!((session, limit), (cx.session(), 10_000));
            // It happened, so it is not called again unasked.
            let error = cx.step("large", async |_| of_size(1).await).await.unwrap_err();
            came.push(matches!(error, StepError::Interrupted(_)));
            cx.step("half", async |_| of_size(6_000).await).await?;
            let error = cx.step("other half", async |_| of_size(6_000).await).await.unwrap_err();
            came.push(matches!(error, StepError::TooLarge { .. }));
            // Where no room is left nothing is called any more.
            let before = called.load(Ordering::SeqCst);
            let mut refused = None;
            for number in 0..1000 {
                let small = cx.skip_step(&number.to_string(), ()).await;
                if let Err(error) = small {
                    refused = Some(error);
                    break;
                }
            }
            came.push(matches!(refused, Some(StepError::TooLarge { .. })));
            let error = cx.step("more", async |_| of_size(1).await).await.unwrap_err();
            came.push(matches!(error, StepError::TooLarge { .. }));
            assert_eq!(called.load(Ordering::SeqCst), before);
            let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
            cx.checkpoint().await?;
            let odd = cx.skip_step("odd", odd).await.unwrap_err();
            came.push(matches!(odd, StepError::Encode { .. }));
            cx.skip_step("text", "seven".to_owned()).await?;
            let error = cx.step("text", async |_| done(7).await).await.unwrap_err();
            came.push(matches!(error, StepError::Undecodable { .. }));
            assert!(error.to_string().contains(&cx.session().to_string()), "{error}");
            assert!(error.to_string().contains("\"text\""), "{error}");
            let text: serde_json::Value = cx.skip_step("text", ().into()).await?;
            came.push(text == "seven");
            Ok(format!("{came:?}"))
        }
        .boxed()
    });
    let policy = Policy::builder().max_snapshot_bytes(10_000_u64).build().unwrap();
    let worker = start_on(MemoryStore::new(), workload, |b| b.policy(policy)).await;
    let session = custom_with(&worker, 1).await;
    consumed(&session).await;
    assert_eq!(notes(&seen), [format!("{:?}", [true; 7])]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_step_is_interrupted_until_it_has_returned_and_recorded_after() {
    let seen = Notes::default();
    let store = MemoryStore::new();
    let disk = store.clone();
    let workload = noting(&seen, move |cx, _| {
        let disk = disk.clone();
        async move {
            let call = async |_| {
                tokio::time::sleep(secs(2)).await;
                done(1).await
            };
            let _ = tokio::time::timeout(secs(1), cx.step("early", call)).await.unwrap_err();
            let error = cx.step("early", call).await.unwrap_err();
            assert!(matches!(error, StepError::Interrupted(_)), "{error}");
            let stalling = async |_| {
                let stall = disk.stall();
                tokio::spawn(async move {
                    tokio::time::sleep(secs(9)).await;
                    drop(stall);
                });
                done(2).await
            };
            let _ = tokio::time::timeout(secs(1), cx.step("late", stalling)).await.unwrap_err();
            let before = cx.now();
            let known = cx.step("late", call).await?;
            // Not before it is durable.
            Ok(format!("{known} after {:?}", cx.now().since(before)))
        }
        .boxed()
    });
    let worker = start_on(store, workload, |b| b).await;
    let session = custom_with(&worker, 1).await;
    consumed(&session).await;
    assert_eq!(notes(&seen), ["2 after 8s"]);
}
