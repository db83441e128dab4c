//! The tables of the store and the keys in them.

use uuid::Uuid;

use super::chunks::Address;
use crate::{
    model::{
        ids::{InputId, ReaderName, SessionId, StepKey},
        step::Turn,
    },
    store::codec::Frame,
};

/// A table: one tree of sled each, never one per session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// One row: what the store knows about itself.
    Meta,
    /// Name of a reader of the log → how far it has come.
    Bookmarks,
    /// Session → record.
    Records,
    /// Session, sequence → bytes of a kept snapshot that is in no slot.
    Snapshots,
    /// Session, slot → sequence and bytes of a kept snapshot; see [`slots`](super::slots).
    Slots,
    /// Session, sequence → input that a snapshot may still need.
    Inputs,
    /// Session, caller's id → sequence and checksum of the input.
    InputIds,
    /// Session, turn, key → step that a snapshot may still need.
    Steps,
    /// Session, first sequence → chunk of events.
    Events,
    /// See [`index`](crate::store::index).
    Index,
    /// Table, key, number → piece of a value that is too large for one row.
    Pieces,
    /// Session, address → chunk of its snapshots, or a list of chunks; see [`chunks`](super::chunks).
    Chunks,
}

impl Table {
    pub(super) const ALL: [Self; 12] = [
        Self::Meta,
        Self::Bookmarks,
        Self::Records,
        Self::Snapshots,
        Self::Slots,
        Self::Inputs,
        Self::InputIds,
        Self::Steps,
        Self::Events,
        Self::Index,
        Self::Pieces,
        Self::Chunks,
    ];

    /// The name of its tree. It is on disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Bookmarks => "bookmarks",
            Self::Records => "records",
            Self::Snapshots => "snapshots",
            Self::Slots => "slots",
            Self::Inputs => "inputs",
            Self::InputIds => "input_ids",
            Self::Steps => "steps",
            Self::Events => "events",
            Self::Index => "index",
            Self::Pieces => "pieces",
            Self::Chunks => "chunks",
        }
    }

    /// What the frames of its values say they are.
    pub(super) const fn frame(self) -> Frame {
        match self {
            Self::Meta => Frame::Meta,
            Self::Bookmarks => Frame::Bookmark,
            Self::Records => Frame::Record,
            Self::Snapshots => Frame::Snapshot,
            Self::Slots => Frame::Slot,
            Self::Inputs => Frame::Input,
            Self::InputIds => Frame::InputId,
            Self::Steps => Frame::Step,
            Self::Events => Frame::Events,
            Self::Index => Frame::IndexRow,
            Self::Pieces => Frame::Piece,
            Self::Chunks => Frame::Chunk,
        }
    }

    /// What its values are called in errors.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Meta => "meta row",
            Self::Bookmarks => "bookmark",
            Self::Records => "record",
            Self::Snapshots | Self::Slots => "snapshot",
            Self::Inputs => "input",
            Self::InputIds => "input id",
            Self::Steps => "step",
            Self::Events => "events",
            Self::Index => "index row",
            Self::Pieces => "piece of a value",
            Self::Chunks => "chunk of a snapshot",
        }
    }

    /// The session that a key in this table belongs to.
    pub(super) fn session(self, key: &[u8]) -> Option<SessionId> {
        let id = match self {
            Self::Records
            | Self::Snapshots
            | Self::Slots
            | Self::Inputs
            | Self::InputIds
            | Self::Steps
            | Self::Events
            | Self::Chunks => key,
            Self::Pieces => key.get(1..)?,
            Self::Meta | Self::Bookmarks | Self::Index => return None,
        };
        let id = id.first_chunk::<16>()?;
        Some(SessionId::from_uuid(Uuid::from_bytes(*id)))
    }

    /// What the pieces of a value in this table begin with.
    pub(super) fn pieces_of(self, key: &[u8]) -> Vec<u8> {
        let mut pieces = Vec::with_capacity(1 + key.len() + 4);
        pieces.push(self.frame() as u8);
        pieces.extend_from_slice(key);
        pieces
    }
}

pub(super) const META: &[u8] = b"state";

pub(super) fn session_key(session: SessionId) -> [u8; 16] {
    session.as_uuid().into_bytes()
}

/// The key of a numbered part of a session. The number is big-endian, so that keys are ordered as
/// numbers are.
pub(super) fn part_key(session: SessionId, sequence: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(16 + 8);
    key.extend_from_slice(&session_key(session));
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The number in a key of [`part_key`], if it belongs to the session.
pub(super) fn part_number(session: SessionId, key: &[u8]) -> Option<u64> {
    let number = key.strip_prefix(&session_key(session))?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

pub(super) fn input_id_key(session: SessionId, id: &InputId) -> Vec<u8> {
    let mut key = session_key(session).to_vec();
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// The key of a step. No key is the begin of another, so that the pieces of one value are not taken
/// for those of another.
pub(super) fn step_key(session: SessionId, turn: Turn, key: &StepKey) -> Vec<u8> {
    let length = u16::try_from(key.as_str().len()).expect("a step key is at most 256 bytes long");
    let mut row = turn_key(session, turn);
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(key.as_str().as_bytes());
    row
}

/// What the keys of the steps of a turn begin with.
pub(super) fn turn_key(session: SessionId, turn: Turn) -> Vec<u8> {
    let mut row = part_key(session, turn.input);
    row.extend_from_slice(&turn.interlude.to_be_bytes());
    row
}

/// The turn and the key in a key of [`step_key`], if it is one of the session.
pub(super) fn step_of(session: SessionId, row: &[u8]) -> Option<(Turn, StepKey)> {
    let rest = row.strip_prefix(&session_key(session))?;
    let (input, rest) = rest.split_first_chunk()?;
    let (interlude, rest) = rest.split_first_chunk()?;
    let (length, key) = rest.split_first_chunk()?;
    if usize::from(u16::from_be_bytes(*length)) != key.len() {
        return None;
    }
    let turn =
        Turn { input: u64::from_be_bytes(*input), interlude: u64::from_be_bytes(*interlude) };
    Some((turn, StepKey::new(str::from_utf8(key).ok()?).ok()?))
}

/// The key of a bookmark. No key is the begin of another, as with steps.
pub(super) fn reader_key(reader: &ReaderName) -> Vec<u8> {
    let text = reader.as_str().as_bytes();
    let length = u16::try_from(text.len()).expect("a name is at most 256 bytes long");
    let mut key = length.to_be_bytes().to_vec();
    key.extend_from_slice(text);
    key
}

/// The reader in a key of [`reader_key`], if it is one.
pub(super) fn reader_of(key: &[u8]) -> Option<ReaderName> {
    ReaderName::new(str::from_utf8(key.get(2..)?).ok()?).ok()
}

pub(super) fn chunk_key(session: SessionId, address: &Address) -> Vec<u8> {
    let mut key = session_key(session).to_vec();
    key.extend_from_slice(address.as_bytes());
    key
}
