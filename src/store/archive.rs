//! A whole store as JSON Lines: to look at it, to move it, and to save what a damaged one still
//! holds.
//!
//! The first line names the format, the last one counts the lines between. A session is its
//! `record` line, followed by its snapshots, inputs, used input ids, steps and events; bytes are
//! hexadecimal. Behind all sessions each reader of their log (hooks, sinks, statistics) has a
//! `bookmark` line: what it noted, and which events it had not read. What could not be read has
//! `damage` lines, with its bytes.
//!
//! ```json
//! {"archive":{"format":1}}
//! {"store":{"supervised":86400000}}
//! {"record":{"id":"01890a5d-ac96-774b-bcce-b302099a8057","kind":"coder","version":7}}
//! {"snapshot":{"session":"01890a5d-ac96-774b-bcce-b302099a8057","sequence":2,"bytes":"534b534e"}}
//! {"end":{"lines":3}}
//! ```

use std::{
    io::{self, BufRead, Write},
    iter::Zip,
    ops::RangeFrom,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Damage, StoreError,
    bookmark::{Carried, Unread},
    codec, rebuild, salvage,
};
use crate::model::{
    event::EventRecord,
    ids::{InputId, ReaderName, RunId, SessionId, StepKey},
    record::{SessionRecord, StoredInput},
    step::{StepProgress, StoredStep, Turn},
    time::{SupervisedTime, Timestamp},
};

/// The archive format that this version writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Writes everything that can be read from the store in a folder, as JSON Lines.
///
/// It takes the lock of the store like a worker does, and blocks. A store that was set aside as
/// damaged is read from a copy, so that its files stay as they are. What could not be read is in
/// the archive and in the report.
///
/// # Errors
/// [`ArchiveError`]; what was written until then is no whole archive, and
/// [`import`] refuses it.
pub fn export(path: impl AsRef<Path>, writer: impl Write) -> Result<Salvaged, ArchiveError> {
    let mut out = Lines::begin(writer)?;
    let mut report = Salvaged::default();
    salvage::from_store(path.as_ref(), &mut |item| {
        report.count(&item);
        out.write(&item.into())
    })?;
    out.end()?;
    Ok(report)
}

/// Makes a store out of an archive that [`export`] wrote. It blocks.
///
/// The store takes its place in the folder only when all of it is on the device: an import that
/// ends half-way leaves nothing. Parts of sessions whose record is not in the archive are left
/// out and reported.
///
/// # Errors
/// [`ArchiveError::NotEmpty`] if the folder holds a store already, [`ArchiveError::Line`] if a
/// line makes no sense or the archive is not whole, and those of the store.
pub fn import(path: impl AsRef<Path>, reader: impl BufRead) -> Result<Salvaged, ArchiveError> {
    let mut report = Salvaged::default();
    let archive = Archive::begin(reader)?;
    rebuild::into_empty(path.as_ref(), &mut report, |sink| archive.items(sink))?;
    Ok(report)
}

/// Rebuilds a store out of what can be read of it. It takes the lock of the store, and blocks.
///
/// The files are set aside as they are (the report says where), a copy of them is read, and the
/// new store takes its place only when all of it is on the device. Two and a half times the space
/// of the store is needed. On a sound store this loses nothing and gives unused space back.
///
/// The log of all sessions begins anew: its events are there, in the order of their times, but have other positions. Cursors of
/// [subscriptions](crate::Supervisor::subscribe) are refused. [Hooks](crate::hooks) that were owed are called, and those that
/// were done are not; [statistics](crate::StatisticsOptions) go on from what was counted. A [sink](crate::sink) is given what it
/// did not have, with some of what it had where that is in between, under cursors of the new log.
///
/// # Errors
/// [`ArchiveError::Store`] with [`StoreError::StoreDamaged`] if nothing at all can be read; the
/// store then stays set aside.
pub fn repair(path: impl AsRef<Path>) -> Result<Salvaged, ArchiveError> {
    let mut report = Salvaged::default();
    report.aside = Some(rebuild::in_place(path.as_ref(), &mut report)?);
    Ok(report)
}

/// What an [`export`], [`import`] or [`repair`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Sessions.
    pub sessions: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Inputs.
    pub inputs: u64,
    /// Steps.
    pub steps: u64,
    /// Events.
    pub events: u64,
    /// What could not be read or has lost its session, as far as it is known.
    pub lost: Vec<Damage>,
    /// Where the files that were repaired are now.
    pub aside: Option<PathBuf>,
}

