//! What a worker has left behind that was killed: found by its record and by its marks, and ended.

use std::{collections::HashSet, io};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{
    child::Child,
    launcher::Launcher,
    mark::LaunchId,
    os,
    survey::{self, Identity, Life},
};
use crate::SessionId;

/// A launch, as a session's state records it: before the program is started, and again when its process is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    id: LaunchId,
    /// Which start of the machine it was.
    boot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Identity>,
}

impl Launch {
    pub(super) fn of(child: &Child, launcher: &Launcher) -> Self {
        let (id, boot) = (child.launch().clone(), launcher.boot().to_owned());
        Self { id, boot, process: child.identity() }
    }

    /// Ends what is left of it: its process, if it is still the same one, and whatever has a mark of the session. By
    /// force, since nobody reads any more what it prints. Says how many processes that were.
    pub(super) async fn end(&self, session: SessionId, launcher: &Launcher) -> io::Result<usize> {
        // Numbers of processes mean nothing after a new start of the machine.
        let process = self.process.filter(|_| self.boot == launcher.boot());
        let mut killed: HashSet<Identity> = HashSet::new();
        loop {
            let survey = launcher.survey().await?;
            let left = survey::left_over(&survey, process, |mark| mark.is_of_session(session));
            let alive: Vec<_> = left.into_iter().filter(|one| one.life != Life::Dead).collect();
            if alive.is_empty() {
                return Ok(killed.len());
            }
            for one in alive {
                os::signal(one.identity, Signal::KILL);
                killed.insert(one.identity);
                os::gone(one.identity).await;
            }
        }
    }
}
