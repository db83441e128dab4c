//! Children do as their parent does.

use std::time::Duration;

use sessionkeeper::Rollover;

use super::*;
use crate::support::BUDGET;

/// What a child does in each case, as its policy says.
fn policies() -> [(OnParent, bool, bool, bool); 4] {
    let leave = |set: fn(&mut OnParent)| {
        let mut policy = OnParent::default();
        set(&mut policy);
        policy
    };
    [
        (OnParent::default(), true, true, true),
        (leave(|policy| policy.pause = WhenParentPauses::Leave), false, true, true),
        (leave(|policy| policy.stop = WhenParentEnds::Leave), true, false, true),
        (leave(|policy| policy.end = WhenParentEnds::Leave), true, true, false),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_policy_says_which_moves_a_child_follows() {
    for (on_parent, pauses, stops, ends) in policies() {
        for verb in ["pause", "stop", "complete", "fail", "expire"] {
            let worker = worker().await;
            let start = Start::<Lead>::new(Led::default())
                .policy(policy(|policy| policy.paused_timeout(MINUTE)));
            let lead = worker.supervisor().start(start).await.unwrap().into_handle();
            let child = child_of(&worker, lead.id(), on_parent).await;
            idle(&child).await;
            let follows = match verb {
                "pause" => {
                    lead.pause().await.unwrap();
                    pauses
                }
                "stop" => {
                    lead.stop().await.unwrap().ended().await.unwrap();
                    stops
                }
                "complete" => {
                    lead.complete().await.unwrap();
                    ends
                }
                "fail" => {
                    lead.fail("told to").await.unwrap();
                    ends
                }
                _ => {
                    lead.pause().await.unwrap();
                    until(&lead, |status| status.state() == State::Expired).await;
                    ends
                }
            };
            all_done(&worker).await;
            let now = until(&child, |status| status.state() != State::Stopping).await;
            let about = format!("{verb} with {on_parent:?}");
            match (verb, follows) {
                ("pause", true) => {
                    assert_eq!(now.pause_cause(), Some(PauseCause::Parent), "{about}")
                }
                (_, true) => assert_eq!(now.state(), State::Stopped, "{about}"),
                ("expire", false) if pauses => assert_eq!(now.state(), State::Paused, "{about}"),
                (_, false) => assert_eq!(now.state(), State::Active, "{about}"),
            }
            let caused =
                moves(&child).await.into_iter().any(|(_, _, cause)| cause == Cause::Parent);
            assert_eq!(caused, follows || (verb == "expire" && pauses), "{about}");
            consistent(&child).await;
            sound(worker).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_nobody_asked_for_pauses_no_child() {
    let mut worker = worker().await;
    let start =
        Start::<Lead>::new(Led::default()).policy(policy(|policy| policy.idle_timeout(MINUTE)));
    let lead = worker.supervisor().start(start).await.unwrap().into_handle();
    let child = child_of(&worker, lead.id(), OnParent::default()).await;
    until(&lead, |status| status.pause_cause() == Some(PauseCause::Idle)).await;
    all_done(&worker).await;
    assert_eq!(status(&child).await.state(), State::Active);
    // A pause by a person's word of one that is idle does.
    lead.pause().await.unwrap();
    all_done(&worker).await;
    assert_eq!(status(&child).await.pause_cause(), Some(PauseCause::Parent));
    // That of a shutdown changes nothing.
    worker.shutdown_and_reopen().await;
    let child = worker.again(&child).await;
    assert_eq!(status(&child).await.pause_cause(), Some(PauseCause::Parent));
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn grandchildren_follow() {
    let worker = worker().await;
    let lead = lead(&worker).await;
    let bear = Tell::Bear(child_key("grandchild"), None);
    lead.send(Tell::BearLead(child_key("child"), Box::new(bear))).await.unwrap();
    idle(&lead).await;
    let child = children(&worker, lead.id()).await[0];
    let grandchild = soon(async {
        loop {
            if let [grandchild] = children(&worker, child).await[..] {
                return worker.supervisor().session(grandchild).await.unwrap();
            }
            tokio::time::sleep(SECOND).await;
        }
    })
    .await
    .typed::<Scripted>()
    .unwrap();
    idle(&grandchild).await;
    lead.pause().await.unwrap();
    until(&grandchild, |status| status.pause_cause() == Some(PauseCause::Parent)).await;
    lead.resume().await.unwrap();
    until(&grandchild, |status| status.state() == State::Active).await;
    drop(lead.stop().await.unwrap());
    until(&grandchild, |status| status.state() == State::Stopped).await;
    sound(worker).await;
}

/// A stop that cannot reach the children yet holds for them until it can, or until the parent is resumed; and never for later ones.
#[tokio::test(start_paused = true)]
async fn a_stop_that_is_tried_again_holds_only_while_the_parent_is_stopped() {
    for resumes in [false, true] {
        let worker = worker().await;
        let (lead, [one]) = with_children(&worker).await;
        worker.store().inject(|call| match call {
            Call::List => Interference::Fail,
            _ => Interference::None,
        });
        lead.stop().await.unwrap().ended().await.unwrap();
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(status(&one).await.state(), State::Active, "nobody knows of it yet");
        if !resumes {
            worker.store().mend();
            all_done(&worker).await;
            until(&one, |status| status.state() == State::Stopped).await;
            sound(worker).await;
            continue;
        }
        lead.resume().await.unwrap();
        worker.store().mend();
        let other = child_of(&worker, lead.id(), OnParent::default()).await;
        tokio::time::sleep(MINUTE).await;
        for child in [&one, &other] {
            assert_eq!(status(child).await.state(), State::Active);
        }
        // The next stop is another one.
        lead.stop().await.unwrap().ended().await.unwrap();
        for child in [&one, &other] {
            until(child, |status| status.state() == State::Stopped).await;
        }
        sound(worker).await;
    }
}

/// A person's word on a child that is later than the parent's wins, also where the parent's comes to the child after it, or to what has
/// taken its place.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_resumed_since_the_parent_was_stopped_goes_on() {
    for rolls_over in [false, true] {
        let worker = worker().await;
        let (lead, [mut one, two]) = with_children(&worker).await;
        one.pause().await.unwrap();
        worker.store().inject(|call| match call {
            Call::List => Interference::Fail,
            _ => Interference::None,
        });
        lead.stop().await.unwrap().ended().await.unwrap();
        tokio::time::sleep(SECOND * 5).await;
        one.resume().await.unwrap();
        if rolls_over {
            one = one.rollover(Rollover::new(Done::default())).await.unwrap().into_handle();
        }
        worker.store().mend();
        until(&two, |status| status.state() == State::Stopped).await;
        all_done(&worker).await;
        tokio::time::sleep(MINUTE).await;
        assert_eq!(status(&one).await.state(), State::Active);
        // What the parent does after that holds for it again.
        lead.resume().await.unwrap();
        lead.stop().await.unwrap().ended().await.unwrap();
        until(&one, |status| status.state() == State::Stopped).await;
        sound(worker).await;
    }
}

/// The pause of one child takes its time; what the parent is told meanwhile wins.
#[tokio::test(start_paused = true)]
async fn later_word_on_the_parent_wins_while_a_child_is_being_paused() {
    for verb in ["resume", "stop"] {
        let worker = worker().await;
        let (lead, [deaf, quick]) = with_children(&worker).await;
        deaf.send(Do::Deaf(SECOND * 20)).await.unwrap();
        in_hand(&deaf, 1).await;
        lead.pause().await.unwrap();
        until(&quick, |status| status.state() == State::Paused).await;
        assert_eq!(status(&deaf).await.state(), State::Active);
        match verb {
            "resume" => {
                lead.resume().await.unwrap();
                all_done(&worker).await;
                for child in [&deaf, &quick] {
                    idle(child).await;
                }
                tokio::time::sleep(MINUTE).await;
                assert_eq!(status(&deaf).await.state(), State::Active);
                assert_eq!(moves(&deaf).await.len(), 1, "it was never paused");
            }
            _ => {
                drop(lead.stop().await.unwrap());
                for child in [&deaf, &quick] {
                    until(child, |status| status.state() == State::Stopped).await;
                }
            }
        }
        sound(worker).await;
    }
}

#[test]
fn children_follow_their_parent_through_a_crash_at_every_commit() {
    for verb in ["pause", "resume", "stop", "complete"] {
        let commits = crash_at_every_commit(
            configure,
            async |worker: &mut Harness, told: &mut bool| {
                let (lead, [one, two]) = with_children(worker).await;
                one.send(Do::Deaf(SECOND * 5)).await?;
                match verb {
                    "pause" => drop(lead.pause().await?),
                    "resume" => {
                        lead.pause().await?;
                        all_done(worker).await;
                        lead.resume().await?;
                    }
                    "stop" => drop(lead.stop().await?),
                    _ => lead.complete().await?,
                }
                *told = true;
                all_done(worker).await;
                idle_or_at_rest(&one).await;
                idle_or_at_rest(&two).await;
                Ok(())
            },
            async |worker, told| {
                all_done(worker).await;
                let record =
                    worker.supervisor().find(sessionkeeper::store::Key::Start(key("lead")));
                let Some(lead) = record.await? else { return Ok(()) };
                let (id, lead) = (lead.id(), lead.status().await?);
                for id in children(worker, id).await {
                    let session = worker.supervisor().session(id).await?.typed::<Scripted>()?;
                    let child = idle_or_at_rest(&session).await;
                    let about = format!("{verb}: {} under {}", child.state(), lead.state());
                    match lead.state() {
                        State::Paused => {
                            assert_eq!(child.pause_cause(), Some(PauseCause::Parent), "{about}");
                        }
                        State::Active => assert_eq!(child.state(), State::Active, "{about}"),
                        State::Stopped | State::Completed => {
                            assert_eq!(child.state(), State::Stopped, "{about}");
                        }
                        other => panic!("{other}"),
                    }
                    consistent(&session).await;
                }
                if *told {
                    assert_eq!(children(worker, id).await.len(), 2);
                    assert_eq!(lead.state() == State::Active, verb == "resume");
                }
                assert_eq!(audit(worker.store()).await, []);
                Ok(())
            },
        );
        assert!(commits > 10, "{commits}");
    }
}

async fn idle_or_at_rest(session: &SessionHandle<Scripted>) -> Status {
    until(session, |status| match status.state() {
        State::Active => *status.activity() == sessionkeeper::Activity::Idle,
        State::Pending | State::Stopping => false,
        State::Paused | State::Stopped | State::Completed | State::Failed | State::Expired => true,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_started_while_its_parent_is_paused_is_paused() {
    let worker = worker().await;
    let lead = lead(&worker).await;
    lead.pause().await.unwrap();
    let child = child_of(&worker, lead.id(), OnParent::default()).await;
    let left = child_of(&worker, lead.id(), OnParent::LEAVE).await;
    until(&child, |status| status.pause_cause() == Some(PauseCause::Parent)).await;
    all_done(&worker).await;
    assert_eq!(status(&left).await.state(), State::Active);
    lead.resume().await.unwrap();
    until(&child, |status| status.state() == State::Active).await;
    sound(worker).await;
}

/// To delete a session is an end to its children, through a crash too; one that is deleted tells nobody.
#[tokio::test(start_paused = true)]
async fn the_children_of_a_session_that_is_deleted_are_stopped() {
    let mut worker = worker().await;
    let (lead, [child, gone]) = with_children(&worker).await;
    drop(gone.stop().await.unwrap().ended().await.unwrap());
    worker.supervisor().delete(gone.id(), Delete::IfAtRest).await.unwrap();
    all_done(&worker).await;
    idle(&lead).await;
    let told = lead.snapshot().await.unwrap().state.ends.len();
    assert!(told <= 1, "{told}");
    lead.pause().await.unwrap();
    worker.supervisor().delete(lead.id(), Delete::IfAtRest).await.unwrap();
    worker.crash_and_reopen().await;
    let child = worker.again(&child).await;
    until(&child, |status| status.state() == State::Stopped).await;
    child.resume().await.unwrap();
    idle(&child).await;
    let refused =
        worker.supervisor().start(Scripted::start().child_of(lead.id())).await.unwrap_err();
    assert!(refused.to_string().contains("not found"), "{refused}");
    sound(worker).await;
}

/// The recovery goes on as long as a session of the last worker waits for its place. Nothing that is owed to children waits
/// with it.
#[tokio::test(start_paused = true)]
async fn a_child_that_holds_the_last_place_of_a_recovery_is_stopped_with_its_parent() {
    let store = MemoryStore::new();
    let begin = async |places| {
        let builder =
            configure(Supervisor::builder(store.clone()).seed(7)).resume_jitter(Duration::ZERO);
        builder.max_active(places).start().await.unwrap()
    };
    let worker = begin(3).await;
    let other = worker.start(Scripted::start()).await.unwrap().id();
    let lead = worker.start(Start::<Lead>::new(Led::default())).await.unwrap().into_handle();
    let on_parent = OnParent { pause: WhenParentPauses::Leave, ..OnParent::default() };
    let start = Scripted::start().child_of(lead.id()).on_parent(on_parent);
    let child = worker.start(start).await.unwrap().into_handle();
    idle(&child).await;
    lead.pause().await.unwrap();
    worker.shutdown(BUDGET).await;

    let worker = begin(1).await;
    let again: SessionHandle<Scripted> = worker.session(child.id()).await.unwrap().typed().unwrap();
    idle(&again).await;
    let other: SessionHandle<Scripted> = worker.session(other).await.unwrap().typed().unwrap();
    assert_eq!(status(&other).await.pause_cause(), Some(PauseCause::Shutdown));
    worker.session(lead.id()).await.unwrap().stop().await.unwrap().ended().await.unwrap();
    until(&again, |status| status.state() == State::Stopped).await;
    idle(&other).await;
    worker.shutdown(BUDGET).await;
}

/// What is owed to the children is done before a recovery that waits for places comes to their parent, whose worker was lost while it
/// was being stopped.
#[tokio::test(start_paused = true)]
async fn the_run_of_a_parent_that_was_being_stopped_by_a_lost_worker_has_its_end() {
    let store = MemoryStore::new();
    let begin = async |places| {
        let faulty = FaultyStore::new(store.clone());
        let builder = configure(Supervisor::builder(faulty.clone()).seed(7)).resume_at_once(1);
        (builder.max_active(places).start().await.unwrap(), faulty)
    };
    let (worker, faulty) = begin(4).await;
    let parent = worker.start(Scripted::start().input(Do::Deaf(MINUTE))).await.unwrap();
    worker.start(Scripted::start().child_of(parent.id())).await.unwrap();
    tokio::time::sleep(SECOND).await;
    // A recovery begins with those that were started last.
    for _ in 0..2 {
        worker.start(Scripted::start()).await.unwrap();
    }
    // Nobody finds the children.
    faulty.inject(|call| match call {
        Call::List => Interference::Fail,
        _ => Interference::None,
    });
    drop(parent.stop().await.unwrap());
    drop(worker);

    let (worker, _) = begin(1).await;
    let parent = worker.session(parent.id()).await.unwrap().typed::<Scripted>().unwrap();
    until(&parent, |status| status.state() == State::Stopped).await;
    let last = status(&parent).await.record().runs.last.clone();
    assert_eq!(last.map(|last| last.end), Some(RunEnd::Interrupted));
    consistent(&parent).await;
    worker.shutdown(BUDGET).await;
}
