//! The last life of a world: whatever was accepted is worked off.

use std::collections::BTreeSet;

use sessionkeeper::{PauseCause, Session, SessionError, State, Status, Supervisor, store::Query};

use super::{
    deeds::{SECOND, not_done},
    world::{SETTLED, World},
};
use crate::oracle::ledger::{Answer, Verb};

/// How often a session may have to be resumed until everything that it accepted is worked off: an
/// abandoned run may be in the way for a minute, and what is told to fail does so a few times.
const RESUMES: u32 = 300;

impl World {
    /// Every session has ended, or can be resumed and works off whatever it accepted.
    pub(super) async fn drain(&self, supervisor: &Supervisor) {
        if tokio::time::timeout(SETTLED, supervisor.recovered()).await.is_err() {
            return self.wrong("a recovery is never over".to_owned());
        }
        let known = self.shared.lock().unwrap().known.clone();
        for known in known {
            let call = self.book.ask(Some(known.id), Verb::Find);
            let answer = match supervisor.session(known.id).await {
                Ok(_) => Answer::Done,
                Err(error @ SessionError::NotFound { .. }) => not_done(&error),
                Err(error) => {
                    self.wrong(format!("at the end: {error}"));
                    not_done(&error)
                }
            };
            self.book.answer(call, answer);
        }
        // What is worked off may begin others.
        let mut drained = BTreeSet::new();
        loop {
            let all = supervisor.list(Query::default()).await.unwrap().records;
            let mut new = all.iter().rev().filter(|record| drained.insert(record.id)).peekable();
            if new.peek().is_none() {
                return;
            }
            for record in new {
                if let Ok(session) = supervisor.session(record.id).await {
                    self.work_off(session).await;
                }
            }
        }
    }

    async fn work_off(&self, session: Session) {
        let id = session.id();
        let mut patience = 0;
        while session.status().await.is_ok_and(|status| goes_on_by_itself(&status)) {
            tokio::time::sleep(SECOND).await;
            patience += 1;
            if patience > 1000 {
                let status = session.status().await;
                self.wrong(format!("session {id} does not go on: {status:?}"));
                break;
            }
        }
        let work_off = async {
            let mut resumed = false;
            for _ in 0..RESUMES {
                let status = match session.status().await {
                    Ok(status) => status,
                    // It was kept for long enough.
                    Err(SessionError::NotFound { .. }) => return true,
                    Err(_) => return false,
                };
                let drained = status.record().inbox.waiting() == 0 && resumed;
                if status.state().is_terminal() || drained {
                    return true;
                }
                if status.state() == State::Stopping {
                    tokio::time::sleep(SECOND).await;
                    continue;
                }
                let call = self.book.ask(Some(id), Verb::Resume);
                let answer = match session.resume().await {
                    Ok(()) => {
                        resumed = true;
                        Answer::Done
                    }
                    Err(error) => not_done(&error),
                };
                self.book.note(|| format!("resumed: {answer:?}, {status:?}"));
                self.book.answer(call, answer);
                tokio::time::sleep(SECOND).await;
            }
            false
        };
        let worked_off = tokio::time::timeout(SETTLED, work_off).await;
        if worked_off != Ok(true) {
            let status = session.status().await;
            self.wrong(format!("session {id} is never worked off: {status:?}"));
        }
    }
}

/// Whether a session does something, or will, without being asked.
fn goes_on_by_itself(status: &Status) -> bool {
    let waiting = status.record().inbox.waiting() > 0;
    match status.state() {
        State::Pending | State::Stopping => true,
        State::Active => waiting,
        State::Paused => waiting && status.pause_cause() == Some(PauseCause::Idle),
        State::Stopped | State::Completed | State::Failed | State::Expired => false,
    }
}
