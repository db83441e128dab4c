//! What repairs and imports make of a store that is not whole.

use std::fs;

use sessionkeeper::{
    StepProgress, Turn,
    store::{ArchiveError, SledStore, Store, StoreError, export, import, repair},
};

use super::{
    fixture::{
        Place, messages, next, noise, only, opened, put, record, session, with_events, with_steps,
        worker,
    },
    guards::{part, spoil},
    sled::{Folder, raw},
};

#[tokio::test]
async fn an_import_never_takes_the_place_of_a_store_that_was_lost() {
    let source = Folder::new();
    drop(source.open().await);
    let mut archive = Vec::new();
    export(source.path(), &mut archive).expect("export");
    let not_empty = |place: &Folder| {
        let error = import(place.path(), archive.as_slice()).expect_err("not empty");
        assert!(matches!(error, ArchiveError::NotEmpty { .. }), "{error:?}");
    };

    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    fs::remove_dir_all(place.path().join("sled")).expect("emptied");
    not_empty(&place);
    SledStore::open(place.path()).expect_err("emptied");
    not_empty(&place);

    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    fs::remove_file(place.path().join("MARK")).expect("removed");
    not_empty(&place);

    // One that was set aside, and of which nothing else is known.
    let place = Folder::new();
    drop(place.open().await);
    fs::write(place.path().join("MARK"), "nonsense").expect("spoiled");
    SledStore::open(place.path()).expect_err("nobody knows what it held");
    not_empty(&place);
}

#[tokio::test]
async fn an_error_of_an_archive_names_its_line() {
    let (place, store) = opened::<Folder>().await;
    put(&store, with_events(record(1), ["begun", "ended"])).await;
    drop(store);
    let mut archive = Vec::new();
    export(place.path(), &mut archive).expect("export");
    let archive = String::from_utf8(archive).expect("text");
    let lines: Vec<_> = archive.lines().collect();
    let copy = Folder::new();
    for line in 1..=lines.len() {
        let without_end = lines[..line - 1].join("\n");
        let spoiled = [&lines[..line - 1], &["nonsense"], &lines[line..]].concat().join("\n");
        for text in [without_end, spoiled] {
            let error = import(copy.path(), text.as_bytes()).expect_err("not whole");
            let ArchiveError::Line { line: named, .. } = error else { panic!("{error:?}") };
            assert_eq!(named, line as u64, "{text}");
        }
    }
    // And where it could be read, but nothing could go on from it.
    let last = format!(r#""event":{{"sequence":{},"#, u64::MAX);
    let text = archive.replace(r#""event":{"sequence":2,"#, &last);
    assert_ne!(text, archive);
    let error = import(copy.path(), text.as_bytes()).expect_err("no number follows");
    assert!(error.to_string().contains("that nothing reaches"), "{error}");
}

#[tokio::test]
async fn a_session_whose_record_is_gone_is_named_by_a_repair() {
    let (place, store) = opened::<Folder>().await;
    for number in 1..=3 {
        put(&store, with_events(record(number), ["begun"])).await;
    }
    drop(store);
    raw(place.path(), |db| {
        let tree = db.open_tree("records").expect("a tree");
        let id = session(2).as_uuid().into_bytes();
        assert!(tree.remove(id).expect("remove").is_some());
    });
    let report = repair(place.path()).expect("repair");
    assert_eq!((report.sessions, report.events), (2, 2));
    let lost: Vec<_> = report.lost.iter().map(|damage| damage.session).collect();
    assert_eq!(lost, [Some(session(2))], "{:?}", report.lost);
}

/// Else it would be taken again, as one that was never begun.
#[tokio::test]
async fn a_step_whose_result_is_lost_is_still_known_to_have_begun() {
    let (place, store) = opened::<Folder>().await;
    let turn = Turn { input: 0, interlude: 1 };
    let large = noise(1, 100_000);
    let steps = [(turn, "one", Some(b"1".as_slice())), (turn, "two", Some(&large))];
    put(&store, with_steps(record(1), &steps)).await;
    put(&store, with_steps(record(2), &steps)).await;
    drop(store);
    let keys = raw(place.path(), |db| {
        let tree = db.open_tree("steps").expect("a tree");
        tree.iter().keys().map(|key| key.expect("sound").to_vec()).collect::<Vec<_>>()
    });
    assert_eq!(keys.len(), 4);
    for key in &keys[..2] {
        spoil(place.path(), "steps", key);
    }
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let error = store.steps(session(1), Turn::default()).await.expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { what: "step", .. }), "{error:?}");
    assert_eq!(store.steps(session(2), Turn::default()).await.expect("sound").len(), 2);
    drop(store);
    let report = repair(place.path()).expect("repair");
    let lost: Vec<_> = report.lost.iter().map(|damage| damage.reason.as_str()).collect();
    assert_eq!((report.steps, lost.len()), (4, 2), "{lost:?}");
    assert!(lost[0].contains("its step \"one\" of turn 0+1"), "{lost:?}");
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let steps = store.steps(session(1), Turn::default()).await.expect("sound");
    let known: Vec<_> = steps.iter().map(|step| (step.key.as_str(), &step.progress)).collect();
    assert_eq!(known, [("one", &StepProgress::Begun), ("two", &StepProgress::Begun)]);
    let sound = store.steps(session(2), Turn::default()).await.expect("sound");
    assert!(sound[1].progress == StepProgress::Finished(large.into()));
}

