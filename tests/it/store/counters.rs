//! Counters of sessions on disk: also in stores that had none, and where they are damaged.

use sessionkeeper::{
    Deleted, Labels, PauseCause, Phase, Removal, Scope, SessionRecord, State,
    store::{SledStore, Store, StoreError, export, import, repair},
    testing::{Rule, audit},
};

use super::{
    fixture::{
        Place, active, kind, next, only, opened, paused, put, record, reopened, supervised,
        with_snapshot,
    },
    sled::{Folder, raw},
};

/// Ten sessions of two kinds, one of which was deleted.
async fn filled() -> (Folder, SledStore) {
    let (place, store) = opened::<Folder>().await;
    let phases = [active(1), Phase::Stopped, paused(PauseCause::Asked, 3, None)];
    for (number, phase) in (1..=10).zip(phases.into_iter().cycle()) {
        let of_kind = if number % 2 == 0 { "coder" } else { "writer" };
        let user = if number < 7 { "ada" } else { "eve" };
        let labels = Labels::new([("user", user)]).expect("labels");
        let record = SessionRecord { phase, kind: kind(of_kind), labels, ..record(number) };
        let stored = put(&store, with_snapshot(record, 0, b"state")).await;
        if number == 5 {
            let gone = next(&stored, |record| {
                let (at, by) = (supervised(9), Removal::Asked);
                record.deleted = Some(Deleted { at, by, purged: false });
            });
            put(&store, only(gone)).await;
        }
    }
    (place, store)
}

/// Every counter says what a listing does.
async fn agree(store: &SledStore, total: u64) {
    let found = audit(store).await;
    let wrong: Vec<_> = found.iter().filter(|found| found.rule == Rule::Index).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(store.count(Scope::All).await.expect("counts").total(), total);
}

/// The keys of all counters.
fn counters(place: &Folder) -> Vec<Vec<u8>> {
    raw(place.path(), |db| {
        let index = db.open_tree("index").expect("a tree");
        index.scan_prefix(b"c").keys().map(|key| key.expect("a key").to_vec()).collect()
    })
}

#[tokio::test]
async fn a_store_without_counters_has_them_when_it_is_opened() {
    let (place, store) = filled().await;
    agree(&store, 9).await;
    drop(store);
    let all = counters(&place);
    assert_eq!(all.len(), 1 + 2 + 2);
    // An older version had none. Where one was interrupted while it counted, some are there.
    for kept in 0..all.len() {
        raw(place.path(), |db| {
            let index = db.open_tree("index").expect("a tree");
            for (number, key) in all.iter().enumerate() {
                if key == b"ca" || number > kept {
                    index.remove(key).expect("removed");
                }
            }
        });
        let store = place.open().await;
        agree(&store, 9).await;
        drop(store);
        assert_eq!(counters(&place), all);
    }
}

#[tokio::test]
async fn a_damaged_counter_is_reported_and_counted_anew_with_its_next_change() {
    let (place, store) = filled().await;
    drop(store);
    let all = counters(&place);
    raw(place.path(), |db| {
        let index = db.open_tree("index").expect("a tree");
        for key in &all {
            index.insert(key.as_slice(), b"not what was written").expect("inserted");
        }
    });
    let store = place.open().await;
    let store = reopened(&place, store, 1).await;
    let error = store.count(Scope::All).await.expect_err("damaged");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(store.damaged().await.expect("damages").len(), 1);
    // It hinders no commit.
    for (number, user, of_kind) in [(20, "ada", "coder"), (21, "eve", "writer")] {
        let labels = Labels::new([("user", user)]).expect("labels");
        put(&store, only(SessionRecord { labels, kind: kind(of_kind), ..record(number) })).await;
    }
    agree(&store, 11).await;
    let store = reopened(&place, store, 1).await;
    agree(&store, 11).await;
}

#[tokio::test]
async fn a_counter_at_zero_takes_no_room() {
    let (place, store) = opened::<Folder>().await;
    let labels = Labels::new([("job", "17")]).expect("labels");
    let stored = put(&store, only(SessionRecord { labels, ..record(1) })).await;
    let bare = put(&store, only(next(&stored, |record| record.labels = Labels::default()))).await;
    put(
        &store,
        only(next(&bare, |record| {
            record.deleted = Some(Deleted { at: supervised(9), by: Removal::Asked, purged: false });
        })),
    )
    .await;
    drop(store);
    assert_eq!(counters(&place), [b"ca".to_vec()]);
}

#[tokio::test]
async fn archives_and_repairs_are_counted() {
    let (place, store) = filled().await;
    let counts = store.count(Scope::All).await.expect("counts");
    assert_eq!(counts.of(State::Stopped), 2);
    drop(store);
    let mut archive = Vec::new();
    export(place.path(), &mut archive).expect("export");
    let copy = Folder::new();
    import(copy.path(), archive.as_slice()).expect("import");
    let store = copy.open().await;
    agree(&store, 9).await;
    assert_eq!(store.count(Scope::All).await.expect("counts"), counts);
    repair(place.path()).expect("repair");
    agree(&place.open().await, 9).await;
}
