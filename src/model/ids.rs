//! Names of things: sessions, runs, workers, and the words callers choose.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes any UUID; version 7 keeps the order of creation.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidName {
                    what: stringify!($name),
                    why: "not a UUID",
                    text: InvalidName::shorten(text),
                })
            }
        }
    };
}

uuid_id! {
    /// The lasting name of a session. It survives pauses, crashes and restarts of the worker.
    SessionId
}
uuid_id! {
    /// One incarnation of a session: a new id at each start, resume, restart and recovery.
    ///
    /// It is the fencing token: a run that is not its session's current one can change nothing.
    RunId
}
uuid_id! {
    /// One start of a supervisor on a store. It says whose an active session is.
    WorkerGeneration
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The longest that is accepted, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Checks and takes a text: 1 to [`MAX_LEN`](Self::MAX_LEN) bytes, no control
            /// characters.
            ///
            /// # Errors
            /// [`InvalidName`] says which rule was broken.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let why = if text.is_empty() {
                    "empty"
                } else if text.len() > $max {
                    concat!("longer than ", $max, " bytes")
                } else if text.chars().any(char::is_control) {
                    "has a control character"
                } else {
                    return Ok(Self(text.into_boxed_str()));
                };
                Err(InvalidName {
                    what: stringify!($name),
                    why,
                    text: InvalidName::shorten(&text),
                })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

text_id! {
    /// The kind of a session: which registered workload runs it.
    Kind, 64
}
text_id! {
    /// A name of the caller's, held by at most one session that has not ended.
    Name, 256
}
text_id! {
    /// A correlation id from outside, such as an agent's own session id. Several sessions may
    /// carry the same one.
    ExternalId, 512
}
text_id! {
    /// An idempotency key for a start: the same key gives the same session.
    StartKey, 256
}
text_id! {
    /// The key of a child, unique within its parent: the same key gives the same child.
    ChildKey, 192
}
text_id! {
    /// An input id of the caller's, unique within its session: a repeated send with the same id
    /// is the same input.
    InputId, 256
}

text_id! {
    /// The key of a step, unique within its turn.
    StepKey, 256
}
text_id! {
    /// The name under which a reader of the log of all sessions keeps its place, such as that of a sink.
    ReaderName, 256
}

/// A text that cannot serve as a name or id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: {why}")]
pub struct InvalidName {
    what: &'static str,
    why: &'static str,
    text: String,
}

impl InvalidName {
    /// Keeps what an error shows of a hostile text short.
    fn shorten(text: &str) -> String {
        text.chars().take(40).collect()
    }
}
