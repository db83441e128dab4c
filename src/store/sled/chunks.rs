//! Large snapshots in chunks, so that a checkpoint writes only what changed.
//!
//! The bytes are cut where their content says so, not at fixed places: after an insertion the cuts
//! fall where they fell before, only elsewhere. Each chunk is stored once in its session, under an
//! address that follows from its content, however many snapshots have it and how often. The row of
//! the snapshot is a head with the addresses of its chunks. Where these are many, they are put into
//! lists, which are chunks of a level above, and so on until the head has room for the rest:
//!
//! ```text
//! head   levels: u8 | length: u64 | CRC-32 of the whole: u32 | front length: u16 | back length: u16 |
//!        front | back | addresses
//! chunk  bytes of the snapshot, at level 0, else addresses of chunks of the level below
//! ```
//!
//! Front and back are the first and the last bytes of the snapshot: the header of the envelope and
//! its checksum. They differ at each checkpoint, and would cost a chunk each.
//!
//! Where a list ends follows from its addresses alone. So two snapshots that have much in common
//! have most of their lists in common, and a list that both have stands for all that is below it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use fastcdc::v2020::{FastCDC, Normalization};
use sha2::{Digest, Sha256};

use super::{
    table::{chunk_key, session_key},
    value,
};
use crate::{
    model::ids::SessionId,
    store::codec::{self, Frame, Reader, Unreadable},
};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

/// A snapshot is stored in chunks where it is larger than this. Below, to write all of it costs
/// little more than to find out what changed.
const LARGE: usize = 128 << 10;

/// How many of the first bytes of a snapshot are in its head, and how many of the last.
const FRONT: usize = 512;
const BACK: usize = 4;

/// The most addresses in a head, and in a list.
const TOP: usize = 32;
const LONGEST_LIST: usize = 64;
/// A list has at least so many, so that each level is much smaller than the one below.
const SHORTEST_LIST: usize = 8;

/// The most levels of lists: they would hold more than there can be.
const LEVELS: u8 = 20;

/// What a chunk is stored under: a SHA-256 of its session, its level and its content, cut short.
///
/// Chunks with one address are taken for the same, so no two may ever share one. By accident they do
/// not: of a billion chunks, which no session gets to, two share 128 bits with a probability of one
/// in 10^20. On purpose it takes 2^64 attempts, all of them for one session, to spoil this session:
/// it would then fail the checksum of the whole. That is why 16 bytes are enough, and each byte more
/// would be paid for in every list.
///
/// The level is in it because a list stands for all that is below it. Bytes of a snapshot that look
/// like one do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Address([u8; Self::LENGTH]);

impl Address {
    pub(super) const LENGTH: usize = 16;

    fn of(session: SessionId, level: u8, bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(session_key(session)).chain_update([level]);
        let hash = hash.chain_update(bytes).finalize();
        Self(*hash.first_chunk().expect("a hash has 32 bytes"))
    }

    pub(super) const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Whether a list may end with it: one in sixteen does.
    const fn ends_a_list(&self) -> bool {
        self.0[0] & 0x0f == 0
    }
}

/// Whether a snapshot is to be stored in chunks.
pub(super) const fn is_large(snapshot: &[u8]) -> bool {
    snapshot.len() > LARGE
}

/// A snapshot that is cut into chunks and not stored yet.
#[derive(Debug)]
pub(super) struct Cut {
    session: SessionId,
    snapshot: Arc<[u8]>,
    head: Vec<u8>,
    /// The addresses in the head.
    top: Vec<Address>,
    /// Where the bytes of a chunk are.
    chunks: HashMap<Address, Range<usize>>,
    lists: HashMap<Address, Vec<Address>>,
}

impl Cut {
    /// Cuts a snapshot. This takes time: some milliseconds for each ten mebibytes.
    pub(super) fn new(session: SessionId, snapshot: Arc<[u8]>) -> Self {
        let (front, rest) = snapshot.split_at(FRONT.min(snapshot.len()));
        let (rest, back) = rest.split_at(rest.len().saturating_sub(BACK));
        let average = average(snapshot.len());
        let longest = (4 * average).min(value::ROW - codec::OVERHEAD);
        let mut chunks = HashMap::new();
        let mut top = Vec::with_capacity(rest.len() / average);
        // The narrower the lengths, the less of the last chunk is written again by what is appended.
        let cuts = FastCDC::with_level(rest, average / 4, average, longest, Normalization::Level2);
        let mut place = front.len();
        for bytes in cuts.filter_map(|cut| rest.get(cut.offset..cut.offset + cut.length)) {
            let address = Address::of(session, 0, bytes);
            chunks.entry(address).or_insert(place..place + bytes.len());
            top.push(address);
            place += bytes.len();
        }
        let mut lists = HashMap::new();
        let mut levels = 0;
        while top.len() > TOP {
            levels += 1;
            let list = |list: &[Address]| {
                let address = Address::of(session, levels, &joined(list));
                lists.insert(address, list.to_vec());
                address
            };
            top = cut_list(&top).map(list).collect();
        }
        let head = Head {
            levels,
            length: snapshot.len() as u64,
            checksum: crc32fast::hash(&snapshot),
            front,
            back,
            top: &joined(&top),
        };
        let head = head.seal();
        Self { session, head, top, chunks, lists, snapshot: Arc::clone(&snapshot) }
    }

