//! Who can have no child, or no more.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_gone_or_has_ended_can_have_no_child() {
    let worker = worker().await;
    let nobody: SessionId = "00000000-0000-7000-8000-000000000007".parse().unwrap();
    let refused = worker.supervisor().start(Scripted::start().child_of(nobody)).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("session {nobody}: not found")), "{refused}");
    for end in ["stop", "complete"] {
        let start = Start::<Lead>::new(Led::default());
        let lead = worker.supervisor().start(start).await.unwrap();
        match end {
            "stop" => drop(lead.stop().await.unwrap().ended().await.unwrap()),
            _ => lead.complete().await.unwrap(),
        }
        let refused =
            worker.supervisor().start(Scripted::start().child_of(lead.id())).await.unwrap_err();
        let StartError::ParentEnded { parent, state } = refused else { panic!("{refused:?}") };
        assert_eq!((parent, state), (lead.id(), status(&lead).await.state()));
    }
    assert_eq!(worker.supervisor().list(Query::default()).await.unwrap().records.len(), 2);
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_children_are_alive_than_the_policy_of_the_parent_allows() {
    let worker = worker().await;
    let start =
        Start::<Lead>::new(Led::default()).policy(policy(|policy| policy.max_children(3_u32)));
    let lead = worker.supervisor().start(start).await.unwrap();
    let started = futures::future::join_all((0..8).map(|_| {
        let start = Scripted::start().child_of(lead.id());
        async { worker.supervisor().start(start).await }
    }))
    .await;
    let (started, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    assert_eq!((started.len(), refused.len()), (3, 5));
    for refused in refused {
        let Err(StartError::TooManyChildren { parent, limit }) = refused else { panic!() };
        assert_eq!((parent, limit), (lead.id(), 3));
    }
    // The end of one makes room.
    started[0].as_ref().unwrap().complete().await.unwrap();
    worker.supervisor().start(Scripted::start().child_of(lead.id())).await.unwrap();
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn generations_are_limited() {
    let worker = worker().await;
    let mut last = lead(&worker).await.id();
    for depth in 1..=sessionkeeper::MAX_CHILD_DEPTH {
        let child = child_of(&worker, last, OnParent::LEAVE).await;
        assert_eq!(status(&child).await.record().links().depth, depth);
        last = child.id();
    }
    let refused = worker.supervisor().start(Scripted::start().child_of(last)).await.unwrap_err();
    assert!(matches!(refused, StartError::TooDeep { parent, limit: 16 } if parent == last));
    sound(worker).await;
}

#[test]
fn a_key_of_a_child_is_a_text_that_leaves_room_for_its_parent() {
    let key = |text: &str| -> Result<ChildKey, InvalidName> { text.parse() };
    assert!(key("").is_err());
    assert!(key(&"x".repeat(ChildKey::MAX_LEN + 1)).is_err());
    assert!(key("a\n").is_err());
    assert!(key(&"x".repeat(ChildKey::MAX_LEN)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_longest_key_is_taken_and_given_back() {
    let worker = worker().await;
    let longest = child_key(&"x".repeat(ChildKey::MAX_LEN));
    let lead = lead(&worker).await;
    lead.send(Tell::Bear(longest.clone(), Some(Do::Complete))).await.unwrap();
    until(&lead, |status| status.record().inbox.consumed == 2).await;
    idle(&lead).await;
    let end = lead.snapshot().await.unwrap().state.ends.remove(0);
    assert_eq!(end.key, Some(longest));
    sound(worker).await;
}
