//! How far those have come who read the log of all sessions, and go on in the next worker.

use std::sync::Arc;

use crate::model::{ids::ReaderName, log_cursor::LogCursor};

/// How far a reader of the log of all sessions has come. It is kept under the name of the reader, and
/// belongs to the store: an archive does not have it, and neither does a store that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Whose it is.
    pub reader: ReaderName,
    /// Behind the last event that it has dealt with.
    pub cursor: LogCursor,
    /// What else it has to remember. The store does not look at it.
    pub note: Arc<[u8]>,
}