    /// The row of the snapshot.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether it has this chunk, and so all that is below it.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.chunks.contains_key(address) || self.lists.contains_key(address)
    }

    /// Gives the rows of those chunks that are not stored, each once. What is below a stored one is
    /// stored too.
    pub(super) fn missing(
        &self,
        is_stored: impl Fn(&Address) -> bool,
        mut write: impl FnMut(Vec<u8>, Vec<u8>),
    ) {
        let mut given = HashSet::new();
        let mut waiting = self.top.clone();
        while let Some(address) = waiting.pop() {
            if is_stored(&address) || !given.insert(address) {
                continue;
            }
            let key = chunk_key(self.session, &address);
            if let Some(list) = self.lists.get(&address) {
                write(key, seal(&joined(list)));
                waiting.extend(list);
            } else if let Some(bytes) = self.bytes(&address) {
                write(key, seal(bytes));
            }
        }
    }

    fn bytes(&self, address: &Address) -> Option<&[u8]> {
        self.snapshot.get(self.chunks.get(address)?.clone())
    }
}

/// How long chunks are to be on average: 2 KiB, and longer where there would be too many of them.
///
/// Where it changes, everything is written anew. So it changes at lengths to which nobody limits a
/// state: one that is kept at its limit would cross it again and again.
fn average(length: usize) -> usize {
    (length / (12 << 10)).next_power_of_two().clamp(2 << 10, 16 << 10)
}

/// Cuts a list: after every address that may end one, unless it would be too short.
fn cut_list(mut rest: &[Address]) -> impl Iterator<Item = &[Address]> {
    std::iter::from_fn(move || {
        let most = rest.iter().take(LONGEST_LIST);
        let end = most.enumerate().find(|(place, address)| {
            place + 1 == LONGEST_LIST || (place + 1 >= SHORTEST_LIST && address.ends_a_list())
        });
        let length = end.map_or(rest.len(), |(place, _)| place + 1);
        let (list, others) = rest.split_at(length);
        rest = others;
        (!list.is_empty()).then_some(list)
    })
}

fn seal(bytes: &[u8]) -> Vec<u8> {
    codec::seal(Frame::Chunk, bytes)
}

fn joined(list: &[Address]) -> Vec<u8> {
    list.iter().flat_map(Address::as_bytes).copied().collect()
}

/// The row of a snapshot that is in chunks.
pub(super) struct Head<'a> {
    levels: u8,
    length: u64,
    checksum: u32,
    front: &'a [u8],
    back: &'a [u8],
    /// Addresses, one after the other.
    top: &'a [u8],
}

