//! Rollovers: the session that ends, the one that takes its place, and what passes from one to the other.

use std::time::Duration;

use sessionkeeper::{
    Activity, Cause, Delete, Fact, Lifecycle, Links, Origin, Rollover, RolloverError, RunEnd,
    SendError, SessionError, SessionHandle, SessionId, StartError, State, Unread, Usage,
    store::{Key, Query},
    testing::{Harness, audit},
};

use super::{
    MINUTE, SECOND, consistent, ends, external, idle, in_hand, input_id, key, labels, log, moves,
    name, policy, soon, state, status, until,
};
use crate::support::{Do, Done, Scripted, Worker, drained};

mod chain;
mod precedence;
mod refusals;
mod within;

fn fresh(sum: i64) -> Rollover<Scripted> {
    Rollover::new(Done { sum, ..Done::default() })
}

async fn roll(session: &SessionHandle<Scripted>, sum: i64) -> SessionHandle<Scripted> {
    soon(session.rollover(fresh(sum))).await.unwrap().into_handle()
}

async fn links(session: &SessionHandle<Scripted>) -> Links {
    status(session).await.record().links()
}

/// What a successor says of the session before it: which, and how many inputs moved.
async fn from(session: &SessionHandle<Scripted>) -> (SessionId, u64) {
    match &log(session).await[1].fact {
        Fact::Lifecycle(Lifecycle::TransitionedFrom { session, inputs }) => (*session, *inputs),
        other => panic!("{other:?}"),
    }
}

/// What a session says of its successor: which, and how many inputs were not worked off.
async fn to(session: &SessionHandle<Scripted>) -> Option<(SessionId, u64)> {
    log(session).await.iter().find_map(|event| match &event.fact {
        Fact::Lifecycle(Lifecycle::TransitionedTo { session, unread }) => Some((*session, *unread)),
        _ => None,
    })
}

/// The sessions before this one and itself, the first first, as the links say; they agree both ways.
async fn chain(worker: &Worker, last: &SessionHandle<Scripted>) -> Vec<SessionId> {
    let mut chain = vec![last.id()];
    let mut links = links(last).await;
    while let Some(before) = links.transitioned_from {
        let record = worker.supervisor.status(before).await.unwrap().record().clone();
        assert_eq!(record.links().transitioned_to, chain.last().copied(), "both ways");
        assert_eq!(record.state(), State::Completed);
        chain.push(before);
        links = record.links();
    }
    chain.reverse();
    chain
}

async fn count(worker: &Worker) -> usize {
    worker.supervisor.list(Query::default()).await.unwrap().records.len()
}

/// Waits until the session is active; not for as long as everything else may take.
async fn active(session: &SessionHandle<Scripted>) {
    let active = until(session, |status| status.state() == State::Active);
    tokio::time::timeout(MINUTE, active).await.expect("it is active soon");
}

async fn sound(worker: Worker) {
    drop(worker.supervisor);
    assert_eq!(audit(&worker.store).await, []);
}

