//! A parent is told of the end of a child by an input.

use sessionkeeper::{Rollover, Unread};

use super::*;
use crate::support::BUDGET;

#[tokio::test(start_paused = true)]
async fn the_end_of_a_child_wakes_an_idle_parent_once() {
    let mut worker = worker().await;
    let start =
        Start::<Lead>::new(Led::default()).policy(policy(|policy| policy.idle_timeout(MINUTE)));
    let lead = worker.supervisor().start(start).await.unwrap().into_handle();
    lead.send(Tell::Bear(child_key("one"), None)).await.unwrap();
    until(&lead, |status| status.pause_cause() == Some(PauseCause::Idle)).await;
    let child = children(&worker, lead.id()).await[0];
    let child = worker.supervisor().session(child).await.unwrap().typed::<Scripted>().unwrap();
    child.send(Do::FailForGood).await.unwrap();
    until(&lead, |status| status.state() == State::Active).await;
    idle(&lead).await;
    all_done(&worker).await;
    for _ in 0..2 {
        let lead = worker.again(&lead).await;
        let ends = lead.snapshot().await.unwrap().state.ends;
        let [end] = &ends[..] else { panic!("{ends:?}") };
        assert_eq!((end.child, end.state), (child.id(), State::Failed));
        assert_eq!(end.key, Some(child_key("one")));
        assert_eq!(end.cause, Cause::Workload);
        assert!(end.reason.as_ref().unwrap().contains("told to fail for good"), "{end:?}");
        worker.crash_and_reopen().await;
    }
    sound(worker).await;
}

#[test]
fn the_end_of_a_child_is_told_once_through_a_crash_at_every_commit() {
    let commits = crash_at_every_commit(
        configure,
        async |worker: &mut Harness, _: &mut ()| {
            let lead = lead(worker).await;
            lead.send(Tell::Bear(child_key("one"), Some(Do::Complete))).await?;
            all_done(worker).await;
            idle(&lead).await;
            until(&lead, |status| status.record().inbox.consumed == 2).await;
            Ok(())
        },
        async |worker, ()| {
            let lead = lead(worker).await;
            lead.send(Tell::Bear(child_key("one"), Some(Do::Complete))).await?;
            idle(&lead).await;
            let [child] = children(worker, lead.id()).await[..] else { panic!("one child") };
            let child = worker.supervisor().session(child).await?.typed::<Scripted>()?;
            until(&child, |status| status.state() == State::Completed).await;
            all_done(worker).await;
            idle(&lead).await;
            let ends = lead.snapshot().await?.state.ends;
            let told: Vec<_> = ends.iter().map(|end| (end.child, end.state)).collect();
            assert_eq!(told, [(child.id(), State::Completed)]);
            assert_eq!(audit(worker.store()).await, []);
            Ok(())
        },
    );
    assert!(commits > 8, "{commits}");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_stopped_and_resumed_tells_each_end() {
    let worker = worker().await;
    let (lead, [child]) = with_children(&worker).await;
    child.stop().await.unwrap().ended().await.unwrap();
    all_done(&worker).await;
    child.resume().await.unwrap();
    idle(&child).await;
    child.complete().await.unwrap();
    all_done(&worker).await;
    idle(&lead).await;
    let ends = lead.snapshot().await.unwrap().state.ends;
    let told: Vec<_> = ends.iter().map(|end| (end.state, end.cause)).collect();
    assert_eq!(told, [(State::Stopped, Cause::Asked), (State::Completed, Cause::Asked)]);
    sound(worker).await;
}

/// Whoever is rolled over before its child knows that it was told keeps what it was told, or hands it on with its unread inputs.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_child_is_told_once_to_those_who_take_each_others_place() {
    for (lost_at, unread) in (1..=5).flat_map(|at| [(at, Unread::Move), (at, Unread::Leave)]) {
        let store = MemoryStore::new();
        let begin = async |faulty: &FaultyStore<MemoryStore>| {
            configure(Supervisor::builder(faulty.clone()).seed(7)).start().await.unwrap()
        };
        let faulty = FaultyStore::new(store.clone());
        let worker = begin(&faulty).await;
        let lead = worker.start(Start::<Lead>::new(Led::default())).await.unwrap().into_handle();
        let child = worker.start(Scripted::start().child_of(lead.id())).await.unwrap();
        idle(&lead).await;
        let mut commits = 0;
        faulty.inject(move |call| {
            commits += u32::from(call == Call::Commit);
            match commits {
                commits if commits < lost_at => Interference::None,
                _ => Interference::Crash { done: false },
            }
        });
        let _ = tokio::time::timeout(MINUTE, child.complete()).await;
        tokio::time::sleep(SECOND).await;
        drop(worker);

        // Nobody learns what is owed until the parent is rolled over.
        let faulty = FaultyStore::new(store);
        faulty.inject(|call| match call {
            Call::Due => Interference::Fail,
            _ => Interference::None,
        });
        let worker = begin(&faulty).await;
        let lead = worker.session(lead.id()).await.unwrap().typed::<Lead>().unwrap();
        let successor = Rollover::new(Led::default()).unread(unread);
        let next = lead.rollover(successor).await.unwrap().into_handle();
        let accepted_before = status(&lead).await.record().inbox.accepted;
        let moved = status(&next).await.record().inbox.accepted;
        faulty.inject(|_| Interference::None);
        let child = worker.session(child.id()).await.unwrap();
        child.complete().await.unwrap();
        until(&next, |status| status.record().inbox.waiting() == 0).await;
        tokio::time::sleep(MINUTE).await;
        let about = format!("lost at {lost_at}, {unread:?}");
        let accepted = status(&next).await.record().inbox.accepted;
        assert_eq!(accepted_before + accepted - moved, 1, "{about}");
        let mut told = lead.snapshot().await.unwrap().state.ends;
        told.extend(next.snapshot().await.unwrap().state.ends);
        match &told[..] {
            [end] => assert_eq!((end.child, end.state), (child.id(), State::Completed), "{about}"),
            [] => assert_eq!(unread, Unread::Leave, "{about}"),
            told => panic!("{about}: {told:?}"),
        }
        worker.shutdown(BUDGET).await;
    }
}

