//! What a store says no with, and what goes wrong in one.

use std::path::PathBuf;

use crate::model::ids::{InputId, SessionId};

/// Why a commit was refused. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The stored version is not the one the commit replaces (`None`: there is no record).
    #[error("the stored version is {found:?}")]
    Version {
        /// The stored version.
        found: Option<u64>,
    },
    /// The unique name belongs to another session that has not ended.
    #[error("the name is held by session {holder}")]
    NameTaken {
        /// Whose it is.
        holder: SessionId,
    },
    /// The start key belongs to another session.
    #[error("the start key belongs to session {holder}")]
    StartKeyTaken {
        /// Whose it is.
        holder: SessionId,
        /// The digest of the request that it came with.
        digest: u64,
    },
    /// An input with the same caller's id was accepted before.
    #[error("the input id was used for input {sequence}")]
    InputTaken {
        /// The repeated id.
        id: InputId,
        /// The number of the input that has it.
        sequence: u64,
        /// The CRC-32 of its payload.
        checksum: u32,
    },
    /// The stored record cannot be read, so nothing can replace it. Its bytes are kept.
    #[error("the stored record cannot be read: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The [successor](super::Commit::successor) that it comes with was refused, and so is the whole.
    #[error("its successor was refused: {0}")]
    Successor(Box<Self>),
    /// The session was deleted. Its id can be used again when that is forgotten.
    #[error("the session was deleted")]
    Deleted,
    /// Another worker took over: this one may not write any more.
    #[error("another worker has taken over the store")]
    GenerationEnded,
}

/// A boxed source of an error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is said of an error, and its sources, in one line.
pub(crate) fn with_sources(mut said: String, error: &(dyn std::error::Error + 'static)) -> String {
    for source in std::iter::successors(error.source(), |error| error.source()) {
        said.push_str(": ");
        said.push_str(&source.to_string());
    }
    said
}

/// A store that does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("another process has the store at {} open; use one store per worker", path.display())]
    InUse {
        /// The folder of the store.
        path: PathBuf,
    },
    /// The store cannot be opened or created.
    #[error("the store at {} cannot be opened: {what}", path.display())]
    Open {
        /// The folder of the store.
        path: PathBuf,
        /// What was tried, and what to do.
        what: String,
        /// What the system said.
        #[source]
        source: Option<BoxError>,
    },
    /// The store as a whole is damaged. It was set aside untouched.
    #[error("the store at {} is damaged ({what}); it was set aside at {}", path.display(), aside.display())]
    StoreDamaged {
        /// The folder of the store.
        path: PathBuf,
        /// Where the damaged files are now.
        aside: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something about this session cannot be read. Its bytes are kept.
    #[error("session {session}: its {what} cannot be read: {reason}")]
    Damaged {
        /// The session.
        session: SessionId,
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Writing or reading failed. It may work again later: see [`Store::heal`](super::Store::heal).
    #[error("the store failed: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: Option<BoxError>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// An error that may pass.
    pub fn unavailable(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { what: what.into(), source: Some(source.into()) }
    }

    /// A store that cannot be opened.
    pub fn open(
        path: impl Into<PathBuf>,
        what: impl Into<String>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::Open { path: path.into(), what: what.into(), source: Some(source.into()) }
    }
}
