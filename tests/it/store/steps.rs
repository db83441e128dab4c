//! The format of steps on disk: read what it was when it was first written, refuse what is newer.

use std::fs;

use sessionkeeper::{StoredStep, Turn, store::Store};

use super::{
    fixture::{Place, opened, put, record, session, with_steps, worker},
    formats::{make_newer, pack, unpack},
    sled::Folder,
};

/// A store of format 1 with steps.
const STEPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/steps-1.txt");

/// A result in two pieces. Zeros take no room in a fixture.
fn large() -> Vec<u8> {
    vec![0; 40_000]
}

fn commit() -> sessionkeeper::store::Commit {
    let turn = |interlude| Turn { input: 0, interlude };
    let steps = [
        (turn(1), "begun", None),
        (turn(1), "finished", Some(b"{\"receipt\":7}".as_slice())),
        (turn(2), "finished", Some(&large())),
    ];
    with_steps(record(1), &steps)
}

async fn steps(place: &Folder) -> Result<Vec<StoredStep>, sessionkeeper::store::StoreError> {
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    store.steps(session(1), Turn::default()).await
}

#[tokio::test]
async fn steps_of_format_1_are_read() {
    let place = unpack(&fs::read_to_string(STEPS).expect("the fixture"));
    assert_eq!(steps(&place).await.expect("sound"), commit().steps);
}

#[tokio::test]
async fn a_newer_format_of_steps_is_refused_by_its_number() {
    let place = unpack(&fs::read_to_string(STEPS).expect("the fixture"));
    assert_eq!(make_newer(&place, "steps").len(), 3);
    let error = steps(&place).await.expect_err("newer");
    assert!(error.to_string().contains("format 2"), "{error}");
    assert!(error.to_string().contains("up to 1"), "{error}");
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_fixture_of_steps() {
    let (place, store) = opened::<Folder>().await;
    put(&store, commit()).await;
    store.close().await.expect("close");
    fs::write(STEPS, pack(place.path())).expect("written");
}
