//! Children that were paused with their parent go on with it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_resume_resumes_those_that_were_paused_with_the_parent() {
    let mut worker = worker().await;
    let (lead, [asked, with_parent, idling]) = with_children(&worker).await;
    asked.pause().await.unwrap();
    idling.send(Do::Yield).await.unwrap();
    lead.pause().await.unwrap();
    all_done(&worker).await;
    let cause = async |child: &SessionHandle<Scripted>| status(child).await.pause_cause();
    assert_eq!(cause(&asked).await, Some(PauseCause::Asked), "a person's word stays");
    assert_eq!(cause(&with_parent).await, Some(PauseCause::Parent));
    assert_eq!(cause(&idling).await, Some(PauseCause::Parent), "an input would wake it else");
    // An input is accepted and wakes nobody, and neither does the next worker.
    with_parent.send(Do::Add(1)).await.unwrap();
    worker.crash_and_reopen().await;
    let lead = worker.again(&lead).await;
    let [asked, with_parent, idling] =
        [worker.again(&asked).await, worker.again(&with_parent).await, worker.again(&idling).await];
    tokio::time::sleep(MINUTE).await;
    assert_eq!(status(&with_parent).await.pause_cause(), Some(PauseCause::Parent));

    lead.resume().await.unwrap();
    all_done(&worker).await;
    assert_eq!(status(&asked).await.pause_cause(), Some(PauseCause::Asked));
    assert_eq!(worker.drained(&with_parent).await.sum, 1);
    until(&idling, |status| status.state() == State::Active).await;
    let last = moves(&with_parent).await.pop().unwrap();
    assert_eq!(last, (State::Paused, State::Active, Cause::Parent));
    sound(worker).await;
}

/// A stop of the parent leaves some children alone, and others it does not reach before it is taken back. They are not left behind
/// where they were paused with the parent before.
#[tokio::test(start_paused = true)]
async fn who_was_paused_with_its_parent_goes_on_with_that_also_after_a_stop() {
    for is_reached in [true, false] {
        let worker = worker().await;
        let lead = lead(&worker).await;
        let stop = if is_reached { WhenParentEnds::Leave } else { WhenParentEnds::Stop };
        let on_parent = OnParent { stop, ..OnParent::default() };
        let child = child_of(&worker, lead.id(), on_parent).await;
        let asked = child_of(&worker, lead.id(), on_parent).await;
        until(&child, |status| status.state() == State::Active).await;
        asked.pause().await.unwrap();
        lead.pause().await.unwrap();
        all_done(&worker).await;
        if !is_reached {
            worker.store().inject(|call| match call {
                Call::List => Interference::Fail,
                _ => Interference::None,
            });
        }
        lead.stop().await.unwrap().ended().await.unwrap();
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!(status(&child).await.pause_cause(), Some(PauseCause::Parent), "{is_reached}");
        lead.resume().await.unwrap();
        worker.store().mend();
        all_done(&worker).await;
        assert_eq!(status(&child).await.state(), State::Active, "{is_reached}");
        let last = moves(&child).await.pop().unwrap();
        assert_eq!(last, (State::Paused, State::Active, Cause::Parent), "{is_reached}");
        assert_eq!(status(&asked).await.pause_cause(), Some(PauseCause::Asked), "{is_reached}");
        sound(worker).await;
    }
}
