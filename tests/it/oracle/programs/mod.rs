//! Judges what became of programs: what was alive and when, what they printed, and how they ended.
//!
//! Two conventions make a program one that can be judged. It numbers what it prints, `line 1`, `line 2` and so on, or
//! the answers that it gives, `answer 1 to` and what it was asked. Before it exits by itself it says how many that
//! were: `last 2`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sessionkeeper::{SessionId, store::Store};

use super::{
    Found,
    calls::{self, Call},
    judge_by,
    ledger::{Entry, Ledger},
    sights,
};

mod alive;
mod ends;
mod launches;
mod printed;
mod tests;

/// What is seen of the programs of sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Program {
    /// A session is made for a program.
    Given { session: SessionId, nature: Nature },
    /// A caller, who asked at this place of the ledger, was told that a session is at rest.
    Told { session: SessionId, asked: usize, rest: Rest },
    /// Somebody begins to look at what is alive.
    Looks { look: u64 },
    /// All that was alive at one moment since that look began.
    Sees { look: u64, alive: Vec<Alive> },
    /// Somebody outside is about to send a signal to a process of a session.
    Signalled { session: SessionId, signal: i32 },
    /// A worker is about to begin.
    Begins,
    /// A worker is about to be asked to end, or to be lost.
    Ends,
}

/// What a program does while nobody disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nature {
    pub(crate) fate: Fate,
    /// The code that it exits with when it is asked to end, if it takes such requests.
    pub(crate) obeys: Option<i32>,
    /// Whether what it prints may be dropped.
    pub(crate) is_dropped: bool,
}

/// How a program ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Exits(i32),
    /// By this signal.
    Dies(i32),
    Lives,
    /// It cannot be started.
    NeverStarts,
}

/// At which rest a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rest {
    /// Nothing of it is alive, until somebody resumes it.
    Ended,
    /// Nothing of it runs, until somebody resumes or ends it.
    Frozen,
    /// Nothing of it is alive, until the next worker begins.
    ShutDown,
}

/// A process with the mark of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alive {
    pub(crate) pid: i32,
    /// When it began, as the system counts.
    pub(crate) began: u64,
    pub(crate) session: SessionId,
    pub(crate) launch: String,
    /// Whether it runs: it is not frozen.
    pub(crate) runs: bool,
}

/// Says everything that is wrong, with a store that nobody uses any more and what was seen.
pub(crate) async fn judge<S: Store + ?Sized>(store: &S, ledger: &Ledger) -> Vec<String> {
    judge_by(store, |found| compare(found, ledger)).await
}

/// Compares what is in the store with what was seen.
fn compare(found: &Found, ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    let calls = Call::all(ledger);
    calls::judge(found, ledger, &calls, &mut wrong);
    sights::judge(found, ledger, &calls, &mut wrong);
    alive::judge(ledger, &calls, &mut wrong);
    let (natures, hurt) = (natures(ledger), hurt(ledger));
    for (session, found) in found.iter() {
        let Some(nature) = natures.get(session) else { continue };
        let launches = launches::of(found);
        let mut of_session = Vec::new();
        printed::judge(nature, hurt.contains(session), &launches, &mut of_session);
        ends::judge(*session, found, ledger, nature, &launches, &mut of_session);
        wrong.extend(of_session.into_iter().map(|wrong| format!("session {session}: {wrong}")));
    }
    wrong
}

fn natures(ledger: &Ledger) -> BTreeMap<SessionId, Nature> {
    let given = ledger.0.iter().filter_map(|entry| match entry {
        Entry::Program(Program::Given { session, nature }) => Some((*session, *nature)),
        _ => None,
    });
    given.collect()
}

/// The sessions of which somebody has killed something.
fn hurt(ledger: &Ledger) -> BTreeSet<SessionId> {
    let killed = ledger.0.iter().filter_map(|entry| match entry {
        Entry::Program(Program::Signalled { session, .. }) => Some(*session),
        _ => None,
    });
    killed.collect()
}
