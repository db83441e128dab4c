//! Stories of whom the end of a child is told that are not true, where somebody has taken its place or its parent's.

use super::{super::chains, families::child, *};

/// What is left of a parent and a child, one of which was rolled over.
struct Told {
    store: MemoryStore,
    ledger: Ledger,
    history: Vec<(SessionId, EventRecord)>,
    /// The one that was rolled over, and its successor.
    first: SessionId,
    next: SessionId,
    parent: SessionId,
    child: SessionId,
}

/// A child is rolled over, and its successor completes; or its parent is, which is an end to the child.
async fn told(child_is_rolled_over: bool) -> Told {
    let second = SecondLife::resumed().await;
    let parent = second.id();
    let settle = async || tokio::time::sleep(Duration::from_secs(2)).await;
    second.sends(BEARS).await;
    settle().await;
    let child = child(&second.book().read(), BEARS);
    let first = if child_is_rolled_over { child } else { parent };
    second.sends_to(first, ROLLS_OVER).await;
    settle().await;
    let next = second.supervisor.session(first).await.unwrap().latest().await.unwrap().id();
    if child_is_rolled_over {
        second.sends_to(next, ENDS).await;
    }
    settle().await;
    let (store, ledger) = second.ends().await;
    let history = history(&store).await.unwrap();
    Told { store, ledger, history, first, next, parent, child }
}

type SpoilTold = fn(&mut Found, &mut Ledger, &Told);

/// An input with this tag had its effect.
fn hears(found: &mut Found, session: SessionId, tag: u64) {
    let found = found.get_mut(&session).unwrap();
    let mut applied = found.applied().unwrap();
    applied.push((99, tag));
    found.state["applied"] = serde_json::json!(applied);
}

/// No input with this tag ever came to a session, nor to those before it, which were never stopped and know nothing of it.
fn hears_nothing(found: &mut Found, session: SessionId, tag: u64) {
    for session in chains::before(found, session).into_iter().chain([session]) {
        let stops =
            |event: &EventRecord| moved(event, State::Stopping) || moved(event, State::Stopped);
        found.get_mut(&session).unwrap().story.log.retain(|event| !stops(event));
    }
    let found = found.get_mut(&session).unwrap();
    let mut applied = found.applied().unwrap();
    applied.retain(|(_, of)| *of != tag);
    found.state["applied"] = serde_json::json!(applied);
    found.inputs.clear();
}

#[rustfmt::skip]
const OF_ROLLED_OVER: &[(&str, SpoilTold, &str)] = &[
    ("the end of its successor is told twice", |found, _, told| {
        hears(found, told.parent, end_tag(told.next));
    }, "was told of its end 2 times"),
    ("that it was rolled over is told as an end", |found, ledger, told| {
        let tag = end_tag(told.child);
        ledger.0.push(Entry::EndTold { child: told.child, tag });
        hears(found, told.parent, tag);
    }, "was told of its end 1 times, and it ended 0 times"),
    ("the end of its successor is told to itself", |found, _, told| {
        hears_nothing(found, told.parent, end_tag(told.next));
        hears(found, told.first, end_tag(told.next));
    }, "nobody sent"),
    ("the end of its successor is told to nobody", |found, _, told| {
        hears_nothing(found, told.parent, end_tag(told.next));
    }, "its parent was not told of its end"),
];

#[rustfmt::skip]
const TO_ROLLED_OVER: &[(&str, SpoilTold, &str)] = &[
    ("the end is told to both", |found, _, told| {
        hears(found, told.first, end_tag(told.child));
    }, "was told of its end 2 times"),
    ("the end is told twice to the successor", |found, _, told| {
        hears(found, told.next, end_tag(told.child));
    }, "was told of its end 2 times"),
    ("the end is told to neither", |found, _, told| {
        hears_nothing(found, told.next, end_tag(told.child));
    }, "its parent was not told of its end"),
    ("the end is told to the child", |found, _, told| {
        hears_nothing(found, told.next, end_tag(told.child));
        hears(found, told.child, end_tag(told.child));
    }, "nobody sent"),
];

#[tokio::test(start_paused = true)]
async fn an_end_that_is_told_twice_or_to_another_one_is_a_finding() {
    for (child_is_rolled_over, spoilt) in [(true, OF_ROLLED_OVER), (false, TO_ROLLED_OVER)] {
        let told = told(child_is_rolled_over).await;
        let (wrong, found) = judge_beside(&told.store, &told.ledger, told.history.clone()).await;
        assert_eq!(wrong, Vec::<String>::new());
        let (hearer, of) = match child_is_rolled_over {
            true => (told.parent, told.next),
            false => (told.next, told.child),
        };
        let heard = found[&hearer].applied().unwrap();
        assert!(heard.iter().any(|(_, tag)| *tag == end_tag(of)), "{heard:?}");
        for (what, spoil, expected) in spoilt {
            let mut found = find(&told.store).await.unwrap();
            found.remember(told.history.clone());
            let mut ledger = told.ledger.clone();
            spoil(&mut found, &mut ledger, &told);
            let wrong = compare(&found, &ledger);
            assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
        }
    }
}