impl Salvaged {
    pub(super) fn count(&mut self, item: &Item) {
        match item {
            Item::Record(_) => self.sessions += 1,
            Item::Snapshot { .. } => self.snapshots += 1,
            Item::Input { .. } => self.inputs += 1,
            Item::Step { .. } => self.steps += 1,
            Item::Event { .. } => self.events += 1,
            Item::Damage(damage) => self.lost.push(damage.clone()),
            Item::Store { .. } | Item::InputId { .. } | Item::Bookmark { .. } => {}
        }
    }
}

/// Why a store cannot be exported, imported or repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The store cannot be opened, read or written.
    #[error("the store cannot be archived")]
    Store(#[from] StoreError),
    /// The archive cannot be read or written.
    #[error("the archive cannot be read or written")]
    Io(#[from] io::Error),
    /// A line of the archive makes no sense. Nothing was imported.
    #[error("line {line} of the archive cannot be read: {reason}; nothing was imported")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder to import into holds a store. It was not touched.
    #[error("there is a store at {} already; nothing was imported", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
}

impl ArchiveError {
    fn line(line: u64, reason: impl Into<String>) -> Self {
        Self::Line { line, reason: reason.into() }
    }
}

/// A part of a store, on its way from one to another. The record of a session comes before the
/// rest of it, and its events in order.
pub(super) enum Item {
    Store {
        supervised: SupervisedTime,
    },
    Record(Box<SessionRecord>),
    Snapshot {
        session: SessionId,
        sequence: u64,
        bytes: Vec<u8>,
    },
    Input {
        session: SessionId,
        input: StoredInput,
    },
    InputId {
        session: SessionId,
        id: InputId,
        sequence: u64,
        checksum: u32,
    },
    Step {
        session: SessionId,
        step: StoredStep,
    },
    Event {
        session: SessionId,
        event: Box<EventRecord>,
    },
    /// Behind all sessions.
    Bookmark {
        reader: ReaderName,
        carried: Carried,
    },
    Damage(Damage),
}

/// A line of an archive.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Archive {
        format: u32,
    },
    Store {
        supervised: SupervisedTime,
    },
    Record(Box<SessionRecord>),
    Snapshot {
        session: SessionId,
        sequence: u64,
        bytes: String,
    },
    Input {
        session: SessionId,
        sequence: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<InputId>,
        at: Timestamp,
        state_version: u32,
        payload: String,
    },
    InputId {
        session: SessionId,
        id: InputId,
        sequence: u64,
        checksum: u32,
    },
    Step {
        session: SessionId,
        turn: Turn,
        key: StepKey,
        run: RunId,
        at: Timestamp,
        progress: Progress,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        result: String,
    },
    Event {
        session: SessionId,
        event: Box<EventRecord>,
    },
    Bookmark {
        reader: ReaderName,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unread: Vec<(SessionId, u64, u64)>,
        note: String,
    },
    Damage {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        reason: String,
        bytes: String,
    },
    End {
        lines: u64,
    },
}

/// How far a step came, without its result.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    Begun,
    Failed,
    Finished,
}

impl From<Item> for Line {
    fn from(item: Item) -> Self {
        match item {
            Item::Store { supervised } => Self::Store { supervised },
            Item::Record(record) => Self::Record(record),
            Item::Snapshot { session, sequence, bytes } => {
                Self::Snapshot { session, sequence, bytes: to_hex(&bytes) }
            }
            Item::Input { session, input } => Self::Input {
                session,
                sequence: input.sequence,
                id: input.id,
                at: input.at,
                state_version: input.state_version,
                payload: to_hex(&input.payload),
            },
            Item::InputId { session, id, sequence, checksum } => {
                Self::InputId { session, id, sequence, checksum }
            }
            Item::Step { session, step } => {
                let StoredStep { turn, key, run, at, progress } = step;
                let (progress, result) = match progress {
                    StepProgress::Begun => (Progress::Begun, String::new()),
                    StepProgress::Failed => (Progress::Failed, String::new()),
                    StepProgress::Finished(result) => (Progress::Finished, to_hex(&result)),
                };
                Self::Step { session, turn, key, run, at, progress, result }
            }
            Item::Event { session, event } => Self::Event { session, event },
            Item::Bookmark { reader, carried } => Self::Bookmark {
                reader,
                unread: carried
                    .unread
                    .into_iter()
                    .map(|Unread { session, first, last }| (session, first, last))
                    .collect(),
                note: to_hex(&carried.note),
            },
            Item::Damage(damage) => Self::Damage {
                session: damage.session,
                reason: damage.reason,
                bytes: to_hex(&damage.bytes),
            },
        }
    }
}

impl TryFrom<Line> for Item {
    type Error = String;

