//! Facts: committed in order within 100 ms, and kept whatever becomes of the turn.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    EmitError, Event, ExternalId, Fact, InputId, Metadata, Outcome, RunEnd, Usage, WorkloadError,
    store::{Fault, Key, MemoryStore},
};
use tokio::time::Instant;

use super::kit::{
    Custom, custom_with, lifecycle, log, millis, restarting, secs, start_on, tap, tireless,
};
use crate::support::{Do, Worker, drained};

fn works(events: &[sessionkeeper::EventRecord]) -> Vec<u64> {
    let of = |fact: &Fact| match fact {
        Fact::Work(Event::Custom { data, .. }) => data.as_u64(),
        Fact::Work(_) | Fact::Lifecycle(_) | Fact::Usage(_) => None,
    };
    events.iter().filter_map(|event| of(&event.fact)).collect()
}

#[tokio::test(start_paused = true)]
async fn facts_are_visible_within_100_ms_in_order_and_without_gaps() {
    let emitted: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
    let noted = Arc::clone(&emitted);
    let workload = Custom::new(move |cx| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            let _ = cx.next_input().await?;
            let mut rng = fastrand::Rng::with_seed(3);
            for number in 0..300 {
                tokio::time::sleep(millis(rng.u64(0..90))).await;
                cx.emit(Event::custom("tick", number)).await?;
                noted.lock().unwrap().push((number, Instant::now()));
            }
            tokio::time::sleep(secs(1000)).await;
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&supervisor, 1).await;
    for _ in 0..2000 {
        tokio::time::sleep(millis(10)).await;
        let events = log(&session).await;
        let visible = works(&events);
        let due = Instant::now() - millis(102);
        for (number, at) in emitted.lock().unwrap().iter() {
            assert!(*at > due || visible.contains(number), "{number} is late");
        }
        assert_eq!(visible, (0..visible.len() as u64).collect::<Vec<_>>());
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(emitted.lock().unwrap().len(), 300);
    let events = log(&session).await;
    let run = session.status().await.unwrap().run();
    let of_run = events.iter().filter(|event| matches!(event.fact, Fact::Work(_)));
    for event in of_run {
        assert_eq!((event.run, event.input), (run, Some(1)), "it names its run and input");
    }
}

#[tokio::test(start_paused = true)]
async fn facts_are_kept_however_the_turn_ends() {
    for (name, input) in
        [("panic", 1), ("error", 2), ("permanent", 3), ("kill", 4), ("complete", 5), ("silence", 4)]
    {
        let workload = Custom::new(|cx| {
            Box::pin(async move {
                let Some(input) = cx.next_input().await? else { return Ok(Outcome::Yielded) };
                cx.state_mut().push(999);
                cx.emit(Event::custom("tick", 7)).await?;
                cx.record_usage(Usage::tokens(11, 5));
                cx.set_external_id(ExternalId::new("abc")?);
                match *input {
                    1 if input.attempt() == 1 => panic!("told to panic"),
                    2 if input.attempt() == 1 => return Err("told to fail".into()),
                    3 => return Err(WorkloadError::permanent("told to fail for good")),
                    4 => std::future::pending().await,
                    5 => return Ok(Outcome::Completed),
                    _ => {}
                }
                tokio::time::sleep(secs(100_000)).await;
                Ok(Outcome::Yielded)
            })
        });
        let policy = restarting(tireless()).to_builder().heartbeat_timeout(secs(60));
        let policy = policy.build().unwrap();
        let supervisor = start_on(MemoryStore::new(), workload, |b| b.policy(policy)).await;
        let session = custom_with(&supervisor, input).await;
        tokio::time::sleep(millis(1)).await;
        match name {
            "kill" => drop(session.kill().await.unwrap().ended().await.unwrap()),
            "silence" => tokio::time::sleep(secs(70)).await,
            _ => tokio::time::sleep(secs(1)).await,
        }
        let attempts = if input <= 2 { 2 } else { 1 };
        let status = session.status().await.unwrap();
        assert_eq!(works(&log(&session).await), vec![7; attempts], "{name}");
        assert_eq!(status.record().usage.input_tokens(), 11 * attempts as u64, "{name}");
        assert_eq!(status.record().external_id, Some(ExternalId::new("abc").unwrap()), "{name}");
        let key = Key::ExternalId(ExternalId::new("abc").unwrap());
        let found = supervisor.find(key).await.unwrap().expect(name);
        assert_eq!(found.id(), session.id(), "{name}: it is indexed");
        let state = session.snapshot().await.unwrap().state;
        assert_eq!(state == [999], name == "complete", "{name}: the turn itself is undone");
    }
}

#[tokio::test(start_paused = true)]
async fn facts_that_fill_the_buffer_wait_and_are_all_kept() {
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&refused);
    let workload = Custom::new(move |cx| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            let _ = cx.next_input().await?;
            let large = "x".repeat(300 << 10);
            let error = cx.try_emit(&Event::custom("large", large.clone())).unwrap_err();
            noted.lock().unwrap().push(matches!(error, EmitError::TooLarge { .. }).to_string());
            let error = cx.emit(Event::custom("large", large)).await.unwrap_err();
            noted.lock().unwrap().push(matches!(error, EmitError::TooLarge { .. }).to_string());
            let mut taken = 0_u64;
            let part = "y".repeat(10 << 10);
            let error = loop {
                match cx.try_emit(&Event::terminal("make", part.clone(), 0)) {
                    Ok(()) => taken += 1,
                    Err(error) => break error,
                }
            };
            noted.lock().unwrap().push(matches!(error, EmitError::Full { .. }).to_string());
            noted.lock().unwrap().push(taken.to_string());
            // Usage takes no room, and waiting makes some.
            cx.record_usage(Usage::tokens(1, 0));
            let began = Instant::now();
            for number in 0..100 {
                cx.emit(Event::custom("tick", number)).await?;
            }
            noted.lock().unwrap().push((began.elapsed() <= millis(110)).to_string());
            tokio::time::sleep(secs(1000)).await;
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(tap(), workload, |b| b).await;
    let session = custom_with(&supervisor, 1).await;
    tokio::time::sleep(secs(5)).await;
    assert_eq!(*refused.lock().unwrap(), ["true", "true", "true", "50", "true"]);
    let events = log(&session).await;
    assert_eq!(works(&events), (0..100).collect::<Vec<_>>());
    let terminals =
        events.iter().filter(|event| matches!(&event.fact, Fact::Work(Event::Terminal { .. })));
    assert_eq!(terminals.count(), 50);
}

/// The 100 ms are for few: whoever emits more than the buffer holds waits for a moment each time.
#[tokio::test(start_paused = true)]
async fn many_facts_do_not_wait_as_few_do() {
    let took: Arc<Mutex<Option<Duration>>> = Arc::default();
    let noted = Arc::clone(&took);
    let workload = Custom::new(move |cx| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            let _ = cx.next_input().await?;
            let part = "y".repeat(10 << 10);
            let began = Instant::now();
            for _ in 0..1000 {
                cx.emit(Event::terminal("make", part.clone(), 0)).await?;
            }
            *noted.lock().unwrap() = Some(began.elapsed());
            tokio::time::sleep(secs(1000)).await;
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(tap(), workload, |b| b).await;
    let session = custom_with(&supervisor, 1).await;
    tokio::time::sleep(secs(5)).await;
    let took = took.lock().unwrap().expect("all was emitted");
    assert!(took < millis(200), "{took:?} for 10 MiB");
    let work = log(&session).await.into_iter().filter(|event| matches!(event.fact, Fact::Work(_)));
    assert_eq!(work.count(), 1000);
}

/// An input id that was used before this worker began is known to the store alone: it refuses the
/// commit, and with it the facts that are in it.
#[tokio::test(start_paused = true)]
async fn facts_outlive_a_commit_that_is_refused() {
    let workload = Custom::new(|cx| {
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                for tick in 0..*number {
                    tokio::time::sleep(millis(500)).await;
                    cx.emit(Event::custom("tick", tick)).await?;
                }
            }
            Ok(Outcome::Yielded)
        })
    });
    let id = || InputId::new("used").unwrap();
    let tap = tap();
    let supervisor = start_on(tap.clone(), workload.clone(), |b| b).await;
    let session = custom_with(&supervisor, 0).await;
    session.send_with_id(id(), 0).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    drop(supervisor);
    let supervisor = start_on(tap.clone(), workload, |b| b).await;
    supervisor.recovered().await.unwrap();
    let session = supervisor.session(session.id()).await.unwrap().typed::<Custom>().unwrap();
    session.send(6).await.unwrap();
    tokio::time::sleep(millis(1_800)).await;
    let stall = tap.inner().stall();
    let first = tokio::spawn({
        let session = session.clone();
        async move { session.set_metadata(Metadata::new()).await }
    });
    tokio::time::sleep(secs(1)).await;
    let repeated = tokio::spawn({
        let session = session.clone();
        async move { session.send_with_id(id(), 0).await }
    });
    tokio::time::sleep(millis(10)).await;
    drop(stall);
    first.await.unwrap().unwrap();
    assert!(repeated.await.unwrap().unwrap().repeated, "it is refused as a commit");
    tokio::time::sleep(secs(5)).await;
    assert_eq!(works(&log(&session).await), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn facts_wait_for_a_failing_store_without_growing() {
    let worker = Worker::start().await;
    let session = worker.session_with(|s| s.input(Do::Beat { every: secs(1), times: 3 })).await;
    session.send(Do::Emit(50_000)).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    worker.store.fail(Fault::NothingDone);
    tokio::time::sleep(secs(100)).await;
    let status = session.status().await.unwrap();
    assert_eq!(works(&log(&session).await).len(), 0);
    assert_eq!(status.record().inbox.consumed, 0);
    worker.store.mend();
    drained(&session).await;
    assert_eq!(works(&log(&session).await), (0..50_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn facts_of_usage_are_summed_exactly_and_written_together() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let mut rng = fastrand::Rng::with_seed(9);
    let mut sum = 0;
    for _ in 0..50 {
        let tokens = rng.u64(0..1000);
        sum += tokens;
        session.send(Do::Spend(tokens)).await.unwrap();
        if rng.u32(0..10) == 0 {
            session.pause().await.unwrap();
            session.resume().await.unwrap();
        }
    }
    drained(&session).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.record().usage.input_tokens(), sum);
    let logged: u64 = log(&session)
        .await
        .iter()
        .filter_map(|event| if let Fact::Usage(usage) = &event.fact { Some(usage) } else { None })
        .map(Usage::input_tokens)
        .sum();
    assert_eq!(logged, sum, "the log says the same");

    let workload = Custom::new(|cx| {
        Box::pin(async move {
            let _ = cx.next_input().await?;
            for _ in 0..10_000 {
                cx.record_usage(Usage::tokens(1, 2).with_tool_calls(3).with_cost(4));
            }
            Ok(Outcome::Completed)
        })
    });
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom_with(&supervisor, 1).await;
    session.settled().await.unwrap();
    let usage = session.status().await.unwrap().record().usage;
    assert_eq!((usage.input_tokens(), usage.output_tokens()), (10_000, 20_000));
    assert_eq!((usage.tool_calls(), usage.cost()), (30_000, 40_000));
    let notes = log(&session).await.into_iter().filter(|e| matches!(e.fact, Fact::Usage(_)));
    assert_eq!(notes.count(), 1, "one note for all of it");
}

#[tokio::test(start_paused = true)]
async fn facts_say_how_every_run_ended_and_why_the_session_moved() {
    use sessionkeeper::{Cause, Lifecycle, State};
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::PanicTimes(1))).await;
    tokio::time::sleep(secs(5)).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.stop().await.unwrap().ended().await.unwrap();
    let moves: Vec<(State, State, Cause)> = lifecycle(&session)
        .await
        .into_iter()
        .filter_map(|what| match what {
            Lifecycle::StateChanged { from, to, cause, .. } => Some((from, to, cause)),
            _ => None,
        })
        .collect();
    use State::{Active, Paused, Pending, Stopped, Stopping};
    assert_eq!(
        moves,
        [
            (Pending, Active, Cause::Asked),
            (Active, Active, Cause::Restarted),
            (Active, Paused, Cause::Asked),
            (Paused, Active, Cause::Asked),
            (Active, Stopping, Cause::Asked),
            (Stopping, Stopped, Cause::RunGone),
        ]
    );
    let ends = super::kit::run_ends(&session).await;
    assert_eq!(ends[0], RunEnd::Panicked { message: "told to panic".to_owned() });
    assert_eq!(ends[1..], [RunEnd::Yielded, RunEnd::Yielded]);
}