/// G1, G2: the end of one and the beginning of the other are durable together, and name each other.
#[tokio::test(start_paused = true)]
async fn a_rollover_ends_a_session_and_begins_its_successor() {
    let worker = Worker::start().await;
    let own = policy(|policy| policy.max_inputs(3_u32));
    let metadata = serde_json::Map::from_iter([("ticket".to_owned(), 7.into())]);
    let session = worker
        .session_with(|start| {
            let start = start.name(name("nightly")).external_id(external("x-1")).key(key("once"));
            start.labels(labels(&[("user", "ada")])).metadata(metadata.clone()).policy(own.clone())
        })
        .await;
    session.send(Do::Add(5)).await.unwrap();
    session.send(Do::Spend(9)).await.unwrap();
    idle(&session).await;
    let rolled = soon(session.rollover(fresh(100))).await.unwrap();
    assert_eq!(rolled.origin(), Origin::New);
    let next = rolled.into_handle();
    idle(&next).await;

    let old = status(&session).await.record().clone();
    assert_eq!(
        moves(&session).await.last(),
        Some(&(State::Active, State::Completed, Cause::RolledOver))
    );
    assert_eq!(ends(&session).await, [RunEnd::Yielded]);
    assert_eq!(to(&session).await, Some((next.id(), 0)));
    assert_eq!(session.snapshot().await.unwrap().state.sum, 5, "its last state is kept");
    let new = status(&next).await.record().clone();
    assert_eq!(
        moves(&next).await,
        [(State::Pending, State::Active, Cause::SlotFree)],
        "pending, then active"
    );
    assert_eq!(from(&next).await, (session.id(), 0));
    assert_eq!(chain(&worker, &next).await, [session.id(), next.id()]);
    assert_eq!((&new.name, &new.labels, &new.metadata), (&old.name, &old.labels, &metadata));
    assert_eq!((new.policy.as_deref(), &new.kind), (Some(&own), &old.kind));
    assert_eq!((new.usage, &new.external_id, &new.start_key), (Usage::default(), &None, &None));
    assert_eq!((new.runs.count, old.usage != Usage::default()), (1, true));
    let found = worker.supervisor.find(Key::Name(name("nightly"))).await.unwrap().unwrap();
    assert_eq!(found.id(), next.id(), "the name went along");

    next.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&next).await.sum, 101);
    consistent(&session).await;
    consistent(&next).await;
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_is_not_inherited() {
    let worker = Worker::start().await;
    let session = worker
        .session_with(|start| start.name(name("old")).labels(labels(&[("user", "ada")])))
        .await;
    let own = policy(|policy| policy.max_inputs(4_u32));
    let asked = fresh(1)
        .name(name("new"))
        .labels(labels(&[("user", "bob")]))
        .metadata(serde_json::Map::from_iter([("a".to_owned(), 1.into())]))
        .policy(own.clone())
        .input(Do::Add(10));
    let next = soon(session.rollover(asked)).await.unwrap().into_handle();
    assert_eq!(drained(&next).await.sum, 11);
    let record = status(&next).await.record().clone();
    assert_eq!((&record.name, &record.labels), (&Some(name("new")), &labels(&[("user", "bob")])));
    assert_eq!((record.metadata.len(), record.policy.as_deref()), (1, Some(&own)));
    // The name that was given up is free.
    worker.session_with(|start| start.name(name("old"))).await;
    sound(worker).await;
}

/// They were accepted once, and its own first input cannot wait until they are worked off.
#[tokio::test(start_paused = true)]
async fn the_limits_of_the_inbox_do_not_hold_for_what_a_successor_begins_with() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.pause().await.unwrap();
    for _ in 0..5 {
        session.send(Do::Add(1)).await.unwrap();
    }
    let small = policy(|policy| policy.max_inputs(2_u32).max_input_bytes(50_u64));
    let small = || fresh(100).policy(small.clone());
    let refused =
        soon(session.rollover(small().input(Do::Busy { limit: SECOND, takes: SECOND }))).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            RolloverError::Start(StartError::Input(SendError::TooLarge { limit: 50, .. }))
        ),
        "{refused:?}"
    );
    let next = soon(session.rollover(small().input(Do::Add(10)))).await.unwrap().into_handle();
    idle(&next).await;
    assert_eq!(drained(&next).await.sum, 115);
    sound(worker).await;
}

/// G2, G4: every input is worked off once, by one or the other.
#[tokio::test(start_paused = true)]
async fn unread_inputs_move_in_their_order_with_their_ids() {
    for unread in [Unread::Move, Unread::Leave] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send_with_id(input_id("done"), Do::Add(1)).await.unwrap();
        idle(&session).await;
        session.pause().await.unwrap();
        for (id, number) in [("a", 10), ("b", 20), ("c", 30)] {
            session.send_with_id(input_id(id), Do::Add(number)).await.unwrap();
        }
        let asked = fresh(0).unread(unread).input(Do::Add(100));
        let next = soon(session.rollover(asked)).await.unwrap().into_handle();
        assert_eq!(to(&session).await, Some((next.id(), 3)));
        let done = drained(&next).await;
        match unread {
            Unread::Move => {
                assert_eq!((done.sum, done.seen), (160, vec![1, 2, 3, 4]));
                assert_eq!(from(&next).await.1, 3);
                let again = next.send_with_id(input_id("b"), Do::Add(20)).await.unwrap();
                assert_eq!((again.repeated, again.sequence), (true, 2), "known to the successor");
            }
            Unread::Leave => {
                assert_eq!((done.sum, done.seen), (100, vec![1]));
                assert_eq!(from(&next).await.1, 0);
            }
        }
        assert_eq!(session.snapshot().await.unwrap().state.sum, 1);
        sound(worker).await;
    }
}

