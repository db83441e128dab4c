//! The words that other systems have for the states of a session.
//!
//! Job queues, session servers and process supervisors each show states in words of their own, with fewer of them than
//! there are here. Every state has its word in each vocabulary, and what a word stands for is a set of
//! [states](State), which a [`Query`](crate::store::Query) takes:
//!
//! ```
//! use sessionkeeper::{State, store::Query, vocabulary::JobStatus};
//!
//! assert_eq!(JobStatus::from(State::Failed).to_string(), "ERROR");
//! let asked: JobStatus = "SUSPENDED".parse()?;
//! let query = Query { states: asked.states().to_vec(), ..Query::default() };
//! assert_eq!(query.states, [State::Pending, State::Paused]);
//! # Ok::<(), sessionkeeper::vocabulary::UnknownWord>(())
//! ```
//!
//! | our state | [`SessionStatus`] | [`JobStatus`] | [`ProgramStatus`] |
//! | --- | --- | --- | --- |
//! | pending | starting | SUSPENDED | running |
//! | active | active | ACTIVE | running |
//! | paused | paused | SUSPENDED | stopped |
//! | stopping | active | ACTIVE | stopping |
//! | stopped | stopped | STOPPED | stopped |
//! | completed | ended | COMPLETED | finished |
//! | failed | error | ERROR | finished |
//! | expired | ended | ERROR | finished |

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::state::State;

/// Makes an enum of words, each with the states that it stands for. A state without a word, or with two, does
/// not compile.
macro_rules! vocabulary {
    (
        $(#[$docs:meta])*
        $name:ident {
            $($(#[$word_docs:meta])* $variant:ident = $word:literal for [$($state:ident),+],)+
        }
    ) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$word_docs])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The states that it stands for: one or more.
            pub const fn states(self) -> &'static [State] {
                match self {
                    $(Self::$variant => &[$(State::$state),+],)+
                }
            }
        }

        impl From<State> for $name {
            #[deny(unreachable_patterns)]
            fn from(state: State) -> Self {
                match state {
                    $($(State::$state)|+ => Self::$variant,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            /// Takes a word as it is written, capitals and all.
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == word);
                known.ok_or_else(|| UnknownWord {
                    word: word.chars().take(40).collect(),
                    known: &[$($word),+],
                })
            }
        }
    };
}

vocabulary! {
    /// How a session server tells its clients: what can be done with the session.
    SessionStatus {
        /// It will run as soon as there is room.
        Starting = "starting" for [Pending],
        /// Something of it is alive, also while it is being stopped.
        Active = "active" for [Active, Stopping],
        /// It can go on.
        Paused = "paused" for [Paused],
        /// Somebody stopped it; it can be resumed.
        Stopped = "stopped" for [Stopped],
        /// It is over: it completed, or its time ran out.
        Ended = "ended" for [Completed, Expired],
        /// It is over, and something went wrong.
        Error = "error" for [Failed],
    }
}

vocabulary! {
    /// How a queue of jobs tells what becomes of them: whether the work is done.
    JobStatus {
        /// Somebody works on it.
        Active = "ACTIVE" for [Active, Stopping],
        /// Nobody does just now.
        Suspended = "SUSPENDED" for [Pending, Paused],
        /// Somebody stopped it.
        Stopped = "STOPPED" for [Stopped],
        /// It is done.
        Completed = "COMPLETED" for [Completed],
        /// It will not be done.
        Error = "ERROR" for [Failed, Expired],
    }
}

vocabulary! {
    /// How a supervisor of programs tells whether one runs.
    ProgramStatus {
        /// It does, or is about to.
        Running = "running" for [Pending, Active],
        /// Its end was asked for.
        Stopping = "stopping" for [Stopping],
        /// It does not, and can be run again.
        Stopped = "stopped" for [Paused, Stopped],
        /// It does not, and never will.
        Finished = "finished" for [Completed, Failed, Expired],
    }
}

/// A word that is not in the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {}", known.join(", "))]
pub struct UnknownWord {
    /// The word, cut to 40 characters.
    pub word: String,
    /// Those that there are.
    pub known: &'static [&'static str],
}
