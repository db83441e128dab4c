//! What runs on the machine at one moment, and which of it belongs to a program.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::mark::{LaunchId, Mark, WorkerMark};
use crate::faults::{self, Bug};

/// A process, and not another that has its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// When it began, in units of the system.
    pub(super) began: u64,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) identity: Identity,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) life: Life,
    pub(super) mark: Option<Mark>,
}

/// Whether a process does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// It waits for something in the system, and no signal reaches it before that: for a disk, or for a child that shares its
    /// memory to become another program.
    Stuck,
    /// By SIGSTOP, or by a debugger.
    Frozen,
    /// What is left of it is its exit code.
    Dead,
}

/// Processes without an environment, and since when they are known to have none.
#[derive(Debug, Default)]
pub(super) struct Bare(HashMap<Identity, Instant>);

/// Who shows no environment for so long has none. To become another program takes a moment, and longer where that has to be
/// read from a disk, or others have the processors.
const BARE_FOR: Duration = Duration::from_secs(1);

impl Bare {
    /// Says in a survey of whom it is not known yet whose they are.
    pub(super) fn look_at(&mut self, survey: &mut Survey) {
        let now = Instant::now();
        self.0.retain(|one, _| survey.bare.contains(one));
        for one in &survey.bare {
            let since = self.0.entry(*one).or_insert(now);
            let is_known = now.duration_since(*since) >= BARE_FOR;
            if !is_known && !faults::planted(Bug::PassOverTheBare) {
                survey.in_doubt.push(*one);
            }
        }
    }
}

/// Everything that runs at one moment, as far as the system shows it.
#[derive(Debug)]
pub(super) struct Survey {
    all: Vec<Seen>,
    /// Where each is, by its number.
    places: HashMap<i32, usize>,
    /// Whether nobody is missing who ran at its end.
    is_whole: bool,
    /// Those without an environment: by nature, or since they are about to become another program.
    bare: Vec<Identity>,
    /// Those of them of whom it is not known yet which.
    in_doubt: Vec<Identity>,
}

impl Survey {
    pub(super) fn new(all: Vec<Seen>) -> Self {
        let places = all.iter().enumerate().map(|(place, seen)| (seen.identity.pid, place));
        Self {
            places: places.collect(),
            all,
            is_whole: true,
            bare: Vec::new(),
            in_doubt: Vec::new(),
        }
    }

    /// The same, where some showed no environment.
    #[cfg(target_os = "linux")]
    pub(super) fn with_bare(self, bare: Vec<Identity>) -> Self {
        Self { bare, ..self }
    }

    /// One that was given up: there was always somebody new.
    #[cfg(target_os = "linux")]
    pub(super) fn unfinished(all: Vec<Seen>) -> Self {
        Self { is_whole: false, ..Self::new(all) }
    }

    /// Whether nobody is missing of those who began then or later, and all of them show whose they are.
    pub(super) fn is_whole_since(&self, began: u64) -> bool {
        self.is_whole && self.in_doubt.iter().all(|one| one.began < began)
    }

    pub(super) fn find(&self, pid: i32) -> Option<&Seen> {
        self.all.get(*self.places.get(&pid)?)
    }

    /// What meets a condition, and everything that descends from it.
    fn descendants(&self, is_one: impl Fn(&Seen) -> bool) -> Vec<&Seen> {
        let own = i32::try_from(std::process::id()).ok();
        let others = || self.all.iter().filter(|seen| Some(seen.identity.pid) != own);
        let mut found: HashSet<Identity> =
            others().filter(|seen| is_one(seen)).map(|seen| seen.identity).collect();
        loop {
            let is_child = |seen: &&Seen| {
                !found.contains(&seen.identity)
                    && self.find(seen.parent).is_some_and(|parent| {
                        // A number that was given again is no parent.
                        found.contains(&parent.identity)
                            && parent.identity.began <= seen.identity.began
                    })
            };
            let children: Vec<_> = others().filter(is_child).map(|seen| seen.identity).collect();
            if children.is_empty() {
                return others().filter(|seen| found.contains(&seen.identity)).collect();
            }
            found.extend(children);
        }
    }
}

