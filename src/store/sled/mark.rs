//! The high-water mark: what the store had already made durable, kept outside of it.
//!
//! Sled can come up empty or rolled back without an error. So a small file beside it holds the
//! number of a commit that is known to be on the device, and a store that opens with a lower
//! number is damaged.
//!
//! The file has two slots in blocks of their own, written in turn, each with a checksum: a torn
//! write spoils one of them, and the other still holds. A slot is written after each group of
//! commits was synced, but not synced itself. That is safe, since a mark that lags behind is
//! still true, and it costs no second sync: after the end of the process the mark is exact, after
//! a power cut it may be some seconds old.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::{model::ids::WorkerGeneration, store::codec};
use codec::{Frame, Reader, Unreadable};

/// Where the second slot begins: in another block of any usual device.
const SLOT: u64 = 4096;

/// What the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// Counts the writes of the mark: the higher of the two slots holds.
    turn: u64,
    /// A commit that is on the device, and so all before it.
    pub(super) commit: u64,
    /// The worker that used the store last.
    pub(super) generation: Option<WorkerGeneration>,
    /// How long the log was, when the store was opened or closed last.
    pub(super) length: u64,
    /// The store was found damaged and is in the folder with this number.
    pub(super) aside: Option<u32>,
}

/// The open file of the mark.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    mark: Mark,
}

/// How the mark was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There was none.
    Absent,
    /// It holds.
    Sound,
    /// It is there and cannot be read.
    Unreadable,
}

impl MarkFile {
    /// Opens the mark, or makes one that says nothing. The inner error is a mark that a newer
    /// version of the library wrote: it is not ours to write over.
    pub(super) fn open(path: &Path) -> io::Result<Result<(Self, Found), Unreadable>> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mark, found) = read(&bytes);
        if found == Found::Unreadable
            && let Some(newer) = newer_format(&bytes)
        {
            return Ok(Err(newer));
        }
        Ok(Ok((Self { file, mark }, found)))
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Writes the next mark. It is exact for the next process at once; [`sync`](Self::sync) makes
    /// it so for the next boot.
    pub(super) fn write(&mut self, change: impl FnOnce(&mut Mark)) -> io::Result<()> {
        let mut next = self.mark;
        change(&mut next);
        next.turn += 1;
        self.file.seek(SeekFrom::Start(next.turn % 2 * SLOT))?;
        self.file.write_all(&encode(&next))?;
        self.mark = next;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// What a file of these bytes says.
pub(super) fn read(bytes: &[u8]) -> (Mark, Found) {
    let newest = slots(bytes).filter_map(|slot| decode(slot).ok()).max_by_key(|mark| mark.turn);
    let found = match (&newest, bytes.is_empty()) {
        (Some(_), _) => Found::Sound,
        (None, true) => Found::Absent,
        (None, false) => Found::Unreadable,
    };
    (newest.unwrap_or_default(), found)
}

/// What begins with a slot.
fn slots(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let second = bytes.get(usize::try_from(SLOT).unwrap_or(usize::MAX)..);
    [Some(bytes), second].into_iter().flatten()
}

/// What says that the mark is of a newer version of the library.
fn newer_format(bytes: &[u8]) -> Option<Unreadable> {
    let mut claims = slots(bytes).filter(|slot| codec::claims(Frame::Meta, slot));
    claims.find_map(|slot| {
        decode(slot).err().filter(|why| matches!(why, Unreadable::NewerFormat { .. }))
    })
}

/// Every slot has the same length: it is written over its older self.
pub(super) fn encode(mark: &Mark) -> Vec<u8> {
    let body = codec::seal_with(Frame::Meta, LENGTH - codec::OVERHEAD, |body| {
        body.extend_from_slice(&mark.turn.to_le_bytes());
        body.extend_from_slice(&mark.commit.to_le_bytes());
        body.extend_from_slice(&mark.aside.unwrap_or(0).to_le_bytes());
        let generation = mark.generation.map_or([0; 16], |id| id.as_uuid().into_bytes());
        body.extend_from_slice(&generation);
        body.extend_from_slice(&mark.length.to_le_bytes());
    });
    debug_assert_eq!(body.len(), LENGTH);
    body
}

const LENGTH: usize = codec::OVERHEAD + 8 + 8 + 4 + 16 + 8;

fn decode(slot: &[u8]) -> Result<Mark, Unreadable> {
    let slot = slot.get(..LENGTH).ok_or(Unreadable::Truncated)?;
    let mut reader = Reader(codec::unseal(Frame::Meta, slot)?);
    let turn = reader.u64()?;
    let commit = reader.u64()?;
    let aside = Some(reader.u32()?).filter(|number| *number > 0);
    let generation = uuid::Uuid::from_bytes(reader.array()?);
    let length = reader.u64()?;
    Ok(Mark {
        turn,
        commit,
        length,
        generation: Some(generation).filter(|id| !id.is_nil()).map(WorkerGeneration::from_uuid),
        aside,
    })
}
