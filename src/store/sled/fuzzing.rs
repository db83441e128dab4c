//! The decoders of what only the sled store writes, and what holds of them for any bytes.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

pub(crate) use super::chunks::fuzzing::chunks;
use super::{
    SledStore,
    mark::{self, Found},
    meta::Meta,
    table::Table,
    value,
};
use crate::store::{
    Query, Store, archive,
    codec::{self, Frame, Reader, Unreadable},
    fuzzing::{some_bits, with_bit_flipped},
};

/// The file of the mark: as it is, and with the bytes as the bodies of its two slots.
pub(crate) fn mark(bytes: &[u8]) {
    let (_, found) = mark::read(bytes);
    assert_eq!(found == Found::Absent, bytes.is_empty());

    let (first, second) = bytes.split_at(bytes.len() / 2);
    let halves = [first, second];
    let slots = halves.map(|body| codec::seal(Frame::Meta, body));
    let [(first, is_first), (second, is_second)] = slots.each_ref().map(|slot| mark::read(slot));
    let [mut file, second_slot] = slots;
    file.resize(4096, 0);
    file.extend(&second_slot);
    let (newest, _) = mark::read(&file);
    let turns = halves.map(|body| body.first_chunk().copied().map_or(0, u64::from_le_bytes));
    match (is_first, is_second) {
        (Found::Sound, Found::Sound) if turns.first() > turns.last() => assert_eq!(newest, first),
        (Found::Sound, Found::Sound) if turns.first() == turns.last() => {}
        (_, Found::Sound) => assert_eq!(newest, second),
        (_, Found::Absent | Found::Unreadable) => assert_eq!(newest, first),
    }
    let again = mark::encode(&newest);
    // A torn write spoils one slot, and the other holds.
    if is_second == Found::Sound && second_slot.len() == again.len() {
        for place in some_bits(&second_slot) {
            let torn = with_bit_flipped(&file, 4096 * 8 + place);
            assert_eq!(mark::read(&torn).0, first);
        }
    }
    assert_eq!(mark::read(&again), (newest, Found::Sound));
}

/// The row about the store itself, and what is known of an input id.
pub(crate) fn meta(bytes: &[u8]) {
    if let Ok(meta) = Meta::decode(bytes) {
        let again = meta.encode();
        assert!(bytes.starts_with(&again));
        assert_eq!(Meta::decode(&again).expect("what was encoded is decoded"), meta);
    }
    if let Ok((sequence, checksum)) = codec::read_input_id(bytes) {
        assert!(bytes.starts_with(&codec::input_id(sequence, checksum)));
    }
}

/// A value in pieces: rows of any content, and those of a sound value with one of them changed.
pub(crate) fn value(bytes: &[u8]) {
    any_rows(bytes);
    sound_rows(bytes);
}

/// Takes the bytes as the body of a head, and then the bodies of pieces, each after its length.
fn any_rows(bytes: &[u8]) {
    const HEAD: usize = 1 + 8 + 8 + 4 + 4;
    let mut reader = Reader(bytes);
    let Ok(head) = reader.take(HEAD) else {
        return;
    };
    let mut rows = vec![codec::seal(Frame::Head, head)];
    while let Ok([length]) = reader.array()
        && let Ok(piece) = reader.take(usize::from(length))
    {
        rows.push(codec::seal(Frame::Piece, piece));
    }
    let held: usize = rows.iter().map(Vec::len).sum();
    for table in Table::ALL {
        if let Ok(body) = join(table, &rows) {
            assert!(body.len() < held);
            let length = (body.len() as u64).to_le_bytes();
            let checksum = crc32fast::hash(&body).to_le_bytes();
            assert!(head.starts_with(&[table.frame() as u8]) && head.ends_with(&checksum));
            assert_eq!(head.get(9..17), Some(&length[..]));
        }
    }
}

fn sound_rows(bytes: &[u8]) {
    let table = Table::Snapshots;
    let times = (3 * value::ROW).div_ceil(bytes.len().max(1));
    let body = if bytes.is_empty() { vec![0; 3 * value::ROW] } else { bytes.repeat(times) };
    let encoded = value::encode(table, b"key", 7, &body);
    let mut rows = vec![encoded.row];
    rows.extend(encoded.pieces.into_iter().map(|(_, piece)| piece));
    assert!(rows.iter().all(|row| row.len() <= value::ROW));
    assert_eq!(join(table, &rows).expect("a sound value"), body);

    let chosen = some_bits(&body)[0];
    let mut flipped = rows.clone();
    for row in flipped.iter_mut().skip(chosen % 4).take(1) {
        *row = with_bit_flipped(row, chosen % (row.len() * 8));
    }
    join(table, &flipped).expect_err("a changed bit");
    rows.swap(1, 2);
    join(table, &rows).expect_err("pieces in another order");
    rows.swap(1, 2);
    let last = rows.pop();
    join(table, &rows).expect_err("a piece that is not there");
    let newer = value::encode(table, b"key", 8, &body);
    rows.extend(newer.pieces.into_iter().map(|(_, piece)| piece).next_back());
    join(table, &rows).expect_err("a piece of another value");
    rows.pop();
    rows.extend(last);
    assert_eq!(join(table, &rows).expect("a sound value"), body);
}

/// Joins a head and its pieces.
fn join(table: Table, rows: &[Vec<u8>]) -> Result<Vec<u8>, Unreadable> {
    let piece = |number| Ok::<_, Infallible>(rows.get(number as usize + 1));
    match value::join(table, rows.first().map_or(&[], Vec::as_slice), piece) {
        Ok(joined) => joined,
        Err(never) => match never {},
    }
}

/// A whole archive, made into a store: everything in it can be read, and it is the same when it
/// was exported and imported again.
pub(crate) fn import(bytes: &[u8]) {
    let folder = Folder::new();
    let (first, second) = (folder.0.join("first"), folder.0.join("second"));
    if archive::import(&first, bytes).is_err() {
        assert!(!first.join("sled").exists(), "nothing was imported");
        return;
    }
    let once = exported(&first);
    archive::import(&second, once.as_slice()).expect("what was exported is imported");
    let twice = exported(&second);
    assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());

    let store = SledStore::open(&second).expect("it opens");
    block_on(async {
        let page = store.list(Query::default()).await.expect("a sound index");
        for record in page.records {
            let session = record.id;
            let found = store.load(session).await.expect("a sound record");
            assert_eq!(found.as_ref(), Some(&record));
            store.inputs(session, 0, 1_000).await.expect("sound inputs");
            store.events(session, 0..=u64::MAX, 1_000).await.expect("sound events");
        }
    });
}

fn exported(path: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    let report = archive::export(path, &mut archive).expect("a new store is exported");
    assert_eq!(report.lost, []);
    archive
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future);
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("sessionkeeper-import-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
