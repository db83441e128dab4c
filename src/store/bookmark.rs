//! How far those have come who read the log of all sessions, and go on in the next worker.

use std::sync::Arc;

use super::BoxError;
use crate::model::{
    ids::{ReaderName, SessionId},
    log_cursor::LogCursor,
};

/// How far a reader of the log of all sessions has come. It is kept under the name of the reader, and
/// belongs to the log of its store. A store that was repaired, or made out of an archive, has a new log: there it says in other
/// words what the reader had not read, with a cursor of no log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Whose it is.
    pub reader: ReaderName,
    /// Behind the last event that it has dealt with.
    pub cursor: LogCursor,
    /// What else it has to remember. The store does not look at it.
    pub note: Arc<[u8]>,
}

/// Events of a session that a reader of the log had not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) session: SessionId,
    /// The first of them.
    pub(crate) first: u64,
    /// The last.
    pub(crate) last: u64,
}

/// What a bookmark comes to in a store that was put together from parts: there all events have other positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Everything up to this position it had read. It had read more, but for what is unread.
    pub(crate) from: u64,
    pub(crate) unread: Vec<Unread>,
    /// What it noted.
    pub(crate) note: Arc<[u8]>,
}

impl Bookmark {
    /// What of it was carried over from another store, if it was; a worker keeps none without a log.
    pub(crate) fn carried(&self) -> Result<Option<Carried>, BoxError> {
        match self.cursor.log() {
            0 => Ok(Some(Carried::read(&self.note).ok_or("it is cut off")?)),
            _ => Ok(None),
        }
    }
}

impl Carried {
    /// As a bookmark of a store whose log ends here, and has no id yet.
    #[cfg(feature = "sled")]
    pub(super) fn bookmark(&self, reader: ReaderName, end: u64) -> Bookmark {
        let mut note = self.from.to_le_bytes().to_vec();
        note.extend_from_slice(&(self.unread.len() as u64).to_le_bytes());
        for Unread { session, first, last } in &self.unread {
            note.extend_from_slice(session.as_uuid().as_bytes());
            note.extend_from_slice(&first.to_le_bytes());
            note.extend_from_slice(&last.to_le_bytes());
        }
        note.extend_from_slice(&self.note);
        Bookmark { reader, cursor: LogCursor::new(0, end), note: note.into() }
    }

    fn read(note: &[u8]) -> Option<Self> {
        let (from, rest) = number(note)?;
        let (count, mut rest) = number(rest)?;
        let mut unread = Vec::new();
        for _ in 0..count {
            let (id, numbers) = rest.split_first_chunk()?;
            let (first, numbers) = number(numbers)?;
            let (last, after) = number(numbers)?;
            let session = SessionId::from_uuid(uuid::Uuid::from_bytes(*id));
            unread.push(Unread { session, first, last });
            rest = after;
        }
        Some(Self { from, unread, note: rest.into() })
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}
