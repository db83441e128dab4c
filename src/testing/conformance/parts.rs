//! Inputs, snapshots and events: what is kept, and how it comes back.

use std::{ops::RangeInclusive, sync::Arc};

use crate::{StepProgress, Turn, store::Store};

use crate::testing::{
    Place,
    fixture::{
        input_id, messages, next, noise, only, opened, put, record, reopened, session, with_events,
        with_inputs, with_snapshot, with_steps,
    },
};

/// Clause 7, kept as named: inputs come in order, a page at a time.
pub async fn inputs_come_in_order_and_in_pages<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_inputs(record(2), &[(None, b"other")])).await;
    let mut stored = put(&store, with_inputs(record(1), &[(None, b"0"), (None, b"1")])).await;
    for number in 2..12_u8 {
        let commit = with_inputs(next(&stored, |_| ()), &[(None, &[b'0' + number])]);
        stored = put(&store, commit).await;
    }
    let page = async |after, limit| {
        let inputs = store.inputs(session(1), after, limit).await.expect("inputs");
        inputs.iter().map(|input| input.sequence).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3).await, [1, 2, 3]);
    assert_eq!(page(3, 100).await, (4..=12).collect::<Vec<_>>());
    assert_eq!(page(12, 100).await, [0_u64; 0]);
    assert_eq!(page(u64::MAX, 100).await, [0_u64; 0]);
    assert_eq!(page(0, 0).await, [0_u64; 0]);
}

/// Clause 7, kept as named: inputs are kept until every kept snapshot covers them, and no longer.
pub async fn inputs_that_every_snapshot_covers_are_gone<P: Place>() {
    let (place, store) = opened::<P>().await;
    let five = [(None, b"x".as_slice()); 5];
    let mut stored = put(&store, with_inputs(record(1), &five)).await;
    for (consumed, kept) in [(2, vec![3, 4, 5]), (4, vec![3, 4, 5]), (5, vec![5]), (5, vec![])] {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), consumed, b"state")).await;
        let inputs = store.inputs(session(1), 0, 9).await.expect("inputs");
        let left: Vec<_> = inputs.iter().map(|input| input.sequence).collect();
        assert_eq!(left, kept, "after a snapshot that covers {consumed}");
    }
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.inputs(session(1), 0, 9).await.expect("inputs"), []);
}

/// Clause 7, kept as named: the steps of the turns after one, by their turns and keys.
pub async fn steps_come_by_their_turns_and_keys<P: Place>() {
    let (place, store) = opened::<P>().await;
    let turn = |input, interlude| Turn { input, interlude };
    put(&store, with_steps(record(2), &[(turn(1, 0), "other", None)])).await;
    let large = noise(3, 100_000);
    let steps: [(Turn, &str, Option<&[u8]>); 6] = [
        (turn(2, 0), "b", Some(b"2")),
        (turn(1, 1), "first", None),
        (turn(1, 0), "second", Some(&large)),
        (turn(2, 0), "ba", Some(&large)),
        (turn(1, 0), "first", Some(b"")),
        (turn(1, 2), "a", Some(b"3")),
    ];
    let five = with_inputs(record(1), &[(None, b"x".as_slice()); 5]);
    let stored = put(&store, five).await;
    let commit = with_steps(next(&stored, |_| ()), &steps);
    let mut wanted = commit.steps.clone();
    wanted.sort_by(|a, b| (a.turn, &a.key).cmp(&(b.turn, &b.key)));
    put(&store, commit).await;
    let check = async |store: &P::Store| {
        let steps = store.steps(session(1), Turn::default()).await.expect("steps");
        assert!(steps == wanted, "what was committed");
        let steps = store.steps(session(1), turn(1, 1)).await.expect("steps");
        assert!(steps == wanted[3..], "those of later turns");
        assert_eq!(store.steps(session(1), turn(2, 0)).await.expect("steps"), []);
    };
    check(&store).await;
    check(&reopened(&place, store, 1).await).await;
}