/// A program with all that it has started, while its own process is not reaped: so long nothing else can
/// have its number, as a process or as a group.
#[derive(Debug)]
pub(super) struct Tree {
    leader: i32,
    launch: LaunchId,
    /// What was found before. It belongs to the program even if its parents are gone by now.
    known: HashSet<Identity>,
    /// What had to be ended by force, besides the program itself; whoever began that may have been interrupted.
    pub(super) killed: HashSet<Identity>,
    /// What had to be ended, and had left the group.
    pub(super) strays: HashSet<Identity>,
}

/// A process of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) identity: Identity,
    pub(super) life: Life,
    /// Whether it has left the process group of the program.
    pub(super) is_stray: bool,
    pub(super) is_leader: bool,
    /// Whether its parent is this process, which has to reap it then.
    pub(super) is_ours: bool,
}

impl Member {
    /// The program itself, where nothing else can be seen.
    pub(super) const fn leader(identity: Identity) -> Self {
        let life = Life::Running;
        Self { identity, life, is_stray: false, is_leader: true, is_ours: true }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.life != Life::Dead
    }
}

impl Tree {
    pub(super) fn new(leader: i32, launch: LaunchId) -> Self {
        let (known, killed, strays) = Default::default();
        Self { leader, launch, known, killed, strays }
    }

    pub(super) const fn launch(&self) -> &LaunchId {
        &self.launch
    }

    /// What belongs to it: its group, what has its mark, what was known, and what descends from these.
    pub(super) fn members(&mut self, survey: &Survey) -> Vec<Member> {
        let found = survey.descendants(|seen| {
            seen.group == self.leader
                || self.known.contains(&seen.identity)
                || seen.mark.as_ref().is_some_and(|mark| {
                    mark.is_of_launch(&self.launch) && !faults::planted(Bug::LeaveStrays)
                })
        });
        self.known.extend(found.iter().map(|seen| seen.identity));
        found.into_iter().map(|seen| member(seen, self.leader)).collect()
    }
}

/// What a launch has left that this process knows by its record only: its own process, where that is still the
/// same, and whatever has a mark of the session.
pub(super) fn left_over(
    survey: &Survey,
    leader: Option<Identity>,
    is_marked: impl Fn(&Mark) -> bool,
) -> Vec<Member> {
    let is_leader = |seen: &Seen| match leader {
        Some(leader) if faults::planted(Bug::TouchAnyNumber) => seen.identity.pid == leader.pid,
        leader => Some(seen.identity) == leader,
    };
    let found =
        survey.descendants(|seen| is_leader(seen) || seen.mark.as_ref().is_some_and(&is_marked));
    let group = leader.map_or(0, |leader| leader.pid);
    found.into_iter().map(|seen| member(seen, group)).collect()
}

/// What has the mark of a worker that does not run any more, where numbers mean the same as for this one.
pub(super) fn lost(survey: &Survey, this: &WorkerMark) -> Vec<Identity> {
    let runs = |worker: &WorkerMark| {
        let seen = survey.find(worker.identity.pid);
        let is_same = seen.is_some_and(|seen| seen.identity == worker.identity);
        worker.realm != this.realm || is_same || faults::planted(Bug::LeaveLostPrograms)
    };
    let is_of_lost = |mark: &Mark| mark.worker.as_ref().is_some_and(|worker| !runs(worker));
    let is_lost = |seen: &&Seen| seen.mark.as_ref().is_some_and(is_of_lost);
    survey.all.iter().filter(is_lost).map(|seen| seen.identity).collect()
}

fn member(seen: &Seen, leader: i32) -> Member {
    Member {
        identity: seen.identity,
        life: seen.life,
        is_stray: seen.group != leader,
        is_leader: seen.identity.pid == leader,
        is_ours: i32::try_from(std::process::id()) == Ok(seen.parent),
    }
}
