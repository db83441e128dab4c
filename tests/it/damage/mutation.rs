//! What may happen to the files of a store while nobody looks.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::corpus::{self, Corpus, Image};
use crate::store::sled::raw;

/// A kind of mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Truncate,
    Empty,
    Append,
    Zero,
    Garble,
    Flip,
    Remove,
    Swap,
    RollBack,
    Duplicate,
    Row,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Truncate,
        Self::Empty,
        Self::Append,
        Self::Zero,
        Self::Garble,
        Self::Flip,
        Self::Remove,
        Self::Swap,
        Self::RollBack,
        Self::Duplicate,
        Self::Row,
    ];
}

/// One mutation, in words.
pub(crate) struct Mutation {
    pub(crate) kind: Kind,
    what: String,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// Changes a copy of the files of a store. The same seed makes the same change.
pub(crate) fn mutate(corpus: &Corpus, seed: u64) -> (Image, Mutation) {
    let mut rng = fastrand::Rng::with_seed(seed);
    // Each kind in turn, so that a short row of seeds has all of them.
    let turn = usize::try_from(seed % Kind::ALL.len() as u64).expect("small");
    let kind = Kind::ALL[turn];
    let mut image = corpus.image.clone();
    let what = apply(kind, &mut image, corpus, &mut rng);
    (image, Mutation { kind, what })
}

fn apply(kind: Kind, image: &mut Image, corpus: &Corpus, rng: &mut fastrand::Rng) -> String {
    if let Kind::RollBack | Kind::Duplicate = kind {
        return with_an_older(kind, image, corpus, rng);
    }
    if kind == Kind::Row {
        return in_a_row(image, rng);
    }
    let place = choose(image, rng);
    let name = place.display();
    let mut bytes = image.remove(&place).expect("it is there");
    let length = bytes.len();
    let what = match kind {
        Kind::Truncate => {
            bytes.truncate(somewhere(length, rng));
            format!("{name} from {length} to {} bytes", bytes.len())
        }
        Kind::Empty => {
            bytes.clear();
            format!("{name} of {length} bytes")
        }
        Kind::Append => {
            let more = 1 + size(rng);
            bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
            format!("{more} bytes to {name}")
        }
        Kind::Zero | Kind::Garble => {
            let from = somewhere(length, rng);
            let to = (from + 1 + size(rng)).min(length);
            for byte in &mut bytes[from..to] {
                *byte = if kind == Kind::Zero { 0 } else { rng.u8(..) };
            }
            format!("{name} from byte {from} to {to}")
        }
        Kind::Flip => {
            let count = if rng.bool() { 1 } else { rng.usize(1..50) };
            let mut first = None;
            for _ in 0..count.min(length) {
                let byte = somewhere(length, rng);
                first.get_or_insert(byte);
                bytes[byte] ^= 1 << rng.u8(0..8);
            }
            format!("{count} bits of {name}, the first in byte {first:?}")
        }
        Kind::Remove => return format!("{name} of {length} bytes"),
        Kind::Swap => {
            let other = choose(image, rng);
            let what = format!("{name} and {}", other.display());
            std::mem::swap(&mut bytes, image.get_mut(&other).expect("it is there"));
            what
        }
        Kind::RollBack | Kind::Duplicate | Kind::Row => unreachable!("done above"),
    };
    image.insert(place, bytes);
    what
}

/// An older copy of a file takes its place, or stands beside it under a name of its own time.
fn with_an_older(
    kind: Kind,
    image: &mut Image,
    corpus: &Corpus,
    rng: &mut fastrand::Rng,
) -> String {
    let age = rng.usize(0..corpus.earlier.len());
    let old = &corpus.earlier[age];
    let pick = |files: &BTreeMap<PathBuf, Vec<u8>>, rng: &mut fastrand::Rng| {
        let place = choose(files, rng);
        let bytes = files[&place].clone();
        (place, bytes)
    };
    if kind == Kind::RollBack {
        let (place, bytes) = pick(old, rng);
        let what = format!("{} to its form of image {age}", place.display());
        image.insert(place, bytes);
        return what;
    }
    // A name that sled takes for the newest of its snapshots, or one that is nobody's.
    let (place, bytes) = pick(if rng.bool() { old } else { image }, rng);
    let name = match rng.u8(0..3) {
        0 => PathBuf::from("sled/snap.7FFFFFFFFFFFFFFF"),
        1 => PathBuf::from("sled/blobs/1234567"),
        _ => PathBuf::from("sled/db copy"),
    };
    let what = format!("{} as {}", place.display(), name.display());
    image.insert(name, bytes);
    what
}

/// A bad value in a database that is sound: what sled hands out is not what was put in.
fn in_a_row(image: &mut Image, rng: &mut fastrand::Rng) -> String {
    const TREES: [&str; 9] = [
        "records",
        "slots",
        "snapshots",
        "inputs",
        "input_ids",
        "steps",
        "events",
        "pieces",
        "chunks",
    ];
    let folder = corpus::folder();
    corpus::write(image, folder.path()).expect("written");
    let name = TREES[rng.usize(0..TREES.len())];
    let what = raw(folder.path(), |db| {
        let tree = db.open_tree(name).expect("a tree");
        let row = rng.usize(0..tree.len());
        let (key, value) = tree.iter().nth(row).expect("a row").expect("sound");
        let mut value = value.to_vec();
        let byte = rng.usize(0..value.len());
        value[byte] ^= 1 << rng.u8(0..8);
        tree.insert(key, value).expect("written");
        format!("byte {byte} of row {row} of {name}")
    });
    *image = corpus::read(folder.path());
    what
}

/// Half of the time the log, else any file.
fn choose(files: &Image, rng: &mut fastrand::Rng) -> PathBuf {
    let log = PathBuf::from("sled/db");
    if rng.bool() && files.contains_key(&log) {
        return log;
    }
    let files: Vec<_> = files.keys().collect();
    files[rng.usize(0..files.len())].clone()
}

/// A place in a file. Sled does not write the same log twice to the byte, so it is a part of the
/// length.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn somewhere(length: usize, rng: &mut fastrand::Rng) -> usize {
    (length as f64 * rng.f64()) as usize
}

/// Often a few bytes, sometimes a sector, rarely a whole segment.
fn size(rng: &mut fastrand::Rng) -> usize {
    match rng.u8(0..10) {
        0..5 => rng.usize(1..64),
        5..8 => 512 * rng.usize(1..16),
        8 => rng.usize(1..300_000),
        _ => 4 << 20,
    }
}
