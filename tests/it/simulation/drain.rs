//! The last life of a world: whatever was accepted is worked off.

use std::{collections::BTreeSet, time::Duration};

use sessionkeeper::{
    PauseCause, Scope, Session, SessionError, SessionRecord, State, StateCounts, Status,
    Supervisor, Window, store::Query,
};

use super::{
    deeds::{SECOND, not_done},
    world::{SETTLED, World},
};
use crate::oracle::ledger::{Answer, Verb};

/// How often a session may have to be resumed until everything that it accepted is worked off: an
/// abandoned run may be in the way for a minute, and what is told to fail does so a few times.
const RESUMES: u32 = 300;
/// Longer than anything may be idle or paused that expires then.
const LIMITS: Duration = Duration::from_secs(40);
/// How often all sessions are looked at until there is nothing left to do.
const LOOKS: u32 = 100;

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
        // What is worked off may begin others, and tell others of its end.
        let mut seen = BTreeSet::new();
        let mut calm = None;
        for _ in 0..LOOKS {
            let all = supervisor.list(Query::default()).await.unwrap().records;
            let is_calm = all.iter().all(|record| {
                let has_time = record.inbox.waiting() == 0 || record.state().has_ended();
                let is_free = record.family.as_ref().is_none_or(|family| family.owed.is_empty());
                has_time && is_free && seen.contains(&record.id)
            });
            if is_calm {
                let versions: Vec<_> =
                    all.iter().map(|record| (record.id, record.version)).collect();
                if calm.as_ref() == Some(&versions) {
                    return self.count(supervisor, &all).await;
                }
                calm = Some(versions);
                tokio::time::sleep(LIMITS).await;
                continue;
            }
            for record in all.iter().rev() {
                let is_new = seen.insert(record.id);
                let waits = record.inbox.waiting() > 0 && !record.state().has_ended();
                if (is_new || waits)
                    && let Ok(session) = supervisor.session(record.id).await
                    && !self.work_off(session).await
                {
                    return;
                }
            }
            tokio::time::sleep(SECOND).await;
        }
        self.wrong("there is no end of what is owed, or waits".to_owned());
    }

    /// The counters say what a listing does, and the statistics what was told of all that happened.
    async fn count(&self, supervisor: &Supervisor, all: &[SessionRecord]) {
        let listed: StateCounts = all.iter().map(SessionRecord::state).collect();
        let counted = supervisor.counts(Scope::All).await.unwrap();
        if counted != listed {
            self.wrong(format!("{listed} are listed, and {counted} are counted"));
        }
        let statistics =
            supervisor.statistics(Scope::All, Window::SinceTheBeginning).await.unwrap();
        if statistics.behind > 0 {
            self.wrong(format!("{} events are not counted", statistics.behind));
        }
        self.outside.lock().unwrap().count(&statistics);
    }

    /// `false` if it never is.
    async fn work_off(&self, session: Session) -> bool {
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
        worked_off == Ok(true)
    }
}

/// Whether a session does something, or will, without being asked.
fn goes_on_by_itself(status: &Status) -> bool {
    let waiting = status.record().inbox.waiting() > 0;
    match status.state() {
        State::Pending | State::Stopping => true,
        State::Active => waiting,
        State::Paused => match status.pause_cause() {
            Some(PauseCause::Idle) => waiting,
            Some(PauseCause::Asleep(sleep)) => {
                sleep.woken_after.is_some_and(|known| status.record().inbox.accepted > known)
            }
            _ => false,
        },
        State::Stopped | State::Completed | State::Failed | State::Expired => false,
    }
}