impl<'a> Head<'a> {
    pub(super) fn read(raw: &'a [u8]) -> Result<Self, Unreadable> {
        Self::decode(codec::unseal(Frame::Chunked, raw)?)
    }

    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(body);
        let [levels] = reader.array()?;
        let (length, checksum) = (reader.u64()?, reader.u32()?);
        let [front, back] = [reader.array()?, reader.array()?]
            .map(|length| usize::from(u16::from_le_bytes(length)));
        let (front, back) = (reader.take(front)?, reader.take(back)?);
        if levels > LEVELS {
            return Err(Unreadable::Misplaced);
        }
        Ok(Self { levels, length, checksum, front, back, top: reader.0 })
    }

    fn seal(&self) -> Vec<u8> {
        let length = |end: &[u8]| u16::try_from(end.len()).expect("both ends are short");
        let bytes = 1 + 8 + 4 + 2 + 2 + self.front.len() + self.back.len() + self.top.len();
        codec::seal_with(Frame::Chunked, bytes, |row| {
            row.push(self.levels);
            row.extend_from_slice(&self.length.to_le_bytes());
            row.extend_from_slice(&self.checksum.to_le_bytes());
            row.extend_from_slice(&length(self.front).to_le_bytes());
            row.extend_from_slice(&length(self.back).to_le_bytes());
            row.extend_from_slice(self.front);
            row.extend_from_slice(self.back);
            row.extend_from_slice(self.top);
        })
    }

    /// Puts the snapshot together from the rows that `row` gives for the addresses of its chunks.
    pub(super) fn join<R: AsRef<[u8]>, E>(
        &self,
        session: SessionId,
        mut row: impl FnMut(&Address) -> Result<Option<R>, E>,
    ) -> Result<Result<Vec<u8>, Unreadable>, E> {
        let mut failed = None;
        let joined = self.join_rows(session, |address| {
            row(address).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        failed.map_or(Ok(joined), Err)
    }

    fn join_rows<R: AsRef<[u8]>>(
        &self,
        session: SessionId,
        mut row: impl FnMut(&Address) -> Option<R>,
    ) -> Result<Vec<u8>, Unreadable> {
        let mut order = Vec::new();
        let mut waiting = Vec::new();
        push(&mut waiting, self.levels, self.top)?;
        while let Some((level, address)) = waiting.pop() {
            if level > 0 {
                let row = row(&address).ok_or(Unreadable::Truncated)?;
                push(&mut waiting, level - 1, open(session, level, &address, row.as_ref())?)?;
                continue;
            }
            order.push(address);
            // What names one chunk many times could go on for ever; none is empty.
            if order.len() as u64 > self.length {
                return Err(Unreadable::Misplaced);
            }
        }
        // In the order of their keys: so each page of the database is read once.
        let sorted: BTreeSet<_> = order.iter().copied().collect();
        let mut content = Vec::new();
        let mut places = HashMap::with_capacity(sorted.len());
        for address in sorted {
            let row = row(&address).ok_or(Unreadable::Truncated)?;
            let start = content.len();
            content.extend_from_slice(open(session, 0, &address, row.as_ref())?);
            places.insert(address, start..content.len());
        }
        let chunks = order.iter().filter_map(|address| content.get(places.get(address)?.clone()));
        let ends = self.front.len() + self.back.len();
        let length = ends + chunks.clone().map(<[u8]>::len).sum::<usize>();
        if length as u64 != self.length {
            return Err(Unreadable::Truncated);
        }
        let mut snapshot = Vec::with_capacity(length);
        snapshot.extend_from_slice(self.front);
        chunks.for_each(|bytes| snapshot.extend_from_slice(bytes));
        snapshot.extend_from_slice(self.back);
        if crc32fast::hash(&snapshot) != self.checksum {
            return Err(Unreadable::Checksum);
        }
        Ok(snapshot)
    }

    /// Collects the addresses of all chunks into `named`. What is below a list that `is_known` is
    /// left out, and so is what is below one that cannot be read.
    pub(super) fn name<R: AsRef<[u8]>>(
        &self,
        session: SessionId,
        is_known: impl Fn(&Address) -> bool,
        mut row: impl FnMut(&Address) -> Result<Option<R>, Unreadable>,
        named: &mut HashSet<Address>,
    ) -> Result<(), Unreadable> {
        let mut waiting = Vec::new();
        let mut found = push(&mut waiting, self.levels, self.top);
        while let Some((level, address)) = waiting.pop() {
            if !named.insert(address) || level == 0 || is_known(&address) {
                continue;
            }
            let read = row(&address).and_then(|row| {
                let row = row.ok_or(Unreadable::Truncated)?;
                push(&mut waiting, level - 1, open(session, level, &address, row.as_ref())?)
            });
            found = found.and(read);
        }
        found
    }
}

/// The content of a chunk, if the row holds what belongs at its address.
fn open<'a>(
    session: SessionId,
    level: u8,
    address: &Address,
    row: &'a [u8],
) -> Result<&'a [u8], Unreadable> {
    let bytes = codec::unseal(Frame::Chunk, row)?;
    // None is empty: of such there could be any number.
    if bytes.is_empty() || Address::of(session, level, bytes) != *address {
        return Err(Unreadable::Misplaced);
    }
    Ok(bytes)
}

/// Puts the addresses of a list on top of those that wait, the first one uppermost.
fn push(waiting: &mut Vec<(u8, Address)>, level: u8, list: &[u8]) -> Result<(), Unreadable> {
    let (addresses, []) = list.as_chunks() else {
        return Err(Unreadable::Truncated);
    };
    waiting.extend(addresses.iter().rev().map(|address| (level, Address(*address))));
    Ok(())
}
