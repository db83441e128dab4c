//! Stories of children that are not true.

use sessionkeeper::{Removal, WhenParentPauses};

use super::*;

/// A parent that hears of the end of one child and is stopped with the other one, and all that happened.
struct Family {
    store: MemoryStore,
    ledger: Ledger,
    parent: SessionId,
    history: Vec<(SessionId, EventRecord)>,
}

/// As their parent is stopped in the end, or paused, or paused and resumed.
async fn family(end: Verb) -> Family {
    let second = SecondLife::resumed().await;
    let parent = second.id();
    // One completes, and is told of; the other one is stopped with its parent, or paused.
    for tag in [BEARS_WHAT_ENDS, BEARS] {
        second.sends(tag).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    match end {
        Verb::Pause => second.pauses().await,
        Verb::Resume => {
            second.pauses().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            second.witness.asks(Verb::Resume, second.session().resume()).await;
        }
        _ => second.stops().await,
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (store, ledger) = second.ends().await;
    let history = history(&store).await.unwrap();
    Family { store, ledger, parent, history }
}

pub(super) fn child(ledger: &Ledger, key: u64) -> SessionId {
    let bore = ledger.0.iter().find_map(|entry| match entry {
        Entry::Run { did: Did::Bore { key: of, child }, .. } if *of == key => Some(*child),
        _ => None,
    });
    bore.unwrap()
}

type SpoilFamily = fn(&mut Found, &mut Ledger, SessionId);

fn links(found: &mut Found, id: SessionId) -> &mut sessionkeeper::Links {
    found.get_mut(&id).unwrap().record.lineage.as_deref_mut().unwrap()
}

/// Nothing that happened says that a session was stopped.
fn goes_on(found: &mut Found, id: SessionId) {
    let stops = |event: &EventRecord| moved(event, State::Stopping) || moved(event, State::Stopped);
    found.history.retain(|(of, event)| *of != id || !stops(event));
}

#[rustfmt::skip]
const SPOILT: &[(&str, SpoilFamily, &str)] = &[
    ("a child that goes on", |found, ledger, _| {
        goes_on(found, child(ledger, BEARS));
    }, "its parent was stopping, and it went on"),
    ("a child that goes on after the end of its parent", |found, ledger, parent| {
        goes_on(found, child(ledger, BEARS));
        for (_, event) in found.history.iter_mut().filter(|(of, event)| *of == parent && moved(event, State::Stopping)) {
            let Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) = &mut event.fact else { unreachable!() };
            *to = State::Completed;
        }
    }, "its parent was completed, and it went on"),
    ("a child that goes on where its parent was deleted", |found, ledger, parent| {
        goes_on(found, child(ledger, BEARS));
        goes_on(found, parent);
        let last = found.history.iter_mut().rfind(|(of, _)| *of == parent);
        last.unwrap().1.fact = Fact::Lifecycle(Lifecycle::Deleted { by: Removal::Asked, ends: false });
    }, "its parent was deleted, and it went on"),
    ("a child that is stopped with its parent, which was not", |found, _, parent| {
        goes_on(found, parent);
    }, "its parent did nothing that leads to"),
    ("the child of another one", |found, ledger, _| {
        let child = child(ledger, BEARS);
        links(found, child).parent = Some(child);
    }, "its child"),
    ("a parent that is lost", |found, _, parent| {
        found.remove(&parent);
    }, "its parent is not in the store"),
    ("two children of one key", |_, ledger, parent| {
        let bore = run_entry(ledger, |did| matches!(did, Did::Bore { .. }));
        let Entry::Run { session, run, .. } = ledger.0[bore] else { unreachable!() };
        let did = Did::Bore { key: BEARS, child: parent };
        ledger.0.push(Entry::Run { session, run, did });
    }, "it was"),
    ("an end that was none", |_, ledger, _| {
        let child = child(ledger, BEARS);
        let bore = run_entry(ledger, |did| matches!(did, Did::Bore { .. }));
        let Entry::Run { session, run, .. } = ledger.0[bore] else { unreachable!() };
        let did = Did::ChildEnded { child, last: child, state: State::Failed };
        ledger.0.push(Entry::Run { session, run, did });
    }, "which is not so"),
    ("the end of another child", |_, ledger, _| {
        let (child, other) = (child(ledger, BEARS_WHAT_ENDS), child(ledger, BEARS));
        let bore = run_entry(ledger, |did| matches!(did, Did::Bore { .. }));
        let Entry::Run { session, run, .. } = ledger.0[bore] else { unreachable!() };
        let did = Did::ChildEnded { child, last: other, state: State::Stopped };
        ledger.0.push(Entry::Run { session, run, did });
    }, "which is not so"),
    ("an end that was not told", |found, ledger, parent| {
        let child = child(ledger, BEARS_WHAT_ENDS);
        let tag = end_tag(child);
        let parent = found.get_mut(&parent).unwrap();
        // It was never stopped, and knows nothing of it.
        parent.story.log.retain(|event| !moved(event, State::Stopping) && !moved(event, State::Stopped));
        let applied: Vec<(u64, u64)> = parent.applied().unwrap();
        let applied: Vec<_> = applied.into_iter().filter(|(_, of)| *of != tag).collect();
        parent.state["applied"] = serde_json::json!(applied);
        parent.inputs.clear();
    }, "its parent was not told of its end"),
    ("an end that was told twice", |found, ledger, parent| {
        let tag = end_tag(child(ledger, BEARS_WHAT_ENDS));
        let parent = found.get_mut(&parent).unwrap();
        let mut applied: Vec<(u64, u64)> = parent.applied().unwrap();
        applied.push((99, tag));
        parent.state["applied"] = serde_json::json!(applied);
    }, "was told of its end 2 times"),
    ("something that is owed still", |found, ledger, _| {
        let child = child(ledger, BEARS);
        let owed = r#"{ "owed": [{ "event": 1, "since": 0, "duty": "tell" }] }"#;
        found.get_mut(&child).unwrap().record.family = serde_json::from_str(owed).unwrap();
    }, "it owes something still"),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_in_a_family_is_found() {
    let family = family(Verb::Stop).await;
    let (wrong, found) = judge_beside(&family.store, &family.ledger, family.history.clone()).await;
    assert_eq!(wrong, Vec::<String>::new());
    let stopped = child(&family.ledger, BEARS);
    assert_eq!(found[&stopped].record.state(), State::Stopped);
    for (what, spoil, expected) in SPOILT {
        let mut found = find(&family.store).await.unwrap();
        found.remember(family.history.clone());
        let mut ledger = family.ledger.clone();
        spoil(&mut found, &mut ledger, family.parent);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
}

/// Nothing that happened says that a child did as its parent, and somebody looks at the clocks for so many seconds after that.
fn lags(found: &mut Found, ledger: &mut Ledger, seconds: u64) -> SessionId {
    let child = child(ledger, BEARS);
    let by_parent = |event: &EventRecord| {
        let cause = match &event.fact {
            Fact::Lifecycle(Lifecycle::StateChanged { cause, .. }) => Some(*cause),
            _ => None,
        };
        cause == Some(Cause::Parent)
            || moved(event, State::Stopping)
            || moved(event, State::Stopped)
    };
    found.history.retain(|(of, event)| *of != child || !by_parent(event));
    looks(found, ledger, seconds);
    child
}

/// Somebody looks at the clocks for so many seconds.
fn looks(found: &Found, ledger: &mut Ledger, seconds: u64) {
    let events = found.history.len() as u64;
    for second in 0..=seconds {
        let up = Duration::from_secs(second);
        let wall = Timestamp::default() + up;
        ledger.0.push(Entry::Moment(Moment { up, wall, events, troubles: 0 }));
    }
}

/// Who is told to do as its parent does so soon, if nothing hinders the worker.
#[tokio::test(start_paused = true)]
async fn a_child_that_takes_long_to_do_as_its_parent_is_a_finding() {
    for (end, expected) in
        [(Verb::Pause, "has been paused for long"), (Verb::Stop, "has been at its end for long")]
    {
        let family = family(end).await;
        let (wrong, _) = judge_beside(&family.store, &family.ledger, family.history.clone()).await;
        assert_eq!(wrong, Vec::<String>::new());
        let judged = async |seconds, is_resumed: bool| {
            let mut found = find(&family.store).await.unwrap();
            found.remember(family.history.clone());
            let mut ledger = family.ledger.clone();
            let child = child(&ledger, BEARS);
            if is_resumed {
                ledger.0.push(Entry::Asked {
                    call: 1000,
                    session: Some(child),
                    verb: Verb::Resume,
                });
            }
            assert_eq!(lags(&mut found, &mut ledger, seconds), child);
            let wrong = compare(&found, &ledger);
            wrong.iter().any(|wrong| wrong.contains(expected))
        };
        assert!(judged(10, false).await, "{expected}");
        assert!(!judged(9, false).await, "{expected}: it was in time");
        assert!(!judged(10, true).await, "{expected}: it was resumed");
    }
}

/// Who was paused with its parent goes on with that soon, if nothing hinders the worker, and there is a place for everybody.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_not_resumed_with_its_parent_is_a_finding() {
    let family = family(Verb::Resume).await;
    let (wrong, found) = judge_beside(&family.store, &family.ledger, family.history.clone()).await;
    assert_eq!(wrong, Vec::<String>::new());
    let id = child(&family.ledger, BEARS);
    assert_eq!(found[&id].record.runs.count, 2, "it was resumed");
    let judged = async |seconds, before: &[Entry], spoil: fn(&mut Found, SessionId)| {
        let mut found = find(&family.store).await.unwrap();
        found.remember(family.history.clone());
        let mut ledger = family.ledger.clone();
        ledger.0.extend_from_slice(before);
        // It stays as it was paused, and nothing comes after that.
        found.history.retain(|(of, event)| match &event.fact {
            Fact::Lifecycle(Lifecycle::StateChanged { to, cause, .. }) => {
                let resumed = (*to, *cause) == (State::Active, Cause::Parent);
                !(*of == id && resumed) && *cause != Cause::Shutdown
            }
            _ => true,
        });
        spoil(&mut found, id);
        looks(&found, &mut ledger, seconds);
        let wrong = compare(&found, &ledger);
        wrong.iter().any(|wrong| wrong.contains("its parent has gone on for long"))
    };
    let begun = Entry::Begun { resumes_all: true };
    let one = std::slice::from_ref(&begun);
    assert!(judged(10, one, |_, _| {}).await);
    assert!(!judged(9, one, |_, _| {}).await, "it was in time");
    assert!(
        !judged(10, &[Entry::Begun { resumes_all: false }], |_, _| {}).await,
        "it had no place"
    );
    assert!(!judged(10, &[begun.clone(), Entry::Unreadable], |_, _| {}).await, "it is unreadable");
    let leaves = judged(10, one, |found, id| {
        links(found, id).on_parent.pause = WhenParentPauses::Leave;
    });
    assert!(!leaves.await, "it does not do as its parent");
    let abandons = judged(10, one, |found, id| {
        add(found, id, None, Lifecycle::RunEnded { how: RunEnd::Abandoned });
    });
    assert!(!abandons.await, "its run is still there");
}
