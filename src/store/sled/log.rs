//! A look at the log of the database before sled opens it.
//!
//! Opening writes: from the first message that sled cannot read it overwrites the segment, and
//! later segments too. What is damaged is then gone for good. So the part of the log that sled is
//! going to replay is read here first, and where it is in doubt, a copy is opened in its place.
//!
//! Sled's log is a row of segments. Each begins with a header, which has its place in the order of
//! all that was ever written (its LSN), and holds messages up to a cap, or up to where none fits
//! any more. The newest segment ends wherever the last message does.
//!
//! ```text
//! segment  CRC-32: u32 | LSN: i64 | stable LSN: i64 | messages
//! message  CRC-32: u32 | kind: u8 | length | number of the segment | page | body
//! ```
//!
//! Checksums and LSNs are stored inverted. The last three numbers of a message have 1 to 9 bytes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use super::{engine::SEGMENT, mark::Mark, meta};

#[cfg(test)]
mod tests;

const SEGMENT_HEADER: usize = 20;
/// No message begins in the last bytes of a segment.
const LARGEST_MESSAGE_HEADER: usize = 32;
const CORRUPTED: u8 = 0;
const CAP: u8 = 2;
/// Says up to which LSN what follows was written at once.
const BATCH: u8 = 3;

/// What can be told about a log without sled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// Sled will find all of it.
    Whole,
    /// Something was not found, which need not mean that it is lost.
    Short,
    /// Something before its end cannot be read. Sled passes over such a place without a word, so
    /// what was written there may be missing or older than it was.
    Torn,
}

/// Looks in the log of a database for what its mark knows of.
pub(super) fn check(folder: &Path, mark: &Mark) -> Log {
    // Older segments, which are not replayed, may be missing at the end of the file.
    let is_long_enough = |log: fs::Metadata| log.len() >= mark.length;
    match look(folder) {
        Ok(Some(newest)) if newest >= mark.commit => {
            let long_enough = fs::metadata(folder.join("db")).is_ok_and(is_long_enough);
            if long_enough { Log::Whole } else { Log::Short }
        }
        Ok(Some(_)) | Err(_) => Log::Short,
        Ok(None) => Log::Torn,
    }
}

/// The newest commit in the part of the log that is replayed, or `None` if that part is torn.
fn look(folder: &Path) -> io::Result<Option<u64>> {
    let from = replayed_from(folder)?;
    let mut log = File::open(folder.join("db"))?;
    let length = log.metadata()?.len();
    let mut segments = BTreeMap::new();
    let mut unreadable = false;
    for offset in (0..length).step_by(SEGMENT) {
        let header = read(&mut log, offset, SEGMENT_HEADER)?;
        match lsn(&header) {
            Some(lsn) if lsn >= from => {
                if segments.insert(lsn, offset).is_some() {
                    return Ok(None);
                }
            }
            Some(_) => {}
            // Free segments are blank.
            None => unreadable |= read(&mut log, offset, SEGMENT)?.iter().any(|byte| *byte != 0),
        }
    }
    // One that is not replayed may be unreadable, and one that was used anew is missing; but not
    // both at once.
    let last = segments.keys().next_back().copied().unwrap_or(from);
    if unreadable && (from..last).step_by(SEGMENT).any(|lsn| !segments.contains_key(&lsn)) {
        return Ok(None);
    }
    let mut newest = None;
    let mut promised = 0;
    let mut end = None;
    for (lsn, offset) in segments.into_iter().rev() {
        let bytes = read(&mut log, offset, SEGMENT)?;
        let segment = Segment::read(&bytes, lsn / SEGMENT as u64);
        // The newest one ends wherever the log does.
        if !segment.is_whole && end.is_some() {
            return Ok(None);
        }
        end.get_or_insert(lsn + segment.end as u64);
        promised = promised.max(segment.promised);
        newest = newest.or_else(|| segment.newest_commit());
    }
    // Sled leaves out what was to be written at once and is not there to its end.
    let keeps_its_promise = end.is_none_or(|end| promised < end);
    Ok(Some(newest.filter(|_| keeps_its_promise).unwrap_or(0)))
}