/// More may move than the inbox takes: they were accepted once.
#[tokio::test(start_paused = true)]
async fn what_moves_is_not_held_against_the_limits_of_the_inbox() {
    let own = policy(|policy| policy.max_inputs(3_u32));
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.policy(own)).await;
    session.pause().await.unwrap();
    for _ in 0..3 {
        session.send(Do::Add(1)).await.unwrap();
    }
    let next = soon(session.rollover(fresh(0).input(Do::Add(10)))).await.unwrap().into_handle();
    assert_eq!(drained(&next).await.sum, 13);
    sound(worker).await;
}

/// A rollover works where nothing happens at all, whatever the session waits for.
#[tokio::test(start_paused = true)]
async fn a_session_without_a_run_is_rolled_over_at_once() {
    for was in ["pending", "paused", "idle", "asleep", "quarantined", "backoff"] {
        let never = policy(|policy| {
            policy.restart(sessionkeeper::RestartPolicy { max_restarts: 0, ..Default::default() })
        });
        let worker = Worker::start_with(|builder| builder.max_active(1)).await;
        let slot = if was == "pending" {
            Some(soon(worker.supervisor.slot()).await.unwrap())
        } else {
            None
        };
        let session = worker
            .session_with(|start| if was == "quarantined" { start.policy(never) } else { start })
            .await;
        let at = sessionkeeper::Timestamp::UNIX_EPOCH + Duration::from_secs(1 << 40);
        match was {
            "pending" => assert_eq!(state(&session).await, State::Pending),
            "paused" => drop(soon(session.pause()).await.unwrap()),
            "idle" => {
                tokio::time::sleep(MINUTE * 31).await;
            }
            "asleep" => {
                session.send(Do::SleepUntil(sessionkeeper::Alarm::at(at))).await.unwrap();
            }
            "quarantined" => drop(session.send(Do::FailTimes(9)).await.unwrap()),
            _ => drop(session.send(Do::FailAndRetryAfter(MINUTE * 60)).await.unwrap()),
        }
        tokio::time::sleep(SECOND).await;
        let before = status(&session).await;
        let rests = matches!(before.state(), State::Pending | State::Paused)
            || matches!(before.activity(), Activity::Restarting { .. });
        assert!(rests, "{was}: {before:?}");
        let began = tokio::time::Instant::now();
        let asked = fresh(7).unread(Unread::Leave);
        let next = soon(session.rollover(asked)).await.unwrap().into_handle();
        assert_eq!(began.elapsed(), Duration::ZERO, "{was}");
        assert_eq!(chain(&worker, &next).await, [session.id(), next.id()], "{was}");
        if was == "pending" {
            assert_eq!(state(&next).await, State::Pending);
            drop(slot);
        }
        active(&next).await;
        assert_eq!(status(&next).await.record().failures, Default::default(), "{was}");
        consistent(&session).await;
        sound(worker).await;
    }
}

