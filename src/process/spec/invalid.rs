//! What is wrong with a spec.

use crate::process::template::InvalidTemplate;

/// A spec that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// Something must be given.
    #[error("invalid program: {setting} is empty")]
    Empty {
        /// What.
        setting: &'static str,
    },
    /// The system takes no text with a NUL in it.
    #[error("invalid program: {setting} has a NUL character in it")]
    Nul {
        /// Where it is.
        setting: &'static str,
    },
    /// It cannot be the name of an environment variable.
    #[error(
        "invalid program: {name:?} cannot be an environment variable: it is empty, or has = or NUL in it"
    )]
    VariableName {
        /// The name.
        name: String,
    },
    /// The library marks what it starts with such names.
    #[error("invalid program: the environment variable {name} is set by the library")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// No program exits with it.
    #[error("invalid program: {code} is no exit code: 0 to 255")]
    Code {
        /// The code.
        code: i32,
    },
    /// The line of an interrupt reaches nobody.
    #[error(
        "invalid program: an interrupt is a line that it is to read, and it reads no inputs; set stdin to open"
    )]
    UnreadInterrupt,
    /// The resume command asks for something that there is not.
    #[error("invalid program: the resume command")]
    Resume(#[from] InvalidTemplate),
}
