//! What was seen from outside while a scenario ran: plain data, whoever wrote it down.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{RunEnd, RunId, SessionId, SessionRecord, State, Status, Timestamp};

use super::statistics::Counted;

/// What was seen, in the order in which it was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ledger(pub(crate) Vec<Entry>);

/// One thing that was seen. An entry is one line of JSON, for those who write it into a pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A caller asks. The number of the call is its own.
    Asked { call: u64, session: Option<SessionId>, verb: Verb },
    /// A caller is answered. A call that is not was lost with its worker.
    Answered { call: u64, answer: Answer },
    /// A session was shown by a listing or a watch, which may lag behind a status.
    Listed { session: SessionId, sight: Sight },
    /// A run does something.
    Run { session: SessionId, run: RunId, did: Did },
    /// A workload says by which input a session is told of the end of a child.
    EndTold { child: SessionId, tag: u64 },
    /// A shutdown is over, and the worker with it.
    ShutDown { budget: Duration, took: Duration, rested: Vec<(SessionId, Sight)> },
    /// A worker begins. Whether whoever is to be resumed can be, at once: there is a place for everybody, and it reads all states.
    Begun { resumes_all: bool },
    /// Something that somebody wrote cannot be read: whoever is to be resumed with it is not.
    Unreadable,
    /// Somebody looks at the clocks, beside a worker that has recovered.
    Moment(Moment),
    /// A worker is gone, with its calls and its runs.
    Lost,
    /// Something is seen of programs.
    #[cfg(unix)]
    Program(super::programs::Program),
}

/// What a look at the clocks shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// How long the worker has been there.
    pub(crate) up: Duration,
    pub(crate) wall: Timestamp,
    /// How many events there are of all sessions.
    pub(crate) events: u64,
    /// How often something went wrong that may delay this worker.
    pub(crate) troubles: u64,
}

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verb {
    /// With the tag of its first input.
    Start {
        key: Option<String>,
        tag: Option<u64>,
    },
    /// Of this session, with the tag of its own first input.
    Fork {
        parent: SessionId,
        key: Option<String>,
        tag: Option<u64>,
    },
    /// Every input has a tag of its own. Only a repetition, under the same id, has the same. One that goes along is asked of no
    /// session.
    Send {
        id: Option<String>,
        tag: u64,
    },
    /// As an input that is sent, but before all others.
    SendUrgent {
        id: Option<String>,
        tag: u64,
    },
    /// The turn that is under way, and whether its input is dropped.
    Interrupt {
        drops: bool,
    },
    /// With the tag of the first input of the successor, and whether the inputs that wait are to move there.
    Rollover {
        key: Option<String>,
        tag: Option<u64>,
        moves: bool,
    },
    /// The last of the chain that begins with the session.
    Latest,
    Pause,
    Resume,
    /// Also with a grace, and `kill`.
    Stop,
    /// If this is the present run.
    StopRun(RunId),
    /// What became of it.
    LookRun(RunId),
    /// The events of it, from the first on.
    ReadRun(RunId),
    Complete,
    Fail,
    /// For good, and whether it is to be stopped for that.
    Delete {
        stops: bool,
    },
    /// Whether it is found, by whatever leads to it.
    Find,
    /// Labels and metadata, each to one value.
    SetLabels(String),
    SetMetadata(String),
    SetExternalId(String),
    /// A status, however it is asked for.
    Look,
    ReadEvents,
    ReadSnapshot,
    /// For statistics.
    Count,
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Started {
        session: SessionId,
        repeated: bool,
    },
    Accepted {
        by: SessionId,
        sequence: u64,
        repeated: bool,
    },
    Seen(Sight),
    /// Events by number, each with a digest of all of it.
    Events(Vec<(u64, u32)>),
    Snapshot {
        sequence: u64,
        consumed: u64,
    },
    Counted(Box<Counted>),
    /// The run is not the present one of its session; this is.
    NotCurrent(Option<RunId>),
    /// A run began with this event.
    Run {
        began: u64,
        now: Ran,
    },
    /// The state of the session does not allow it.
    Refused(State),
    Superseded,
    /// The session has this successor.
    RolledOver {
        successor: SessionId,
        repeated: bool,
    },
    /// Nothing was done, since the session was rolled over before: to this one.
    Moved {
        successor: SessionId,
    },
    /// The turn of this input was interrupted, if one was, and whether that is dropped.
    Interrupted {
        input: Option<u64>,
        drops: bool,
    },
    /// This is the last of the chain.
    Latest(SessionId),
    /// There is no such session: none that was made, or it is gone.
    NotFound(SessionId),
    /// It was deleted.
    Deleted(SessionId),
    /// Nothing was done.
    NotDone(String),
    /// It may have been done, or may be done yet.
    Unknown(String),
}

/// What has become of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ran {
    Current,
    Ending,
    Ended(RunEnd),
}

/// A status, as far as it can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sight {
    pub(crate) version: u64,
    pub(crate) state: State,
    pub(crate) last_event: u64,
    pub(crate) accepted: u64,
}

impl From<&Status> for Sight {
    fn from(status: &Status) -> Self {
        Self::from(&**status.record())
    }
}