/// Clause 7, kept as named: a step replaces the one of the same turn and key.
pub async fn a_step_is_replaced_by_what_came_of_it<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let turn = Turn { input: 0, interlude: 1 };
    let large = noise(4, 80_000);
    let mut stored = put(&store, with_steps(record(1), &[(turn, "ab", Some(&large))])).await;
    for result in [None, Some(large.as_slice()), Some(b"small".as_slice()), Some(&large), None] {
        let commit = with_steps(next(&stored, |_| ()), &[(turn, "a", result)]);
        let wanted = commit.steps.clone();
        stored = put(&store, commit).await;
        let steps = store.steps(session(1), Turn::default()).await.expect("steps");
        assert!(steps[..1] == wanted, "{:?} bytes", result.map(<[u8]>::len));
        assert_eq!(steps.len(), 2);
        let StepProgress::Finished(other) = &steps[1].progress else { panic!("{steps:?}") };
        assert!(**other == *large, "another step is as it was");
    }
}

/// Clause 7, kept as named: steps are kept until every kept snapshot covers their turn, and no
/// longer; and one that its own commit covers is not kept.
pub async fn steps_that_every_snapshot_covers_are_gone<P: Place>() {
    let (place, store) = opened::<P>().await;
    let large = noise(5, 70_000);
    let result = Some(large.as_slice());
    let turn = |input, interlude| Turn { input, interlude };
    let steps: Vec<_> = [turn(1, 0), turn(1, 1), turn(2, 0)]
        .into_iter()
        .flat_map(|turn| [(turn, "a", result), (turn, "b", None)])
        .collect();
    let mut stored = put(&store, with_inputs(record(1), &[(None, b"x".as_slice()); 2])).await;
    stored = put(&store, with_steps(next(&stored, |_| ()), &steps)).await;
    for (consumed, interlude, left) in
        [(1, 0, 4), (1, 1, 4), (2, 0, 2), (2, 0, 0), (2, 1, 0), (2, 1, 0)]
    {
        let mut commit = with_snapshot(next(&stored, |_| ()), consumed, b"state");
        let record = commit.record_mut();
        record.snapshots[0].interlude = interlude;
        let covered = record.steps_covered();
        record.steps = record.steps.filter(|last| *last > covered);
        stored = put(&store, commit).await;
        let steps = store.steps(session(1), Turn::default()).await.expect("steps");
        assert_eq!(steps.len(), left, "after {consumed}+{interlude}");
        assert!(steps.iter().all(|step| step.turn > covered));
    }
    let covered = with_steps(next(&stored, |_| ()), &[(turn(2, 1), "late", result)]);
    put(&store, covered).await;
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.steps(session(1), Turn::default()).await.expect("steps"), []);
}

/// Clause 7, kept as named: the snapshots that the record names, and no others.
pub async fn snapshots_are_kept_as_the_record_names_them<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, b"state 1")).await;
    for number in 2..=4 {
        let bytes = format!("state {number}");
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, bytes.as_bytes())).await;
    }
    let kept = async |sequence| {
        let bytes = store.snapshot(session(1), sequence).await.expect("snapshot");
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    assert_eq!(kept(2).await, None);
    assert_eq!(kept(3).await.as_deref(), Some("state 3"));
    assert_eq!(kept(4).await.as_deref(), Some("state 4"));
    // A fallback drops the newest.
    put(
        &store,
        only(next(&stored, |record| {
            record.snapshots.remove(0);
        })),
    )
    .await;
    assert_eq!(kept(3).await.as_deref(), Some("state 3"));
    assert_eq!(kept(4).await, None);
}

/// Clause 7, kept as named: byte for byte, whatever its size.
pub async fn a_large_snapshot_comes_back_as_it_was<P: Place>() {
    let (place, store) = opened::<P>().await;
    let mut stored = None;
    for length in [0, 1, 32_000, 32_768, 32_769, 65_536, 1_000_003, 40_000, 10] {
        let bytes = noise(length as u64, length);
        let base = stored.as_ref().map_or_else(|| record(1), |last| next(last, |_| ()));
        let last = put(&store, with_snapshot(base, 0, &bytes)).await;
        let sequence = last.snapshots[0].sequence;
        let read = store.snapshot(session(1), sequence).await.expect("snapshot");
        assert!(read.as_deref() == Some(bytes.as_slice()), "{length} bytes");
        stored = Some(last);
    }
    let store = reopened(&place, store, 2).await;
    let read = store.snapshot(session(1), 8).await.expect("snapshot");
    assert!(read.as_deref() == Some(noise(40_000, 40_000).as_slice()));
}

