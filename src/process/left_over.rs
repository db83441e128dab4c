//! What a worker has left behind that was killed: found by its record and by its marks, and ended.

use std::{collections::HashSet, io, time::Duration};

use futures::future::join_all;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    child::Child,
    launcher::Launcher,
    mark::LaunchId,
    os, starting,
    survey::{self, Identity, Member},
};
use crate::SessionId;

/// How long processes may take to be dead that were killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited before the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A launch, as a session's state records it: before the program is started, and again when its process is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Launch {
    id: LaunchId,
    /// Where the number of its process means the same.
    realm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Identity>,
}

impl Launch {
    pub(super) fn of(child: &Child, launcher: &Launcher) -> Self {
        let (id, realm) = (child.launch().clone(), launcher.worker().realm.clone());
        Self { id, realm, process: child.identity() }
    }

    /// Whether it is that of a program.
    pub(super) fn is_of(&self, child: &Child) -> bool {
        self.id == *child.launch()
    }

    /// Ends what is left of it: its process, if it is still the same one, and whatever has a mark of the session. By
    /// force, since nobody reads any more what it prints. Says how many processes that were.
    pub(super) async fn end(&self, session: SessionId, launcher: &Launcher) -> io::Result<usize> {
        // Numbers mean nothing after a new start of the machine.
        let process = self.process.filter(|_| self.realm == launcher.worker().realm);
        let began = process.map_or(0, |process| process.began);
        let until = Instant::now() + PATIENCE;
        // In this process it may not even have been started.
        let _ = timeout_at(until, starting::none_under_way(session)).await;
        let mut killed: HashSet<Identity> = HashSet::new();
        loop {
            let survey = launcher.survey().await?;
            // Of a program that another session has passed on, what it started names that one.
            let left = survey::left_over(&survey, process, |mark| {
                mark.is_of_session(session) || mark.is_of_launch(&self.id)
            });
            let alive: Vec<_> = left.into_iter().filter(Member::is_alive).collect();
            let is_late = Instant::now() >= until;
            if alive.is_empty() && (survey.is_whole_since(began) || is_late) {
                return Ok(killed.len());
            }
            if is_late {
                let numbers: Vec<_> = alive.iter().map(|one| one.identity.pid).collect();
                let what = format!("processes {numbers:?} of an earlier run cannot be ended");
                return Err(io::Error::other(what));
            }
            for one in &alive {
                os::signal(one.identity, Signal::KILL);
                killed.insert(one.identity);
            }
            let gone = alive.iter().map(|one| os::gone(one.identity));
            // Who is late is seen in the next look.
            let _ = timeout(LOOK_AGAIN, join_all(gone)).await;
        }
    }
}
