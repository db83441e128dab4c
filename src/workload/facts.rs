//! What a run has noted and no commit holds yet: bounded, in order, drained by every commit.

use std::io;

use crate::model::{
    event::Event,
    ids::ExternalId,
    labels::{MAX_NESTING, is_nested_within},
    time::Timestamp,
    usage::Usage,
};

/// The most bytes of notes that may wait.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// One note of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note {
    Event(Event),
    Usage(Usage),
    ExternalId(ExternalId),
}

/// A note with its time and the input that was in hand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Noted {
    pub(crate) at: Timestamp,
    pub(crate) input: Option<u64>,
    pub(crate) note: Note,
}

/// The notes that wait.
#[derive(Debug, Default)]
pub(crate) struct FactBuffer {
    notes: Vec<Noted>,
    bytes: usize,
}

/// Why a note was not taken.
pub(crate) enum NotTaken {
    Full,
    TooLarge { bytes: usize },
    TooDeep,
}

impl FactBuffer {
    /// Takes an event of a weight if there is room.
    pub(crate) fn push_event(
        &mut self,
        at: Timestamp,
        input: Option<u64>,
        weight: Weight,
        event: impl FnOnce() -> Event,
    ) -> Result<(), NotTaken> {
        if self.bytes + weight.0 > BUFFER_BYTES {
            return Err(NotTaken::Full);
        }
        self.bytes += weight.0;
        self.notes.push(Noted { at, input, note: Note::Event(event()) });
        Ok(())
    }

    /// Adds usage. It takes no room: usage in a row for the same input is one note, also with an
    /// external id in between.
    pub(crate) fn push_usage(&mut self, at: Timestamp, input: Option<u64>, usage: Usage) {
        let last =
            self.notes.iter_mut().rev().find(|noted| !matches!(noted.note, Note::ExternalId(_)));
        if let Some(Noted { input: last, note: Note::Usage(sum), .. }) = last
            && *last == input
        {
            *sum = sum.plus(&usage);
        } else {
            self.notes.push(Noted { at, input, note: Note::Usage(usage) });
        }
    }

    /// Sets the external id. A later one replaces one that still waits.
    pub(crate) fn push_external_id(&mut self, at: Timestamp, input: Option<u64>, id: ExternalId) {
        self.notes.retain(|noted| !matches!(noted.note, Note::ExternalId(_)));
        self.notes.push(Noted { at, input, note: Note::ExternalId(id) });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Whether so much waits that a commit should not: who emits faster would wait for it.
    pub(crate) const fn is_pressing(&self) -> bool {
        self.bytes > BUFFER_BYTES / 2
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<Noted> {
        self.bytes = 0;
        std::mem::take(&mut self.notes)
    }
}

/// What an event weighs in the buffer: its encoded size, which is no more than the buffer's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weight(usize);

impl Weight {
    pub(crate) fn of(event: &Event) -> Result<Self, NotTaken> {
        if event.data().is_some_and(|data| !is_nested_within(MAX_NESTING, data)) {
            return Err(NotTaken::TooDeep);
        }
        let mut counted = Counted(0);
        let bytes = serde_json::to_writer(&mut counted, event).map_or(usize::MAX, |()| counted.0);
        if bytes > BUFFER_BYTES {
            return Err(NotTaken::TooLarge { bytes });
        }
        Ok(Self(bytes))
    }
}

/// Keeps nothing of what is written to it but how much that is.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