#[tokio::test]
async fn a_repair_leaves_a_gap_where_events_were_lost() {
    let (place, store) = opened::<Folder>().await;
    let texts: Vec<_> = (1..=99).map(|number| format!("event {number}")).collect();
    let stored = put(&store, with_events(record(1), texts.iter().map(String::as_str))).await;
    drop(store);
    let second_row = raw(place.path(), |db| {
        let tree = db.open_tree("events").expect("a tree");
        let row = tree.iter().keys().nth(1).expect("a second row").expect("sound");
        row.to_vec()
    });
    spoil(place.path(), "events", &second_row);
    let report = repair(place.path()).expect("repair");
    assert_eq!(report.lost.len(), 1, "{:?}", report.lost);
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let events = store.events(session(1), 1..=999, 999).await.expect("sound");
    let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers.len() as u64, report.events);
    let gaps = numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
    assert_eq!((numbers.first(), gaps, numbers.last()), (Some(&1), 1, Some(&99)));
    // And it goes on from there.
    put(&store, with_events(next(&stored, |_| ()), ["after"])).await;
    let events = store.events(session(1), 99..=999, 999).await.expect("sound");
    assert_eq!(messages(&events), [(99, "event 99".to_owned()), (100, "after".to_owned())]);
}

#[tokio::test]
async fn a_repair_walks_past_what_the_database_cannot_read() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, only(record(1))).await;
    // Each has a row of its own, and together they fill more than a segment.
    for number in 1..=600 {
        let text = format!("event {number:03} {}", "x".repeat(9_000));
        stored = put(&store, with_events(next(&stored, |_| ()), [text.as_str()])).await;
    }
    drop(store);
    // When it is opened, it learns where everything is: it need not read it any more.
    drop(place.open().await);
    let log = place.path().join("sled/db");
    let mut bytes = fs::read(&log).expect("the log");
    let words = b"event 050 ";
    let places: Vec<_> =
        (0..bytes.len()).filter(|place| bytes[*place..].starts_with(words)).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place] ^= 1;
    }
    fs::write(&log, bytes).expect("spoiled");
    let report = repair(place.path()).expect("repair");
    let whose: Vec<_> = report.lost.iter().map(|damage| damage.session).collect();
    assert!(whose.contains(&Some(session(1))), "{:?}", report.lost);
    let store = place.open().await;
    let events = store.events(session(1), 1..=999, 999).await.expect("sound");
    let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert!(numbers.contains(&1) && numbers.contains(&600), "{numbers:?}");
    assert!(!numbers.contains(&50));
}

#[tokio::test]
async fn a_repair_gives_no_session_the_events_of_another() {
    let (place, store) = opened::<Folder>().await;
    // Each too large to share a row.
    let long = "x".repeat(9_000);
    put(&store, with_events(record(1), [long.as_str(); 2])).await;
    put(&store, with_events(record(2), [long.as_str(); 4])).await;
    drop(store);
    // What is left of the second goes on where the first ends.
    for sequence in [1, 2] {
        spoil(place.path(), "events", &part(session(2), sequence));
    }
    repair(place.path()).expect("repair");
    let store = place.open().await;
    for (number, expected) in [(1, [1, 2]), (2, [3, 4])] {
        let events = store.events(session(number), 1..=9, 9).await.expect("sound");
        let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, expected, "session {number}");
    }
}

#[tokio::test]
async fn a_store_is_not_rebuilt_on_what_cannot_be_cleared() {
    let place = Folder::new();
    drop(place.open().await);
    let mut archive = Vec::new();
    export(place.path(), &mut archive).expect("export");
    let copy = Folder::new();
    let rebuilding = copy.path().join("rebuilding");
    fs::write(&rebuilding, "not a folder").expect("in the way");
    let error = import(copy.path(), archive.as_slice()).expect_err("in the way");
    let ArchiveError::Store(error) = error else { panic!("{error:?}") };
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("clear the folder `rebuilding`"), "{error}");
    fs::remove_file(&rebuilding).expect("out of the way");
    import(copy.path(), archive.as_slice()).expect("import");
}

#[tokio::test]
async fn a_store_that_was_to_be_set_aside_is_read_where_it_is() {
    let (place, store) = opened::<Folder>().await;
    let stored = put(&store, only(record(1))).await;
    drop(store);
    let [sled, aside, mark] = ["sled", "damaged-1", "MARK"].map(|name| place.path().join(name));
    for by_opening in [true, false] {
        // As if a process had ended between the mark and the move.
        let before = fs::read(&mark).expect("the mark");
        repair(place.path()).expect("repair");
        fs::copy(aside.join("MARK"), &mark).expect("the mark says so");
        fs::remove_dir_all(&sled).expect("not yet rebuilt");
        fs::rename(&aside, &sled).expect("not yet moved");
        assert!(fs::read(&mark).expect("the mark") != before);
        if by_opening {
            let error = SledStore::open(place.path()).expect_err("set aside");
            assert!(matches!(error, StoreError::StoreDamaged { .. }), "{error:?}");
            assert!(aside.join("db").exists() && !sled.exists(), "it is moved now");
        }
        let report = repair(place.path()).expect("repair");
        assert_eq!(report.lost, []);
        assert!(!place.path().join("reading").exists(), "the copy that was read is gone");
        let store = place.open().await;
        store.begin(worker(1)).await.expect("begin");
        let found = store.load(session(1)).await.expect("load");
        assert_eq!(found.as_ref(), Some(&stored));
        drop(store);
        fs::remove_dir_all(&aside).expect("not needed any more");
    }
}