/// Clause 7, kept as named: an input that comes together with the snapshot that covers it is not
/// kept, but its id is.
pub async fn an_input_that_its_own_commit_covers_is_gone_at_once<P: Place>() {
    let (_place, store) = opened::<P>().await;
    let mut commit = with_inputs(record(1), &[(Some("a"), b"one"), (Some("b"), b"two")]);
    let inputs = commit.inputs;
    commit = with_snapshot(Arc::unwrap_or_clone(commit.record), 1, b"state");
    commit.inputs = inputs;
    put(&store, commit).await;
    let left = store.inputs(session(1), 0, 9).await.expect("inputs");
    assert_eq!(left.iter().map(|input| input.sequence).collect::<Vec<_>>(), [2]);
    for (id, sequence) in [("a", 1), ("b", 2)] {
        let known = store.accepted(session(1), input_id(id)).await.expect("read");
        assert_eq!(known.map(|known| known.sequence), Some(sequence), "{id}");
    }
}

/// Clause 7, kept as named: byte for byte, whatever their size.
pub async fn a_large_record_input_and_event_come_back_as_they_were<P: Place>() {
    let (place, store) = opened::<P>().await;
    let text = "0123456789abcdef".repeat(10_000);
    let payload = noise(1, 150_000);
    let mut commit = with_inputs(record(1), &[(None, &payload), (None, b"small")]);
    commit.events = with_events(record(1), ["before", &text, "after"]).events;
    commit.record_mut().last_event = 3;
    commit.record_mut().metadata.insert("text".to_owned(), text.clone().into());
    let stored = put(&store, commit).await;
    let store = reopened(&place, store, 1).await;
    assert!(store.load(session(1)).await.expect("load") == Some(stored.clone()));
    let inputs = store.inputs(session(1), 0, 9).await.expect("inputs");
    assert!(*inputs[0].payload == *payload && *inputs[1].payload == *b"small");
    let events = store.events(session(1), 2..=3, 9).await.expect("events");
    assert!(messages(&events) == [(2, text), (3, "after".to_owned())]);

    // It shrinks again, and all that is not needed goes with it.
    let small = with_snapshot(next(&stored, |record| record.metadata.clear()), 2, b"state");
    let small = put(&store, small).await;
    assert_eq!(store.load(session(1)).await.expect("load"), Some(small));
    assert_eq!(store.inputs(session(1), 0, 9).await.expect("inputs"), []);
}

/// Clause 7, kept as named: events come in order, from any range.
pub async fn events_come_in_order_and_in_ranges<P: Place>() {
    let (_place, store) = opened::<P>().await;
    put(&store, with_events(record(2), ["other"])).await;
    put(&store, with_events(record(1), ["a", "b", "c", "d", "e"])).await;
    let read = async |range: RangeInclusive<u64>, limit| {
        let events = store.events(session(1), range, limit).await.expect("events");
        messages(&events).into_iter().map(|(_, text)| text).collect::<String>()
    };
    assert_eq!(read(1..=5, 9).await, "abcde");
    assert_eq!(read(0..=u64::MAX, usize::MAX).await, "abcde");
    assert_eq!(read(2..=4, 9).await, "bcd");
    assert_eq!(read(2..=4, 2).await, "bc");
    assert_eq!(read(5..=9, 9).await, "e");
    assert_eq!(read(6..=9, 9).await, "");
    assert_eq!(read(1..=5, 0).await, "");
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let empty = read(4..=2, 9).await;
    assert_eq!(empty, "");
}

/// Clause 7, kept as named: the log has no gaps, however it was written.
pub async fn events_are_found_across_many_commits<P: Place>() {
    let (place, mut store) = opened::<P>().await;
    let mut stored = put(&store, only(record(1))).await;
    let mut written = Vec::new();
    for round in 0..60_usize {
        let texts: Vec<_> = (0..=round % 4)
            .map(|number| format!("{round}-{number} {}", "x".repeat(round * number * 23)))
            .collect();
        let commit = with_events(next(&stored, |_| ()), texts.iter().map(String::as_str));
        written.extend(messages(&commit.events));
        stored = put(&store, commit).await;
        if round % 20 == 19 {
            store = reopened(&place, store, 1).await;
        }
    }
    let events = store.events(session(1), 1..=999, 999).await.expect("events");
    assert_eq!(messages(&events), written);
    for start in [1, 2, 50, 99, 120] {
        let events = store.events(session(1), start..=999, 7).await.expect("events");
        let at = usize::try_from(start).expect("small") - 1;
        assert_eq!(messages(&events), written[at..at + 7], "from {start}");
    }
}
