//! How records, inputs, events and snapshots become bytes.
//!
//! Every stored value is a frame:
//!
//! ```text
//! kind: u8 | format: u8 | body | CRC-32 of all before, little-endian
//! ```
//!
//! The format is looked at before the checksum, so that a value of a newer version of the library
//! is told apart from a damaged one; neither is ever guessed at. Records and events are JSON,
//! inputs and steps have a binary header. Numbers in bodies are little-endian.

use std::sync::Arc;

use chrono::DateTime;
use uuid::Uuid;

use super::{Bookmark, BoxError};
use crate::{
    faults::{self, Bug},
    model::{
        event::EventRecord,
        ids::{InputId, ReaderName, RunId, SessionId, StepKey},
        inbox::Inbox,
        log_cursor::LogCursor,
        record::{SessionRecord, StoredInput},
        step::{StepProgress, StoredStep, Turn},
        time::Timestamp,
    },
};

/// The frame format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u8 = 1;

/// How many bytes a frame adds to its body.
pub(super) const OVERHEAD: usize = 2 + 4;

/// What is in a frame. These bytes are on disk: a kind keeps its own for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Frame {
    /// How far a reader of the log has come.
    Bookmark = b'B',
    /// A part of a snapshot that is in chunks, or a list of such.
    Chunk = b'C',
    Events = b'E',
    /// Stands for a value that is split into pieces.
    Head = b'H',
    Input = b'I',
    InputId = b'K',
    /// Stands for a snapshot that is in chunks.
    Chunked = b'L',
    /// What a store knows about itself.
    Meta = b'M',
    /// A snapshot in a slot.
    Slot = b'O',
    Piece = b'P',
    Record = b'R',
    Snapshot = b'S',
    Step = b'T',
    IndexRow = b'X',
}

/// Why stored bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is cut short")]
    Truncated,
    #[error("its checksum does not match")]
    Checksum,
    #[error("it has format {found}, this version reads up to {FORMAT}")]
    NewerFormat { found: u8 },
    #[error("it holds something else")]
    Misplaced,
    #[error("its content makes no sense: {0}")]
    Content(BoxError),
}

/// A frame around a body.
pub(super) fn seal(kind: Frame, body: &[u8]) -> Vec<u8> {
    seal_with(kind, body.len(), |bytes| bytes.extend_from_slice(body))
}

/// A frame around the body that `write` appends, of this length.
pub(super) fn seal_with(kind: Frame, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + OVERHEAD);
    bytes.extend_from_slice(&[kind as u8, FORMAT]);
    write(&mut bytes);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The body of a frame of this kind.
pub(super) fn unseal(kind: Frame, bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let ([found_kind, format], _) = bytes.split_first_chunk().ok_or(Unreadable::Truncated)?;
    if *format > FORMAT {
        return Err(Unreadable::NewerFormat { found: *format });
    }
    let (covered, checksum) = bytes.split_last_chunk().ok_or(Unreadable::Truncated)?;
    let matches = crc32fast::hash(covered) == u32::from_le_bytes(*checksum);
    if !matches && !faults::planted(Bug::SkipChecksum) {
        return Err(Unreadable::Checksum);
    }
    if *found_kind != kind as u8 || *format != FORMAT {
        return Err(Unreadable::Misplaced);
    }
    covered.get(2..).ok_or(Unreadable::Truncated)
}

/// Whether a frame says that it is of this kind; its checksum is not looked at.
pub(super) fn claims(kind: Frame, bytes: &[u8]) -> bool {
    bytes.first() == Some(&(kind as u8))
}

/// The body of a record.
pub(super) fn record(record: &SessionRecord) -> Vec<u8> {
    // Room for most.
    let mut body = Vec::with_capacity(1 << 10);
    serde_json::to_writer(&mut body, record).expect("a record holds nothing JSON cannot say");
    body
}

/// Reads what [`record`] wrote about this session.
pub(super) fn read_record(session: SessionId, body: &[u8]) -> Result<SessionRecord, Unreadable> {
    let record: SessionRecord = serde_json::from_slice(body).map_err(content)?;
    if record.id != session {
        return Err(Unreadable::Misplaced);
    }
    check_record(&record).map_err(content)?;
    Ok(record)
}

/// The library counts on from the numbers in a record: what counts by ones never gets here.
const MOST: u64 = 1 << 62;