impl From<&SessionRecord> for Sight {
    fn from(record: &SessionRecord) -> Self {
        Self {
            version: record.version,
            state: record.state(),
            last_event: record.last_event,
            accepted: record.inbox.accepted,
        }
    }
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Did {
    Begin,
    /// It is given an input.
    Take {
        input: u64,
        attempt: u32,
        tag: u64,
    },
    /// An event was taken: `Event::custom("n", number)`, from 1 in each run.
    Emit(u64),
    /// Usage was taken: so many input tokens.
    Spend(u64),
    /// A commit of its state was answered.
    Commit {
        sequence: u64,
        consumed: u64,
    },
    /// A step is called, perhaps once more since its workload was told that it had been.
    Call {
        input: u64,
        step: u64,
        told: bool,
    },
    /// The call of a step gives an error: it may be called again.
    CallFailed {
        input: u64,
        step: u64,
    },
    /// A step has given its result.
    Given {
        input: u64,
        step: u64,
    },
    /// It starts a child, under a key that is a number, with the tag of its first input.
    Bear {
        key: u64,
        first: u64,
    },
    /// The child is there.
    Bore {
        key: u64,
        child: SessionId,
    },
    /// A child has ended, and the last of its chain is so.
    ChildEnded {
        child: SessionId,
        last: SessionId,
        state: State,
    },
    /// It goes to sleep.
    Sleep,
    /// It rolls its session over, as a caller does.
    RollOver {
        tag: Option<u64>,
        moves: bool,
    },
    End,
    BeginClose,
    EndClose,
}

impl Ledger {
    /// Reads entries, one in each line; the last line may be cut short.
    pub(crate) fn from_lines(text: &str) -> Self {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Self(whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

impl Entry {
    /// The entry as a line.
    pub(crate) fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap();
        line.push('\n');
        line
    }
}

/// A ledger that many write into. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    ledger: Ledger,
    calls: u64,
    /// What is told to people, each before an entry; only if somebody wants it.
    notes: Option<Vec<(usize, String)>>,
}

impl Book {
    pub(crate) fn enter(&self, entry: Entry) {
        self.0.lock().unwrap().ledger.0.push(entry);
    }

    /// Begins with what was seen before.
    pub(crate) fn go_on_from(&self, ledger: Ledger) {
        let mut written = self.0.lock().unwrap();
        written.calls = ledger.0.len() as u64;
        written.ledger = ledger;
    }

    /// How much was entered.
    #[cfg(unix)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().ledger.0.len()
    }

    /// Enters that something is asked, and gives the number of the call.
    pub(crate) fn ask(&self, session: Option<SessionId>, verb: Verb) -> u64 {
        let mut written = self.0.lock().unwrap();
        written.calls += 1;
        let call = written.calls;
        written.ledger.0.push(Entry::Asked { call, session, verb });
        call
    }

    pub(crate) fn answer(&self, call: u64, answer: Answer) {
        self.enter(Entry::Answered { call, answer });
    }

    /// Enters that something is asked of each of these, and gives the numbers of the calls.
    pub(crate) fn ask_each(
        &self,
        sessions: impl IntoIterator<Item = SessionId>,
        verb: &Verb,
    ) -> BTreeMap<SessionId, u64> {
        let ask = |session| (session, self.ask(Some(session), verb.clone()));
        sessions.into_iter().map(ask).collect()
    }

    /// Enters what each was told, also who was asked without being expected; of who is told nothing, why.
    pub(crate) fn answer_each(
        &self,
        mut asked: BTreeMap<SessionId, u64>,
        verb: &Verb,
        answers: impl IntoIterator<Item = (SessionId, Answer)>,
        left_out: &str,
    ) {
        for (session, answer) in answers {
            let call = asked.remove(&session);
            self.answer(call.unwrap_or_else(|| self.ask(Some(session), verb.clone())), answer);
        }
        for call in asked.into_values() {
            self.answer(call, Answer::NotDone(left_out.to_owned()));
        }
    }

    pub(crate) fn run(&self, session: SessionId, run: RunId, did: Did) {
        self.enter(Entry::Run { session, run, did });
    }

    pub(crate) fn listed(&self, session: SessionId, sight: Sight) {
        self.enter(Entry::Listed { session, sight });
    }

    /// Sorts what was entered from some place on, where its order means nothing.
    pub(crate) fn sort_from(&self, place: usize) {
        self.0.lock().unwrap().ledger.0[place..].sort_by_key(Entry::to_line);
    }

    /// From now on notes are kept, for people.
    pub(crate) fn keep_notes(&self) {
        self.0.lock().unwrap().notes = Some(Vec::new());
    }

    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        let mut written = self.0.lock().unwrap();
        let place = written.ledger.0.len();
        if let Some(notes) = &mut written.notes {
            notes.push((place, text()));
        }
    }

    /// All of it with the notes, for people.
    pub(crate) fn trace(&self) -> String {
        let written = self.0.lock().unwrap();
        let mut notes = written.notes.iter().flatten().peekable();
        let mut trace = String::new();
        for (place, entry) in written.ledger.0.iter().enumerate() {
            while let Some((_, note)) = notes.next_if(|(before, _)| *before <= place) {
                let _ = writeln!(trace, "    {note}");
            }
            let _ = writeln!(trace, "{entry:?}");
        }
        for (_, note) in notes {
            let _ = writeln!(trace, "    {note}");
        }
        trace
    }

    /// What was written.
    pub(crate) fn read(&self) -> Ledger {
        self.0.lock().unwrap().ledger.clone()
    }
}
