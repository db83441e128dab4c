//! How the processes of a session are known again: by what is in their environment, which they pass on to
//! whatever they start.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::survey::Identity;
use crate::SessionId;

/// How the names of the variables begin that the library sets.
pub(super) const PREFIX: &str = "SESSIONKEEPER_";
/// The session that a process belongs to. Programs may read it.
pub(super) const SESSION: &str = "SESSIONKEEPER_SESSION";
/// The launch that a process belongs to.
pub(super) const LAUNCH: &str = "SESSIONKEEPER_LAUNCH";
/// The worker that a process belongs to.
pub(super) const WORKER: &str = "SESSIONKEEPER_WORKER";

/// A worker, and not another that has its number later, or in another container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkerMark {
    /// Where numbers mean the same: a start of the machine, and a space of numbers in it.
    pub(super) realm: String,
    pub(super) identity: Identity,
}

impl fmt::Display for WorkerMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.realm, self.identity.pid, self.identity.began)
    }
}

impl FromStr for WorkerMark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.rsplitn(3, ' ');
        let mut word = || words.next().ok_or(());
        let (began, pid, realm) = (word()?, word()?, word()?);
        let identity =
            Identity { pid: pid.parse().map_err(drop)?, began: began.parse().map_err(drop)? };
        Ok(Self { realm: realm.to_owned(), identity })
    }
}

/// One start of a program, by a name that no other has: that of the run and a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LaunchId(String);

impl LaunchId {
    pub(super) fn new(run: crate::RunId, number: u64) -> Self {
        Self(format!("{run}.{number}"))
    }
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a process has in its environment if it is one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) session: String,
    pub(super) launch: Option<String>,
    pub(super) worker: Option<WorkerMark>,
}

impl Mark {
    /// Reads the environment of a process: `NAME=value`, each followed by a NUL.
    #[cfg(any(target_os = "linux", test))]
    pub(super) fn read(environment: &[u8]) -> Option<Self> {
        let find = |name: &str| {
            environment.split(|byte| *byte == 0).find_map(|variable| {
                let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                Some(String::from_utf8_lossy(value).into_owned())
            })
        };
        let worker = find(WORKER).and_then(|worker| worker.parse().ok());
        Some(Self { session: find(SESSION)?, launch: find(LAUNCH), worker })
    }

    /// Whether the process belongs to a session, whichever launch it was.
    pub(super) fn is_of_session(&self, session: SessionId) -> bool {
        self.session == session.to_string()
    }

    /// Whether the process belongs to a launch.
    pub(super) fn is_of_launch(&self, launch: &LaunchId) -> bool {
        self.launch.as_ref() == Some(&launch.0)
    }
}