/// Says what makes no sense about a record. No commit wrote such a one.
pub(super) fn check_record(record: &SessionRecord) -> Result<(), &'static str> {
    let Inbox { accepted, consumed, waiting_bytes, in_hand: _, out_of_order, moved: _ } =
        &record.inbox;
    let (accepted, consumed, waiting_bytes) = (*accepted, *consumed, *waiting_bytes);
    let counts = [record.version, record.last_event, accepted, waiting_bytes];
    let snapshots = || record.snapshots.iter();
    let rules = [
        (counts.into_iter().any(|count| count > MOST), "it has a count that nothing reaches"),
        (
            snapshots().any(|kept| kept.sequence.max(kept.interlude) > MOST),
            "it has a snapshot that nothing reaches",
        ),
        (consumed > accepted, "it consumed more inputs than it accepted"),
        (
            snapshots().any(|kept| kept.consumed > accepted),
            "it has a snapshot of more inputs than it accepted",
        ),
        (
            out_of_order.as_ref().is_some_and(|odd| !odd.is_sound(consumed, accepted)),
            "it has inputs out of order that make no sense",
        ),
        (record.trimmed_to() > record.last_event, "events of it are gone that it never had"),
        (
            record.steps.is_some_and(|last| last.input > accepted || last.interlude > MOST),
            "it has steps of a turn that nothing reaches",
        ),
    ];
    match rules.into_iter().find(|(broken, _)| *broken) {
        Some((_, what)) => Err(what),
        None => Ok(()),
    }
}

