//! What a child tells its parent.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{SessionId, SessionRecord, State};

use crate::oracle::ledger::{Answer, Entry, Sight, Verb};

/// Stands before every line: the test harness of the child writes to the same pipe.
pub(crate) const MARK: &str = "\u{1}";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Line {
    /// Threads and open files, after the first workers and after the last.
    LeftOver { first: (usize, usize), last: (usize, usize) },
    /// The sessions whose programs run.
    Programs(Vec<SessionId>),
    /// How far the process has come.
    Reached(Phase),
    /// What is stored breaks a promise.
    Broken(String),
    /// How the sessions stand, by their names.
    Standing(Vec<(String, State)>),
    /// How many sessions a report has, and how long it says it took.
    Report { lines: usize, took: Duration },
    /// Something was asked, answered or done.
    Entry(Entry),
}

/// How far a process has come, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It has not come anywhere.
    Spawned,
    /// The store is open.
    Opened,
    /// What is stored keeps every promise.
    Checked,
    /// The supervisor takes requests.
    Started,
    /// What the last worker left is taken up.
    Recovered,
    /// A shutdown has begun.
    ShuttingDown,
    /// It is over, and the process ends by itself.
    ShutDown,
}

/// Says a line. A child that nobody listens to ends.
pub(crate) fn say(line: &Line) {
    let text = format!("{MARK}{}\n", serde_json::to_string(line).unwrap());
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(3);
    }
}

pub(crate) fn reached(phase: Phase) {
    say(&Line::Reached(phase));
}

pub(crate) fn enter(entry: Entry) {
    say(&Line::Entry(entry));
}

/// Enters what callers ask and hear. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Calls(Arc<AtomicU64>);

impl Calls {
    /// The calls of one process among several that share a ledger.
    pub(crate) fn of(generation: u64) -> Self {
        Self(Arc::new(AtomicU64::new(generation << 32)))
    }

    /// Something is asked; gives the number of the call.
    pub(crate) fn ask(&self, session: Option<SessionId>, verb: Verb) -> u64 {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        enter(Entry::Asked { call, session, verb });
        call
    }
}

pub(crate) fn answer(call: u64, answer: Answer) {
    enter(Entry::Answered { call, answer });
}

/// What can be compared of a record that was seen.
pub(crate) fn sight(record: &SessionRecord) -> Sight {
    Sight {
        version: record.version,
        state: record.state(),
        last_event: record.last_event,
        accepted: record.inbox.accepted,
    }
}