/// An end that a full parent could not be told is told though the child is deleted meanwhile, once, and the child is forgotten then.
#[tokio::test(start_paused = true)]
async fn a_full_parent_is_told_of_the_ends_of_children_that_are_gone() {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let retaining = |builder| configure(builder).retention(Retention::default().failed(MINUTE));
    let mut worker = Harness::start(retaining).await;
    let start =
        Start::<Lead>::new(Led::default()).policy(policy(|policy| policy.max_inputs(1_u32)));
    let lead = worker.supervisor().start(start).await.unwrap().into_handle();
    let mut born = Vec::new();
    for _ in 0..3 {
        born.push(child_of(&worker, lead.id(), OnParent::LEAVE).await);
    }
    let [asked, aged, stopped] = &born[..] else { panic!("three") };
    lead.pause().await.unwrap();
    lead.send(Tell::Bear(child_key("one"), None)).await.unwrap();
    asked.complete().await.unwrap();
    asked.delete(Delete::IfAtRest).await.unwrap();
    aged.fail("it was told to").await.unwrap();
    stopped.delete(Delete::StopFirst).await.unwrap();
    tokio::time::sleep(MINUTE * 5).await;
    // For longer than it is remembered that they were there; and the next worker cannot say what the parent is to be told.
    worker.configure(|builder| builder.workload(Scripted::default()));
    worker.crash_and_reopen().await;
    tokio::time::sleep(DAY).await;
    assert_eq!(audit(worker.store()).await, []);
    worker.configure(retaining);
    worker.crash_and_reopen().await;
    let lead = worker.again(&lead).await;
    assert_eq!(status(&lead).await.record().inbox.accepted, 1);
    lead.resume().await.unwrap();
    all_done(&worker).await;
    assert_eq!(status(&lead).await.record().inbox.accepted, 4, "of one child and three ends");
    until(&lead, |status| status.record().inbox.consumed == 4).await;
    idle(&lead).await;
    let told = lead.snapshot().await.unwrap().state.ends;
    assert_eq!(told.len(), 3, "{told:?}");
    for (child, state, reason) in [
        (asked, State::Completed, None),
        (aged, State::Failed, Some("it was told to")),
        (stopped, State::Stopped, None),
    ] {
        let end = told.iter().find(|end| end.child == child.id()).unwrap();
        assert_eq!((end.state, end.reason.as_deref()), (state, reason));
    }
    tokio::time::sleep(MINUTE).await;
    for child in &born {
        assert_eq!(worker.store().load(child.id()).await.unwrap(), None, "nothing is left of it");
    }
    sound(worker).await;
}

/// A parent that is full is told when there is room, and one that has ended is not.
#[tokio::test(start_paused = true)]
async fn a_full_parent_is_told_later_and_one_that_ended_never() {
    let worker = worker().await;
    let start =
        Start::<Lead>::new(Led::default()).policy(policy(|policy| policy.max_inputs(1_u32)));
    let lead = worker.supervisor().start(start).await.unwrap().into_handle();
    let child = child_of(&worker, lead.id(), OnParent::LEAVE).await;
    let other = child_of(&worker, lead.id(), OnParent::LEAVE).await;
    lead.pause().await.unwrap();
    lead.send(Tell::Bear(child_key("one"), None)).await.unwrap();
    child.complete().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(status(&lead).await.record().inbox.accepted, 1);
    lead.resume().await.unwrap();
    until(&lead, |status| status.record().inbox.consumed == 2).await;
    idle(&lead).await;
    assert_eq!(lead.snapshot().await.unwrap().state.ends[0].child, child.id());
    lead.complete().await.unwrap();
    other.complete().await.unwrap();
    sound(worker).await;
}
