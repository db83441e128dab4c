//! How a program is ended with all that it has started: asked, waited for, and ended by force.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    launcher::Launcher,
    os,
    running::Running,
    survey::{Identity, Life, Member, Survey, Tree},
};
use crate::faults::{self, Bug};

/// How long is waited between two looks where the system tells of no end, and after force.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long is waited between two looks at least.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a look may fail, or not come to its end.
const BLIND_LOOKS: u32 = 50;

/// What it took.
#[derive(Debug)]
pub(super) struct Ended {
    /// How many processes besides the program itself were ended by force.
    pub(super) killed: u32,
    /// How many of all that had to be ended had left its group.
    pub(super) strays: u32,
    pub(super) took: Duration,
}

/// Ends a tree. Nothing of it is alive on return; the program itself is left to be reaped.
pub(super) async fn end(
    launcher: &Launcher,
    tree: &mut Tree,
    running: &Running,
    grace: Duration,
) -> Ended {
    let began = Instant::now();
    let until = began + grace;
    let had_exited = running.has_exited();
    if !had_exited {
        running.ask();
    }
    let mut asked = HashSet::new();
    loop {
        let alive = alive(launcher, tree, running, None).await;
        tree.strays.extend(alive.iter().filter(|one| one.is_stray).map(|one| one.identity));
        if alive.is_empty() {
            break;
        }
        if Instant::now() >= until {
            if !faults::planted(Bug::NeverForce) {
                force(launcher, tree, running, alive).await;
            }
            break;
        }
        for one in alive.iter().filter(|one| one.is_stray || had_exited) {
            if asked.insert(one.identity) {
                os::signal(one.identity, Signal::TERM);
                os::signal(one.identity, Signal::CONT);
            }
        }
        let gone = alive.iter().map(|one| os::gone(one.identity));
        // Who is late is seen in the next look.
        let _ = timeout_at(until, join_all(gone)).await;
        sleep(PAUSE).await;
    }
    let count = |all: &HashSet<Identity>| u32::try_from(all.len()).unwrap_or(u32::MAX);
    let (killed, strays) = (count(&tree.killed), count(&tree.strays));
    let was_needed = !had_exited || !asked.is_empty() || killed > 0;
    Ended { killed, strays, took: if was_needed { began.elapsed() } else { Duration::ZERO } }
}

/// Kills until nothing is left. What is killed starts nothing any more, so this comes to an end even where processes multiply.
async fn force(launcher: &Launcher, tree: &mut Tree, running: &Running, mut alive: Vec<Member>) {
    while !alive.is_empty() {
        running.signal_group(Signal::KILL);
        for one in &alive {
            os::signal(one.identity, Signal::KILL);
            if !one.is_leader {
                tree.killed.insert(one.identity);
            }
        }
        let gone = alive.iter().map(|one| os::gone(one.identity));
        let _ = timeout(LOOK_AGAIN, join_all(gone)).await;
        sleep(PAUSE).await;
        alive = self::alive(launcher, tree, running, Some(Signal::KILL)).await;
    }
}

/// What of a tree is alive, or was before it was sent the signal. What is dead and ours to reap is reaped, but for the program
/// itself. That nothing is alive is seen twice: what starts another and dies may be missed by a look that takes its time.
async fn alive(
    launcher: &Launcher,
    tree: &mut Tree,
    running: &Running,
    signal: Option<Signal>,
) -> Vec<Member> {
    let mut empty = 0;
    for _ in 0..BLIND_LOOKS {
        let (members, is_whole) = look(launcher, tree, running, signal).await;
        reap(&members);
        let mut alive = members.into_iter().filter(Member::is_alive).peekable();
        if alive.peek().is_some() {
            return alive.collect();
        }
        if !is_whole {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        empty += 1;
        if empty == 2 {
            break;
        }
    }
    // It may have been started since.
    if running.has_exited() { Vec::new() } else { vec![Member::leader(running.identity)] }
}

/// What a look at the machine shows of a tree, and whether that is all. Where nothing can be seen, that is tried for a while,
/// and then there are the program and its group.
async fn look(
    launcher: &Launcher,
    tree: &mut Tree,
    running: &Running,
    signal: Option<Signal>,
) -> (Vec<Member>, bool) {
    for _ in 0..BLIND_LOOKS {
        let survey = match signal {
            Some(signal) => launcher.survey_and_signal(tree.launch(), signal).await,
            None => launcher.survey().await,
        };
        if let Ok(survey) = survey {
            let is_whole = survey.is_whole_since(running.identity.began);
            return (tree.members(&survey), is_whole);
        }
        sleep(LOOK_AGAIN).await;
    }
    if !running.has_exited() {
        return (vec![Member::leader(running.identity)], true);
    }
    running.signal_group(Signal::KILL);
    (Vec::new(), true)
}

/// Reaps those that became children of this process when their own parents had died. Only ours are: nobody
/// else's children are touched.
fn reap(members: &[Member]) {
    let orphans = members.iter().filter(|one| one.is_ours && !one.is_leader);
    for one in orphans.filter(|one| !one.is_alive()) {
        // Somebody else who reaps everything may have been faster.
        let _ = waitpid(Pid::from_raw(one.identity.pid), WaitOptions::NOHANG);
    }
}

/// Freezes a tree: again and again until all of it stands still, as what runs may start another.
pub(super) async fn freeze(launcher: &Launcher, tree: &mut Tree, running: &Running) {
    if faults::planted(Bug::FreezeProgramAlone) {
        return os::signal(running.identity, Signal::STOP);
    }
    running.signal_group(Signal::STOP);
    let mut told = HashSet::new();
    let mut unfinished = 0;
    loop {
        let Ok(survey) = launcher.survey_and_signal(tree.launch(), Signal::STOP).await else {
            return;
        };
        let moving: Vec<_> = living(tree, &survey).filter(|one| one.moves(&told)).collect();
        let is_whole = survey.is_whole_since(running.identity.began);
        unfinished += u32::from(!is_whole);
        if moving.is_empty() && (is_whole || unfinished > BLIND_LOOKS) {
            return;
        }
        for one in moving {
            os::signal(one.identity, Signal::STOP);
            told.insert(one.identity);
        }
        sleep(PAUSE).await;
    }
}

impl Member {
    /// Whether it may do something yet. One that is stuck does nothing more, if it was told to stop before.
    fn moves(&self, told: &HashSet<Identity>) -> bool {
        match self.life {
            Life::Running => true,
            Life::Stuck => !told.contains(&self.identity),
            Life::Frozen | Life::Dead => false,
        }
    }
}

/// Lets a tree go on.
pub(super) async fn thaw(launcher: &Launcher, tree: &mut Tree, running: &Running) {
    if let Ok(survey) = launcher.survey().await {
        for one in living(tree, &survey).filter(|one| one.is_stray) {
            os::signal(one.identity, Signal::CONT);
        }
    }
    running.signal_group(Signal::CONT);
}

fn living(tree: &mut Tree, survey: &Survey) -> impl Iterator<Item = Member> {
    tree.members(survey).into_iter().filter(Member::is_alive)
}
