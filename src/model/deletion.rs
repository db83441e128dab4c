//! What is left of a session that was deleted.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::time::SupervisedTime;

/// How long it is remembered that a session was deleted: its id and its start key are taken for so
/// long, so that a start that is repeated late does not begin its work anew. In supervised time: a
/// clock that jumps, or a weekend without a worker, makes nobody forget.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// How long what was deleted is left where it is, so that those who follow its events, or the log of all sessions, come
/// to see its end. In supervised time.
pub(crate) const SHOWN: Duration = Duration::from_secs(10);

/// What a record says that is a tombstone. A tombstone is written in one commit; from then on the session is gone
/// for everybody, and what is left of it in the store is removed bit by bit. A worker that is lost meanwhile changes
/// nothing about that: the next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// When, in supervised time.
    pub at: SupervisedTime,
    /// By whose word.
    pub by: Removal,
    /// Whether everything but the tombstone is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purged: bool,
}

impl Deleted {
    /// When something is to be done about it: what is left of the session removed, or the tombstone itself.
    pub fn due(&self) -> SupervisedTime {
        self.at.after(if self.purged { REMEMBERED } else { SHOWN })
    }
}

/// Why a session was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Removal {
    /// A caller's explicit word.
    Asked,
    /// It had ended, and was kept for as long as was asked for.
    Age,
    /// It had ended, and all together held more than they may.
    Space,
}

impl Removal {
    /// The name used in logs and formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Age => "age",
            Self::Space => "space",
        }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