/// The first LSN that sled replays: that of the segment in which its newest snapshot was taken.
fn replayed_from(folder: &Path) -> io::Result<u64> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        newest = newest
            .max(name.to_str().and_then(|name| name.strip_prefix("snap.")).map(str::to_owned));
    }
    let Some(name) = newest else { return Ok(0) };
    let lsn = u64::from_str_radix(&name, 16).map_err(io::Error::other)?;
    Ok(lsn - lsn % SEGMENT as u64)
}

/// At most so many bytes from an offset: less at the end of the file.
fn read(log: &mut File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    log.seek(SeekFrom::Start(offset))?;
    log.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a segment's header says, if it is sound.
fn lsn(header: &[u8]) -> Option<u64> {
    let (checksum, covered) = header.split_first_chunk::<4>()?;
    let (lsn, _) = covered.split_first_chunk::<8>()?;
    let sound = crc32fast::hash(covered) == !u32::from_le_bytes(*checksum);
    let lsn = i64::from_le_bytes(*lsn) ^ i64::MAX;
    u64::try_from(lsn).ok().filter(|_| sound && header.len() == SEGMENT_HEADER)
}

/// The messages of a segment, as far as they can be read.
struct Segment<'a> {
    bodies: Vec<&'a [u8]>,
    is_whole: bool,
    /// Where the last message ends.
    end: usize,
    /// The last LSN of the batches that begin here.
    promised: u64,
}

impl<'a> Segment<'a> {
    fn read(bytes: &'a [u8], number: u64) -> Self {
        let mut found =
            Self { bodies: Vec::new(), is_whole: true, end: SEGMENT_HEADER, promised: 0 };
        while found.end + LARGEST_MESSAGE_HEADER <= SEGMENT {
            let message = bytes.get(found.end..).and_then(|rest| Message::read(rest, number));
            let Some(message) = message else {
                found.is_whole = false;
                break;
            };
            if message.kind == CAP {
                break;
            }
            if message.kind == BATCH
                && let Some(last) = message.body.first_chunk()
            {
                found.promised = found.promised.max(u64::from_le_bytes(*last));
            }
            found.bodies.push(message.body);
            found.end += message.length;
        }
        found
    }

    fn newest_commit(&self) -> Option<u64> {
        self.bodies.iter().rev().find_map(|body| meta::commits_in(body).max())
    }
}

struct Message<'a> {
    kind: u8,
    body: &'a [u8],
    /// With its header.
    length: usize,
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8], segment: u64) -> Option<Self> {
        let (checksum, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first()?;
        let (length, rest) = varint(rest)?;
        let (number, rest) = varint(rest)?;
        let (_, rest) = varint(rest)?;
        let body = rest.get(..usize::try_from(length).ok()?)?;
        let header = bytes.get(4..bytes.len() - rest.len())?;
        let mut hash = crc32fast::Hasher::new();
        hash.update(body);
        hash.update(header);
        let is_sound = *kind != CORRUPTED
            && number == segment
            && hash.finalize() == !u32::from_le_bytes(*checksum);
        is_sound.then_some(Self { kind: *kind, body, length: 4 + header.len() + body.len() })
    }
}

/// A number in as many bytes as it takes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let byte = |place: usize| rest.get(place).map(|byte| u64::from(*byte));
    let (number, taken) = match *first {
        small @ 0..=240 => (u64::from(small), 0),
        high @ 241..=248 => (240 + 256 * (u64::from(high) - 241) + byte(0)?, 1),
        249 => (2288 + 256 * byte(0)? + byte(1)?, 2),
        long => {
            let taken = usize::from(long) - 247;
            let mut number = [0; 8];
            number.get_mut(..taken)?.copy_from_slice(rest.get(..taken)?);
            (u64::from_le_bytes(number), taken)
        }
    };
    Some((number, rest.get(taken..)?))
}