    fn try_from(line: Line) -> Result<Self, String> {
        Ok(match line {
            Line::Archive { .. } | Line::End { .. } => return Err("out of place".to_owned()),
            Line::Store { supervised } => Self::Store { supervised },
            Line::Record(record) => {
                codec::check_record(&record)?;
                Self::Record(record)
            }
            Line::Snapshot { session, sequence, bytes } => {
                Self::Snapshot { session, sequence, bytes: from_hex(&bytes)? }
            }
            Line::Input { session, sequence, id, at, state_version, payload } => Self::Input {
                session,
                input: StoredInput {
                    sequence,
                    id,
                    at,
                    state_version,
                    payload: from_hex(&payload)?.into(),
                },
            },
            Line::InputId { session, id, sequence, checksum } => {
                Self::InputId { session, id, sequence, checksum }
            }
            Line::Step { session, turn, key, run, at, progress, result } => {
                let progress = match progress {
                    Progress::Begun => StepProgress::Begun,
                    Progress::Failed => StepProgress::Failed,
                    Progress::Finished => StepProgress::Finished(from_hex(&result)?.into()),
                };
                Self::Step { session, step: StoredStep { turn, key, run, at, progress } }
            }
            Line::Event { event, .. } if event.sequence == u64::MAX => {
                return Err("it has a number that nothing reaches".to_owned());
            }
            Line::Event { session, event } => Self::Event { session, event },
            Line::Bookmark { reader, unread, note } => {
                let unread = unread.into_iter();
                let unread = unread.map(|(session, first, last)| Unread { session, first, last });
                let note = from_hex(&note)?.into();
                Self::Bookmark {
                    reader,
                    carried: Carried { from: 0, unread: unread.collect(), note },
                }
            }
            Line::Damage { session, reason, bytes } => {
                Self::Damage(Damage::new(session, reason, &from_hex(&bytes)?))
            }
        })
    }
}

/// An archive that is being read.
pub(super) struct Archive<R> {
    lines: Zip<RangeFrom<u64>, io::Lines<R>>,
}

impl<R: BufRead> Archive<R> {
    /// Reads the first line.
    pub(super) fn begin(reader: R) -> Result<Self, ArchiveError> {
        let mut archive = Self { lines: (1..).zip(reader.lines()) };
        match archive.next()? {
            Some((_, Line::Archive { format: FORMAT })) => Ok(archive),
            Some((number, Line::Archive { format })) => {
                let why = format!("format {format}, where this version reads up to {FORMAT}");
                Err(ArchiveError::line(number, why))
            }
            Some((number, _)) => Err(ArchiveError::line(number, "not the begin of an archive")),
            None => Err(ArchiveError::line(1, "the archive is empty")),
        }
    }

    /// Gives everything to `sink`, up to the last line.
    pub(super) fn items(
        mut self,
        sink: &mut dyn FnMut(Item) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut last = 1;
        while let Some((number, line)) = self.next()? {
            if let Line::End { lines } = line {
                if lines != number - 2 {
                    let why = format!("there should be {lines} lines before the end");
                    return Err(ArchiveError::line(number, why));
                }
                return Ok(());
            }
            let item = Item::try_from(line).map_err(|why| ArchiveError::line(number, why))?;
            sink(item)?;
            last = number;
        }
        Err(ArchiveError::line(last + 1, "the end of the archive is missing"))
    }

    fn next(&mut self) -> Result<Option<(u64, Line)>, ArchiveError> {
        let Some((number, line)) = self.lines.next() else {
            return Ok(None);
        };
        let wrong = |error: serde_json::Error| ArchiveError::line(number, error.to_string());
        Ok(Some((number, serde_json::from_str(&line?).map_err(wrong)?)))
    }
}

/// An archive that is being written.
pub(super) struct Lines<W> {
    writer: W,
    count: u64,
}

impl<W: Write> Lines<W> {
    pub(super) fn begin(writer: W) -> Result<Self, ArchiveError> {
        let mut lines = Self { writer, count: 0 };
        lines.write(&Line::Archive { format: FORMAT })?;
        Ok(lines)
    }

    pub(super) fn end(mut self) -> Result<(), ArchiveError> {
        let lines = self.count - 1;
        self.write(&Line::End { lines })?;
        Ok(self.writer.flush()?)
    }

    pub(super) fn write(&mut self, line: &Line) -> Result<(), ArchiveError> {
        serde_json::to_writer(&mut self.writer, line).map_err(io::Error::from)?;
        self.writer.write_all(b"\n")?;
        self.count += 1;
        Ok(())
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let odd = || "bytes that are not hexadecimal".to_owned();
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return Err(odd());
    };
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| {
        let byte = value(*high)? << 4 | value(*low)?;
        u8::try_from(byte).ok()
    };
    pairs.iter().map(|pair| byte(pair).ok_or_else(odd)).collect()
}
