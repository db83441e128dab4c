//! Looks at what is alive, by the marks in `/proc`.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sessionkeeper::SessionId;

use crate::oracle::{
    ledger::{Book, Entry},
    programs::{Alive, Program},
};

/// How often somebody looks, besides those who were told something.
const EVERY: Duration = Duration::from_millis(60);

/// Looks at the processes of some sessions, and writes down what is seen.
#[derive(Clone)]
pub(crate) struct Looker {
    book: Book,
    sessions: Arc<Mutex<BTreeSet<SessionId>>>,
    looks: Arc<AtomicU64>,
}

impl Looker {
    pub(crate) fn new(book: Book) -> Self {
        Self { book, sessions: Arc::default(), looks: Arc::default() }
    }

    /// From now on its processes are looked for.
    pub(crate) fn add(&self, session: SessionId) {
        self.sessions.lock().unwrap().insert(session);
    }

    /// Looks, and gives what is alive.
    pub(crate) fn look(&self) -> Vec<Alive> {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let sessions = self.sessions.lock().unwrap().clone();
        self.book.enter(Entry::Program(Program::Looks { look }));
        let alive = alive(&sessions);
        self.book.enter(Entry::Program(Program::Sees { look, alive: alive.clone() }));
        alive
    }

    /// Looks again and again, until what this gives is dropped.
    pub(crate) fn keep_looking(&self) -> Looking {
        let (end, ended) = mpsc::channel::<()>();
        let looker = self.clone();
        let thread = thread::spawn(move || {
            while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                looker.look();
            }
        });
        Looking { end: Some(end), thread: Some(thread) }
    }
}

pub(crate) struct Looking {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// What is alive of some sessions: all of it at one moment, as each process is there before and after it.
fn alive(sessions: &BTreeSet<SessionId>) -> Vec<Alive> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let before: Vec<_> = pids.filter_map(|pid| process(pid, sessions)).collect();
    let after = before.iter().filter_map(|one| process(one.pid, sessions));
    after.filter(|one| before.iter().any(|seen| is_same(seen, one))).collect()
}

fn is_same(one: &Alive, other: &Alive) -> bool {
    (one.pid, one.began, &one.launch) == (other.pid, other.began, &other.launch)
}

fn process(pid: i32, sessions: &BTreeSet<SessionId>) -> Option<Alive> {
    let Stat { state, began, .. } = stat(pid)?;
    if ['Z', 'X', 'x'].contains(&state) {
        return None;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment);
    let value = |name| environment.split('\0').find_map(|one| one.strip_prefix(name));
    let session = value("SESSIONKEEPER_SESSION=")?.parse().ok()?;
    let launch = value("SESSIONKEEPER_LAUNCH=")?.to_owned();
    // What shares its memory with a frozen child waits for that, and nothing reaches it.
    let runs = !['T', 't', 'D'].contains(&state);
    sessions.contains(&session).then_some(Alive { pid, began, session, launch, runs })
}

/// What `/proc` says of a process.
struct Stat {
    state: char,
    parent: u32,
    began: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit(')').next()?.split_whitespace();
    let state = words.next()?.chars().next()?;
    let parent = words.next()?.parse().ok()?;
    let began = words.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, began })
}

/// Whether a process that was seen is there still, and not another with its number.
pub(super) fn is_same_still(one: &Alive) -> bool {
    stat(one.pid).is_some_and(|stat| stat.began == one.began)
}

/// Whether a process that was seen is dead, and a child of this one that nobody has reaped.
pub(super) fn is_zombie(one: &Alive) -> bool {
    stat(one.pid).is_some_and(|stat| {
        stat.state == 'Z' && stat.began == one.began && stat.parent == std::process::id()
    })
}
