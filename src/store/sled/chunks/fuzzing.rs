//! What holds of snapshots in chunks, for any bytes.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    rc::Rc,
};

use uuid::Uuid;

use super::{Address, Cut, Head, joined, seal};
use crate::{
    model::ids::SessionId,
    store::{
        codec::{Reader, Unreadable},
        fuzzing::{some_bits, with_bit_flipped},
    },
};

/// The rows of chunks, by their addresses.
type Rows = HashMap<Address, Rc<[u8]>>;

const SESSION: SessionId = SessionId::from_uuid(Uuid::from_u128(9));

/// A snapshot in chunks: rows of any content, and those of a sound one with some of them changed.
pub(crate) fn chunks(bytes: &[u8]) {
    if let Ok(head) = Head::decode(bytes) {
        let _ = join(&head, &Rows::new());
    }
    any_rows(bytes);
    sound_rows(bytes);
}

/// Takes the bytes for a head and for chunks, each named by its number among them.
fn any_rows(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let Ok([levels, front, first, count]) = reader.array() else {
        return;
    };
    let (Ok(front), Ok(length)) = (reader.take(front.into()), reader.array()) else {
        return;
    };
    let mut rows = Rows::new();
    let mut made = Vec::new();
    while let Ok([level, length]) = reader.array()
        && let Ok(content) = reader.take(length.into())
    {
        let chosen = |number: &u8| made.get(usize::from(*number)).copied();
        let content = match level {
            0 => content.to_vec(),
            _ => joined(&content.iter().filter_map(chosen).collect::<Vec<_>>()),
        };
        let address = Address::of(SESSION, level, &content);
        rows.insert(address, seal(&content).into());
        made.push(address);
    }
    let top: Vec<_> = made.iter().skip(first.into()).take(count.into()).copied().collect();
    let head = Head {
        levels: levels % 8,
        // What names one chunk many times may be as large as it says.
        length: u64::from(u16::from_le_bytes(length)),
        checksum: 0,
        front,
        back: &[],
        top: &joined(&top),
    };
    match join(&head, &rows) {
        Ok(snapshot) => assert_eq!(snapshot.len() as u64, head.length),
        Err(Unreadable::Checksum) => {
            let (named, found) = named(&head, &rows);
            found.expect("everything was found and is as long as it says");
            assert!(named.iter().all(|address| rows.contains_key(address)));
        }
        Err(_) => {}
    }
}

fn sound_rows(bytes: &[u8]) {
    let times = (100_usize << 10).div_ceil(bytes.len().max(1));
    // What changes from one to the next makes chunks that differ.
    let blocks = (0..times as u64).flat_map(|number| {
        let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        number.into_iter().chain(bytes.iter().copied())
    });
    let snapshot: Vec<u8> = blocks.take(100 << 10).collect();
    let cut = Cut::new(SESSION, snapshot.as_slice().into());
    let rows = rows(&cut);
    let head = Head::read(cut.head()).expect("a sound head");
    assert!(join(&head, &rows).expect("a sound snapshot") == snapshot);
    let (named, found) = named(&head, &rows);
    found.expect("sound lists");
    assert!(named.len() == rows.len() && named.iter().all(|address| cut.has(address)));

    let [chosen, other] = some_bits(&snapshot);
    Head::read(&with_bit_flipped(cut.head(), chosen % (cut.head().len() * 8)))
        .map(drop)
        .expect_err("a changed bit");
    let mut addresses: Vec<_> = rows.keys().copied().collect();
    addresses.sort_unstable();
    let at = |place: usize| addresses.get(place % addresses.len()).copied().expect("some");
    let (address, another) = (at(chosen), at(other));
    let harmed = |row: Option<Rc<[u8]>>| {
        let mut harmed = rows.clone();
        match row {
            Some(row) => harmed.insert(address, row),
            None => harmed.remove(&address),
        };
        join(&head, &harmed)
    };
    harmed(None).expect_err("a chunk that is not there");
    let row = rows.get(&address).expect("a row");
    let flipped = with_bit_flipped(row, other % (row.len() * 8));
    harmed(Some(flipped.into())).expect_err("a changed bit");
    if address != another {
        harmed(rows.get(&another).cloned()).expect_err("a chunk in the place of another");
    }
}

fn rows(cut: &Cut) -> Rows {
    let mut rows = Rows::new();
    cut.missing(
        |_| false,
        |key, row| {
            let address = key.last_chunk().expect("an address at the end of the key");
            assert!(rows.insert(Address(*address), row.into()).is_none(), "given twice");
        },
    );
    rows
}

fn join(head: &Head<'_>, rows: &Rows) -> Result<Vec<u8>, Unreadable> {
    match head.join(SESSION, |address| Ok::<_, Infallible>(rows.get(address))) {
        Ok(joined) => joined,
        Err(never) => match never {},
    }
}

fn named(head: &Head<'_>, rows: &Rows) -> (HashSet<Address>, Result<(), Unreadable>) {
    let mut named = HashSet::new();
    let found = head.name(SESSION, |_| false, |address| Ok(rows.get(address)), &mut named);
    (named, found)
}
