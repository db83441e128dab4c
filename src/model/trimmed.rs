//! How far the events of a session are gone that keeps the newest of them only.

use serde::{Deserialize, Serialize};

use super::{deletion::SHOWN, time::SupervisedTime};

/// Which events of a session are gone, where only the newest are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// Those up to this number are gone, or about to be: until then all of them can be read, or the later ones of them.
    pub to: u64,
    /// Since when they are to be removed; none where that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<SupervisedTime>,
}

impl Trimmed {
    /// When they are to be removed, if that is not done.
    pub fn due(&self) -> Option<SupervisedTime> {
        Some(self.since?.after(SHOWN))
    }
}
