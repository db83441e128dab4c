//! What keeps a program from being started.

use std::{io, path::PathBuf};

use rustix::io::Errno;

use super::{command::Program, exit::ExitCause};
use crate::{SessionId, WorkloadError};

/// A program that was not started, or not spoken to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is no such program.
    #[error(
        "session {session}: there is no program {program}; give its path, or a name that is in PATH"
    )]
    NotFound {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
    },
    /// It is there and cannot be run.
    #[error(
        "session {session}: {program} cannot be run; it must be a program with the permission to execute it"
    )]
    NotExecutable {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The folder that it is to work in cannot be entered.
    #[error("session {session}: the working folder {} cannot be entered", folder.display())]
    Folder {
        /// The session.
        session: SessionId,
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A secret that the workload does not know.
    #[error(
        "session {session}: the environment variable {variable} asks for the secret {secret:?}, which is not known"
    )]
    UnknownSecret {
        /// The session.
        session: SessionId,
        /// The environment variable.
        variable: String,
        /// The name of the secret.
        secret: String,
    },
    /// The system takes no text with a NUL in it.
    #[error("session {session}: the secret {secret:?} has a NUL character in it")]
    NulInSecret {
        /// The session.
        session: SessionId,
        /// The name of the secret.
        secret: String,
    },
    /// Arguments and environment are more than the system takes.
    #[error("session {session}: the arguments and the environment of {program} are too long")]
    TooLong {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
    },
    /// The system has no room for one more process now.
    #[error(
        "session {session}: {program} was not started: the system allows no more processes; raise the limit (ulimit -u, pids.max) or run fewer sessions at once"
    )]
    TooManyProcesses {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
    },
    /// The worker has as many open files as it may.
    #[error(
        "session {session}: {program} was not started: too many open files; raise the limit (ulimit -n) or run fewer sessions at once"
    )]
    TooManyFiles {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
    },
    /// What is to be started is over already, or was never started.
    #[error("session {session}: {program} does not run")]
    NotRunning {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
    },
    /// It ended, and that is no success.
    #[error("session {session}: {program} {cause}")]
    Failed {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
        /// How it ended.
        cause: ExitCause,
    },
    /// The program reads nothing (any more).
    #[error("session {session}: {program} reads no input")]
    NoInput {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
        /// What the system said, if the program had been reading.
        #[source]
        source: Option<io::Error>,
    },
    /// The system said something else.
    #[error("session {session}: {program} was not started")]
    System {
        /// The session.
        session: SessionId,
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ProcessError {
    /// What the system's refusal to start a program means.
    pub(super) fn of_start(program: &Program, error: io::Error) -> Self {
        let (session, name) = (program.session, program.program.clone());
        if let Some(folder) = &program.folder
            && let Err(source) = enter(folder)
        {
            return Self::Folder { session, folder: folder.clone(), source };
        }
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Self::NotFound { session, program: name },
            Some(Errno::ACCESS | Errno::NOEXEC | Errno::PERM | Errno::ISDIR | Errno::NOTDIR) => {
                Self::NotExecutable { session, program: name, source: error }
            }
            Some(Errno::TOOBIG) => Self::TooLong { session, program: name },
            Some(Errno::AGAIN | Errno::NOMEM) => Self::TooManyProcesses { session, program: name },
            Some(Errno::MFILE | Errno::NFILE) => Self::TooManyFiles { session, program: name },
            _ => Self::System { session, program: name, source: error },
        }
    }

    /// There is no terminal for a program.
    pub(super) fn of_terminal(program: &Program, source: io::Error) -> Self {
        let (session, name) = (program.session, program.program.clone());
        match Errno::from_io_error(&source) {
            Some(Errno::MFILE | Errno::NFILE) => Self::TooManyFiles { session, program: name },
            _ => Self::System { session, program: name, source },
        }
    }

    /// Whether another try without a change would end in the same way.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::NotExecutable { .. }
            | Self::Folder { .. }
            | Self::UnknownSecret { .. }
            | Self::NulInSecret { .. }
            | Self::TooLong { .. } => true,
            Self::TooManyProcesses { .. }
            | Self::TooManyFiles { .. }
            | Self::NotRunning { .. }
            | Self::Failed { .. }
            | Self::NoInput { .. }
            | Self::System { .. } => false,
        }
    }

    /// The error of a workload that could not start its program.
    pub(super) fn into_workload_error(self) -> WorkloadError {
        if self.is_permanent() { WorkloadError::permanent(self) } else { self.into() }
    }
}

/// Whether a folder is one and can be entered.
fn enter(folder: &std::path::Path) -> io::Result<()> {
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    // What is in it need not be readable.
    folder.join(".").metadata().map(drop)
}
