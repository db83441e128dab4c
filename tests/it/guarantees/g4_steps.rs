//! G4: a step has its effect outside once, unless the workload says otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use sessionkeeper::{
    Context, Outcome, PauseCause, Run, SessionHandle, StepError,
    store::{BoxError, MemoryStore, Part, Store},
    testing::{Call, CrashSweep, Harness, Interference, audit},
};

use super::kit::{Custom, Ran, custom, custom_with, restarting, secs, start_on, tap, tireless};

/// What the steps of a test do outside, and what was told about them.
#[derive(Clone, Default)]
pub(super) struct Outside(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(super) struct Seen {
    /// How often each effect happened, by its idempotency key.
    pub(super) effects: BTreeMap<String, u32>,
    /// The steps that have given a result.
    pub(super) given: BTreeSet<String>,
    /// What must not have happened.
    pub(super) wrong: Vec<String>,
}

impl Outside {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    /// How often each effect happened, by the rest of its idempotency key.
    pub(super) fn effects(&self) -> Vec<(String, u32)> {
        let seen = self.seen();
        let rest = |key: &String| key.split_once('/').unwrap().1.to_owned();
        seen.effects.iter().map(|(key, times)| (rest(key), *times)).collect()
    }

    pub(super) fn happen(&self, key: &str) {
        *self.seen().effects.entry(key.to_owned()).or_default() += 1;
    }

    /// A step whose effect is here. One that was interrupted is looked up, as in a service that can
    /// tell by the key, and is called again only where it did not happen.
    pub(super) async fn step(&self, run: &Run, key: &str, result: u64) -> Result<u64, StepError> {
        let called = async |known_as: String| {
            {
                let mut seen = self.seen();
                if seen.effects.contains_key(&known_as) {
                    seen.wrong.push(format!("{known_as} was called again"));
                }
            }
            self.happen(&known_as);
            tokio::task::yield_now().await;
            Ok::<u64, StepError>(result)
        };
        let given = match run.step(key, |known_as| called(known_as.to_string())).await {
            Err(StepError::Interrupted(lost)) => {
                let known_as = lost.idempotency_key.to_string();
                let (happened, given) = {
                    let seen = self.seen();
                    (seen.effects.contains_key(&known_as), seen.given.contains(&known_as))
                };
                if given {
                    self.seen().wrong.push(format!("{known_as} had given its result"));
                }
                if happened {
                    run.skip_step(key, result).await?
                } else {
                    run.retry_step(key, |known_as| called(known_as.to_string())).await?
                }
            }
            other => other?,
        };
        if given != result {
            self.seen().wrong.push(format!("{key} gave {given}, and {result} is right"));
        }
        Ok(given)
    }
}

/// The key under which a step is given is known only inside; the prefix of a run's turn.
fn note_given(outside: &Outside, cx: &Context<Custom>, turn: u64, keys: &[&str]) {
    let mut seen = outside.seen();
    for key in keys {
        seen.given.insert(format!("{}/{turn}/{key}", cx.session()));
    }
}

/// Takes three steps for each input, two of them at once and one inside of another, and adds their
/// results up.
pub(super) fn worker_of_steps(outside: &Outside) -> Custom {
    let outside = outside.clone();
    Custom::new(move |cx| {
        let outside = outside.clone();
        Box::pin(async move { take_steps(cx, &outside).await })
    })
}

async fn take_steps(cx: &mut Context<Custom>, outside: &Outside) -> Ran {
    while let Some(number) = cx.next_input().await? {
        let turn = number.sequence();
        let first = outside.step(cx, "first", *number).await?;
        note_given(outside, cx, turn, &["first"]);
        // One that takes longer.
        if *number == 5 {
            tokio::time::sleep(secs(60)).await;
        }
        let outer = async {
            let inner = outside.step(cx, "inner", 10).await?;
            note_given(outside, cx, turn, &["inner"]);
            outside.step(cx, "outer", inner + 1).await
        };
        let (beside, outer) = tokio::join!(outside.step(cx, "beside", 100), outer);
        let sum = first + beside? + outer?;
        cx.state_mut().push(sum);
    }
    Ok(Outcome::Yielded)
}

async fn summed(harness: &Harness, numbers: u64) -> Result<Vec<u64>, BoxError> {
    let start = sessionkeeper::Start::<Custom>::new(Vec::new()).key("one".parse()?);
    let session = harness.supervisor().start(start).await?.into_handle();
    for number in 1..=numbers {
        session.send_with_id(number.to_string().parse()?, number).await?;
    }
    Ok(harness.drained(&session).await)
}

pub(super) async fn consumed(session: &SessionHandle<Custom>) -> Vec<u64> {
    for _ in 0..10_000 {
        let status = session.status().await.unwrap();
        if status.pause_cause() == Some(PauseCause::Quarantined) {
            session.resume().await.unwrap();
        }
        if status.record().inbox.waiting() == 0 {
            return session.snapshot().await.unwrap().state;
        }
        tokio::time::sleep(secs(1)).await;
    }
    panic!("its inputs are not worked off: {:?}", session.status().await.unwrap().record());
}

#[test]
fn g4_a_crash_at_any_commit_repeats_no_step_unasked() {
    let outside = Outside::default();
    let (scene, after) = (outside.clone(), outside.clone());
    let workload = worker_of_steps(&outside);
    let commits = CrashSweep::new().run(
        move |b| b.workload(workload.clone()),
        async |harness: &mut Harness, _: &mut ()| {
            *scene.seen() = Seen::default();
            assert_eq!(summed(harness, 3).await?, [112, 113, 114]);
            Ok(())
        },
        async |harness, ()| {
            assert_eq!(summed(harness, 3).await?, [112, 113, 114]);
            let seen = after.seen();
            assert_eq!(seen.wrong, [""; 0]);
            assert_eq!(seen.effects.len(), 12, "{:?}", seen.effects);
            assert!(seen.effects.values().all(|times| *times == 1), "{:?}", seen.effects);
            Ok(())
        },
    );
    assert!(commits > 20, "{commits} commits only");
}

#[tokio::test(start_paused = true)]
async fn g4_a_fallback_to_the_older_snapshot_finds_the_results_of_steps() {
    for in_hand in [false, true] {
        let outside = Outside::default();
        let store = MemoryStore::new();
        let workload = worker_of_steps(&outside);
        let worker = start_on(store.clone(), workload.clone(), |b| b).await;
        let session = custom(&worker).await;
        for number in 1..=4 {
            session.send(number).await.unwrap();
            consumed(&session).await;
        }
        let newest = session.status().await.unwrap().record().snapshots[0].sequence;
        if in_hand {
            session.send(5).await.unwrap();
            tokio::time::sleep(secs(1)).await;
        }
        drop(worker);
        store.damage(session.id(), Part::Snapshot(newest));
        let worker = start_on(store.clone(), workload, |b| b).await;
        worker.recovered().await.unwrap();
        let session = worker.session(session.id()).await.unwrap().typed().unwrap();
        let state = consumed(&session).await;
        assert_eq!(state[..4], [112, 113, 114, 115]);
        assert_eq!(outside.seen().wrong, [""; 0]);
        assert!(outside.effects().iter().all(|(_, times)| *times == 1), "{:?}", outside.effects());
        drop(worker);
        assert_eq!(audit(&store).await, []);
    }
}

/// A run without inputs, which does one part of its work after the other.
fn parts(outside: &Outside, parts: u64) -> Custom {
    let outside = outside.clone();
    Custom::new(move |cx| {
        let outside = outside.clone();
        Box::pin(async move {
            while (cx.state().len() as u64) < parts * 2 {
                let done = cx.state().len() as u64 / 2;
                if cx.state().len() % 2 == 0 {
                    let half = outside.step(cx, "half", done).await?;
                    cx.state_mut().push(half);
                    // The turn goes on: its steps are the same afterwards.
                    cx.save_progress().await?;
                }
                assert_eq!(outside.step(cx, "half", done).await?, done);
                let whole = outside.step(cx, "whole", done).await?;
                cx.state_mut().push(whole);
                cx.checkpoint().await?;
            }
            Ok(Outcome::Completed)
        })
    })
}

#[test]
fn g4_without_inputs_a_checkpoint_ends_the_turn_of_its_steps() {
    let outside = Outside::default();
    let (scene, after) = (outside.clone(), outside.clone());
    let workload = parts(&outside, 3);
    let run = async |harness: &mut Harness| {
        let start = sessionkeeper::Start::<Custom>::new(Vec::new()).key("one".parse()?);
        let session = harness.supervisor().start(start).await?.into_handle();
        harness.until(&session, |status| status.state().is_terminal()).await;
        Ok::<_, BoxError>(session.snapshot().await?.state)
    };
    CrashSweep::new().run(
        move |b| b.workload(workload.clone()),
        async |harness: &mut Harness, _: &mut ()| {
            *scene.seen() = Seen::default();
            run(harness).await.map(drop)
        },
        async |harness, ()| {
            assert_eq!(run(harness).await?, [0, 0, 1, 1, 2, 2]);
            assert_eq!(after.seen().wrong, [""; 0]);
            let effects = after.effects();
            assert_eq!(effects.len(), 6, "{effects:?}");
            assert!(effects.iter().all(|(_, times)| *times == 1), "{effects:?}");
            Ok(())
        },
    );
    let first: Vec<_> = outside.effects().into_iter().map(|(key, _)| key).collect();
    assert_eq!(first, ["0+1/half", "0+1/whole", "0+2/half", "0+2/whole", "0+3/half", "0+3/whole"]);
}

#[tokio::test(start_paused = true)]
async fn g4_steps_before_the_first_input_belong_to_a_turn_that_asking_for_it_ends() {
    let outside = Outside::default();
    let again = outside.clone();
    let workload = Custom::new(move |cx| {
        let outside = again.clone();
        Box::pin(async move {
            outside.step(cx, "begin", 1).await?;
            while let Some(number) = cx.next_input().await? {
                outside.step(cx, "begin", *number).await?;
                if number.attempt() == 1 {
                    return Err("once more".into());
                }
                cx.state_mut().push(*number);
            }
            Ok(Outcome::Yielded)
        })
    });
    let policy = restarting(tireless());
    let worker = start_on(MemoryStore::new(), workload, |b| b.policy(policy)).await;
    let session = custom_with(&worker, 7).await;
    assert_eq!(consumed(&session).await, [7]);
    let effects: Vec<_> = outside.effects();
    assert_eq!(effects, [("0+1/begin".into(), 1), ("0+2/begin".into(), 1), ("1/begin".into(), 1)]);
}

/// The price of what a session does not use: nothing is read for it.
#[tokio::test(start_paused = true)]
async fn g4_steps_are_read_only_where_there_are_some_to_find() {
    let outside = Outside::default();
    let tap = tap();
    let worker = start_on(tap.clone(), worker_of_steps(&outside), |b| b).await;
    let session = custom(&worker).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.send(1).await.unwrap();
    consumed(&session).await;
    assert!(session.status().await.unwrap().record().steps.is_some(), "for the older snapshot");
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    assert_eq!(tap.calls(Call::Steps), 0);
    // With the next turns nothing is kept of it.
    session.pause().await.unwrap();
    let record = session.status().await.unwrap().record().clone();
    assert_eq!(record.steps, None);
    let left = tap.inner().steps(session.id(), sessionkeeper::Turn::default()).await.unwrap();
    assert_eq!(left, []);
    session.resume().await.unwrap();

    // Two steps are recorded, and the third is not.
    tap.inject(|call| match call {
        Call::Commit => Interference::Delay { before: secs(10), after: secs(0) },
        _ => Interference::None,
    });
    let sent = tokio::spawn({
        let session = session.clone();
        async move { session.send(2).await }
    });
    tokio::time::sleep(secs(45)).await;
    sent.await.unwrap().unwrap();
    session.kill().await.unwrap().ended().await.unwrap();
    session.resume().await.unwrap();
    assert_eq!(tap.calls(Call::Steps), 1);
    consumed(&session).await;
    assert_eq!(outside.seen().wrong, [""; 0]);
}