/// The body of an input.
///
/// ```text
/// sequence: u64 | seconds: i64 | nanoseconds: u32 | state version: u32 | id length: u16 | id | payload
/// ```
///
/// The length of the id is 0 where there is none: an id is never empty.
pub(super) fn input(input: &StoredInput) -> Vec<u8> {
    let id = input.id.as_ref().map_or("", InputId::as_str);
    let length = u16::try_from(id.len()).expect("an input id is at most 256 bytes long");
    let mut body = Vec::with_capacity(26 + id.len() + input.payload.len());
    body.extend_from_slice(&input.sequence.to_le_bytes());
    body.extend_from_slice(&input.at.timestamp().to_le_bytes());
    body.extend_from_slice(&input.at.timestamp_subsec_nanos().to_le_bytes());
    body.extend_from_slice(&input.state_version.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(&input.payload);
    body
}

/// Reads what [`input`] wrote with this number.
pub(super) fn read_input(sequence: u64, body: &[u8]) -> Result<StoredInput, Unreadable> {
    let mut reader = Reader(body);
    let found = reader.u64()?;
    let seconds = i64::from_le_bytes(reader.array()?);
    let nanos = reader.u32()?;
    let state_version = reader.u32()?;
    let length = u16::from_le_bytes(reader.array()?);
    let id = reader.take(usize::from(length))?;
    if found != sequence {
        return Err(Unreadable::Misplaced);
    }
    let id = match id {
        [] => None,
        id => {
            let text = str::from_utf8(id).map_err(content)?;
            Some(InputId::new(text).map_err(content)?)
        }
    };
    let at = time(seconds, nanos)?;
    Ok(StoredInput { sequence, id, at, state_version, payload: Arc::from(reader.0) })
}

/// The body of a step.
///
/// ```text
/// input: u64 | interlude: u64 | seconds: i64 | nanoseconds: u32 | run: 16 bytes | key length: u16 | key
///     | progress: u8 (0 begun, 1 failed, 2 finished) | result
/// ```
pub(super) fn step(step: &StoredStep) -> Vec<u8> {
    let key = step.key.as_str();
    let length = u16::try_from(key.len()).expect("a step key is at most 256 bytes long");
    let mut body = Vec::with_capacity(47 + key.len() + step.bytes());
    body.extend_from_slice(&step.turn.input.to_le_bytes());
    body.extend_from_slice(&step.turn.interlude.to_le_bytes());
    body.extend_from_slice(&step.at.timestamp().to_le_bytes());
    body.extend_from_slice(&step.at.timestamp_subsec_nanos().to_le_bytes());
    body.extend_from_slice(step.run.as_uuid().as_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(key.as_bytes());
    match &step.progress {
        StepProgress::Begun => body.push(0),
        StepProgress::Failed => body.push(1),
        StepProgress::Finished(result) => {
            body.push(2);
            body.extend_from_slice(result);
        }
    }
    body
}

/// Reads what [`step`] wrote of this step.
pub(super) fn read_step(turn: Turn, key: &StepKey, body: &[u8]) -> Result<StoredStep, Unreadable> {
    let mut reader = Reader(body);
    let found = Turn { input: reader.u64()?, interlude: reader.u64()? };
    let seconds = i64::from_le_bytes(reader.array()?);
    let nanos = reader.u32()?;
    let run = RunId::from_uuid(Uuid::from_bytes(reader.array()?));
    let length = u16::from_le_bytes(reader.array()?);
    let text = reader.take(usize::from(length))?;
    let [progress] = reader.array()?;
    if found != turn || text != key.as_str().as_bytes() {
        return Err(Unreadable::Misplaced);
    }
    let progress = match (progress, reader.0) {
        (0, []) => StepProgress::Begun,
        (1, []) => StepProgress::Failed,
        (2, result) => StepProgress::Finished(result.into()),
        _ => return Err(content("no such progress")),
    };
    Ok(StoredStep { turn, key: key.clone(), run, at: time(seconds, nanos)?, progress })
}

fn time(seconds: i64, nanos: u32) -> Result<Timestamp, Unreadable> {
    DateTime::from_timestamp(seconds, nanos).ok_or_else(|| content("no such time"))
}

/// The body of what is known of an input id: the number of its input and the checksum of its
/// payload.
pub(super) fn input_id(sequence: u64, checksum: u32) -> Vec<u8> {
    let mut body = sequence.to_le_bytes().to_vec();
    body.extend_from_slice(&checksum.to_le_bytes());
    body
}

/// Reads what [`input_id`] wrote.
pub(super) fn read_input_id(body: &[u8]) -> Result<(u64, u32), Unreadable> {
    let mut reader = Reader(body);
    Ok((reader.u64()?, reader.u32()?))
}

/// The body of a bookmark: log and position as `u64`, then the note.
pub(super) fn bookmark(bookmark: &Bookmark) -> Vec<u8> {
    let mut body = bookmark.cursor.log().to_le_bytes().to_vec();
    body.extend_from_slice(&bookmark.cursor.position().to_le_bytes());
    body.extend_from_slice(&bookmark.note);
    body
}

/// Reads what [`bookmark`] wrote for this reader.
pub(super) fn read_bookmark(reader: ReaderName, body: &[u8]) -> Result<Bookmark, Unreadable> {
    let mut rest = Reader(body);
    let cursor = LogCursor::new(rest.u64()?, rest.u64()?);
    Ok(Bookmark { reader, cursor, note: rest.0.into() })
}

/// Appends an event to the body of a chunk: its length in bytes as `u32`, then its JSON.
pub(super) fn push_event(body: &mut Vec<u8>, event: &EventRecord) {
    let json = serde_json::to_vec(event).expect("an event holds nothing JSON cannot say");
    let length = u32::try_from(json.len()).expect("an event is far smaller than 4 GiB");
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(&json);
}

/// Reads a chunk of events that begins with this number. `wanted` chooses by number, so that the
/// JSON of the others need not be read.
pub(super) fn read_events(
    first: u64,
    body: &[u8],
    wanted: impl Fn(u64) -> bool,
) -> Result<Vec<EventRecord>, Unreadable> {
    read_events_where(first, body, |sequence, _| wanted(sequence))
}

/// Reads of a chunk of events all that the library has recorded, and does not read the JSON of the others.
pub(super) fn read_lifecycle(first: u64, body: &[u8]) -> Result<Vec<EventRecord>, Unreadable> {
    let of_work = |json: &[u8]| {
        let head = json.get(..EVENT_HEAD).unwrap_or(json);
        let fact = head.windows(FACT.len()).position(|part| part == FACT);
        let fact = fact.and_then(|at| head.get(at + FACT.len()..));
        fact.is_some_and(|fact| !fact.starts_with(b"lifecycle"))
    };
    read_events_where(first, body, |_, json| !of_work(json))
}

/// What stands before the name of a fact in the JSON of an event. It comes last: all that is before it is shorter than the head.
const FACT: &[u8] = br#""fact":{""#;
const EVENT_HEAD: usize = 256;

fn read_events_where(
    first: u64,
    body: &[u8],
    wanted: impl Fn(u64, &[u8]) -> bool,
) -> Result<Vec<EventRecord>, Unreadable> {
    let mut reader = Reader(body);
    let mut events = Vec::new();
    let mut sequence = first;
    while !reader.0.is_empty() {
        let length = usize::try_from(reader.u32()?).map_err(content)?;
        let json = reader.take(length)?;
        if wanted(sequence, json) {
            let event: EventRecord = serde_json::from_slice(json).map_err(content)?;
            if event.sequence != sequence {
                return Err(Unreadable::Misplaced);
            }
            events.push(event);
        }
        sequence = following(sequence)?;
    }
    Ok(events)
}

/// The number that follows a chunk of events which begins with this one; no event is read.
pub(super) fn after_events(first: u64, body: &[u8]) -> Result<u64, Unreadable> {
    let mut reader = Reader(body);
    let mut sequence = first;
    while !reader.0.is_empty() {
        let length = usize::try_from(reader.u32()?).map_err(content)?;
        reader.take(length)?;
        sequence = following(sequence)?;
    }
    Ok(sequence)
}

fn following(sequence: u64) -> Result<u64, Unreadable> {
    sequence.checked_add(1).ok_or_else(|| content("no such number"))
}

/// Takes numbers and bytes off the front of a body.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Unreadable::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }
}

fn content(error: impl Into<BoxError>) -> Unreadable {
    Unreadable::Content(error.into())
}