/// Nobody comes in between, though others waited for a place before.
#[tokio::test(start_paused = true)]
async fn a_successor_has_the_place_of_the_session_before_it() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let session = worker.session().await;
    idle(&session).await;
    let other = worker.session().await;
    assert_eq!(state(&other).await, State::Pending);
    let mut last = session;
    for sum in 1..=3 {
        last = roll(&last, sum).await;
        active(&last).await;
        assert_eq!(state(&other).await, State::Pending, "it waits on");
    }
    // Also where the session ends while it waits out a backoff, which keeps its place.
    last.send(Do::FailAndRetryAfter(MINUTE * 60)).await.unwrap();
    until(&last, |status| matches!(status.activity(), Activity::Restarting { .. })).await;
    let asked = fresh(0).unread(Unread::Leave);
    last = soon(last.rollover(asked)).await.unwrap().into_handle();
    active(&last).await;
    assert_eq!(state(&other).await, State::Pending);
    assert_eq!(worker.workload.probe.most_live(), 1);
    soon(last.stop()).await.unwrap().ended().await.unwrap();
    until(&other, |status| status.state() == State::Active).await;
    sound(worker).await;
}

/// G2: a crash anywhere between leaves the whole chain or none of it, and the next worker goes on with the last.
#[test]
fn a_crash_at_every_commit_of_a_rollover_leaves_a_whole_chain() {
    #[derive(Default)]
    struct Told {
        rolled: bool,
    }
    fn again() -> Rollover<Scripted> {
        fresh(100).key(key("clear")).input(Do::Add(1))
    }
    let commits = sessionkeeper::testing::crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        async |harness: &mut Harness, told: &mut Told| {
            let start = Scripted::start().key(key("first")).name(name("chat"));
            let session = harness.supervisor().start(start).await?.into_handle();
            session.send_with_id(input_id("a"), Do::Add(10)).await?;
            session.send_with_id(input_id("b"), Do::Deaf(MINUTE * 5)).await?;
            session.send_with_id(input_id("c"), Do::Add(20)).await?;
            session.rollover(again().within(SECOND)).await?;
            told.rolled = true;
            Ok(())
        },
        async |harness, told| {
            let start = Scripted::start().key(key("first")).name(name("chat"));
            let session = harness.supervisor().start(start).await?.into_handle();
            let before = harness.supervisor().list(Query::default()).await?.records.len();
            assert!(before == 2 || !told.rolled, "{before} sessions");
            for (id, what) in [("a", Do::Add(10)), ("b", Do::Deaf(MINUTE * 5)), ("c", Do::Add(20))]
            {
                session.following().send_with_id(input_id(id), what).await?;
            }
            let next = session.rollover(again().within(SECOND)).await?.into_handle();
            harness.drained(&next).await;
            let old = session.snapshot().await?.state;
            let new = next.snapshot().await?.state;
            let whole = old.sum + new.sum;
            assert_eq!(whole, 131, "{old:?} {new:?}");
            assert_eq!(session.latest().await?.id(), next.id());
            let all = harness.supervisor().list(Query::default()).await?.records;
            assert_eq!(all.len(), 2, "the same successor");
            let named = harness.supervisor().find(Key::Name(name("chat"))).await?;
            assert_eq!(named.map(|named| named.id()), Some(next.id()));
            Ok(())
        },
    );
    assert!(commits > 5);
}

/// A shutdown between the two leaves the successor to the next worker.
#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_the_successor_to_the_next_worker() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * 5)).await.unwrap();
    in_hand(&session, 1).await;
    let rolling = {
        let session = session.clone();
        tokio::spawn(async move { session.rollover(fresh(3)).await.map(|next| next.id()) })
    };
    tokio::time::sleep(SECOND).await;
    let report = worker.supervisor.shutdown(MINUTE).await;
    let next = soon(rolling).await.unwrap().unwrap();
    assert_eq!(report.lines.len(), 1, "{report}");
    let worker = Worker::on(worker.store, worker.workload, |builder| builder).await;
    worker.supervisor.recovered().await.unwrap();
    let next = worker.supervisor.session(next).await.unwrap().typed::<Scripted>().unwrap();
    active(&next).await;
    assert_eq!(moves(&next).await, [(State::Pending, State::Active, Cause::SlotFree)]);
    assert_eq!(drained(&next).await.sum, 3);
    assert_eq!(chain(&worker, &next).await, [session.id(), next.id()]);
    sound(worker).await;
}
