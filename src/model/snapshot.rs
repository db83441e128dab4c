//! The envelope of a snapshot: what must be known about a state before anyone decodes it.
//!
//! ```text
//! magic "SKSN" | format: u16 | header length: u32 | header (JSON) | payload | CRC-32 of all before
//! ```
//!
//! Numbers are little-endian. An unknown format is an error, never a guess. Every format begins
//! with the magic and its number and ends with the checksum of all before, so that a reader can
//! tell an envelope of a newer version from a damaged one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Kind, RunId, SessionId};

const MAGIC: &[u8; 4] = b"SKSN";
const PREFIX: usize = 4 + 2 + 4;
const CHECKSUM: usize = 4;

/// The envelope format that this version writes, and the newest that it reads.
pub const SNAPSHOT_FORMAT: u16 = 1;

/// What the envelope says about the state inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The kind of the session.
    pub kind: Kind,
    /// The version of the state: `Workload::STATE_VERSION` of the workload that wrote it.
    pub state_version: u32,
    /// The session.
    pub session: SessionId,
    /// The run that took it; none for the state that the session was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Its number among the snapshots of the session, from 1.
    pub sequence: u64,
    /// How the payload is encoded.
    pub codec: Codec,
}

/// How a payload is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Codec {
    /// JSON, by serde.
    Json,
}

/// A committed state in its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEnvelope {
    /// What the envelope says.
    pub header: SnapshotHeader,
    /// The encoded state.
    pub payload: Arc<[u8]>,
}

impl SnapshotEnvelope {
    /// The bytes to store.
    pub fn encode(header: &SnapshotHeader, payload: &[u8]) -> Vec<u8> {
        let header = serde_json::to_vec(header).expect("a header holds nothing JSON cannot say");
        let length = u32::try_from(header.len()).expect("a header is a few hundred bytes");
        let mut bytes = Vec::with_capacity(PREFIX + header.len() + payload.len() + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is wrong with the bytes. The checksum is looked at before the
    /// format, so that a damaged envelope never passes for one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (magic, rest) = bytes.split_first_chunk::<4>().ok_or(SnapshotError::Truncated)?;
        if magic != MAGIC {
            return Err(SnapshotError::NotASnapshot);
        }
        let (format, rest) = rest.split_first_chunk::<2>().ok_or(SnapshotError::Truncated)?;
        let (rest, checksum) =
            rest.split_last_chunk::<CHECKSUM>().ok_or(SnapshotError::Truncated)?;
        let covered = bytes.len() - CHECKSUM;
        let sum = bytes.get(..covered).map_or(0, crc32fast::hash);
        if sum != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::Checksum);
        }
        match u16::from_le_bytes(*format) {
            0 => return Err(SnapshotError::NotASnapshot),
            SNAPSHOT_FORMAT => {}
            found => return Err(SnapshotError::NewerFormat { found }),
        }
        let (length, body) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Truncated)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (header, payload) = body.split_at_checked(length).ok_or(SnapshotError::Truncated)?;
        let header =
            serde_json::from_slice(header).map_err(|error| SnapshotError::Header(error.into()))?;
        Ok(Self { header, payload: payload.into() })
    }
}

/// Bytes that are not a readable snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// They do not begin as a snapshot does.
    #[error("not a snapshot")]
    NotASnapshot,
    /// They end too early.
    #[error("the snapshot is cut short")]
    Truncated,
    /// They changed since they were written.
    #[error("the checksum of the snapshot does not match")]
    Checksum,
    /// A newer version of the library wrote them.
    #[error("the snapshot has format {found}, this version reads up to {SNAPSHOT_FORMAT}")]
    NewerFormat {
        /// Their format.
        found: u16,
    },
    /// The header cannot be read.
    #[error("the header of the snapshot cannot be read")]
    Header(#[source] Box<dyn std::error::Error + Send + Sync>),
}
