//! Systems without `/proc`, such as macOS: `ps`, and signals by number.
//!
//! `ps` does not show environments, so nothing has a mark, and a process is known by its number and the second in
//! which it began. Tests use this on Linux too.

use std::{io, process::Command, time::Duration};

use chrono::NaiveDateTime;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::{
    signal::unix::{SignalKind, signal as stream_of},
    time::sleep,
};

use crate::process::{
    os::Death,
    survey::{Identity, Life, Seen, Survey},
};

/// How often it is looked whether a process is gone that is no child.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Number, parent, group, state, and when it began, which has five parts.
const COLUMNS: [&str; 5] = ["-opid=", "-oppid=", "-opgid=", "-ostat=", "-olstart="];

/// Starts a program. The system has no way to end it with this process.
pub(in crate::process) fn spawn(
    mut command: tokio::process::Command,
) -> io::Result<tokio::process::Child> {
    command.spawn()
}

/// The system does not have that.
pub(in crate::process) fn become_subreaper() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Looks at everything that runs, and tells of each.
pub(in crate::process) fn survey(on_look: impl Fn(&Seen)) -> io::Result<Survey> {
    let all = ps(&["-A"])?;
    all.iter().for_each(on_look);
    Ok(Survey::new(all))
}

/// Which process has a number now.
pub(in crate::process) fn identity(pid: i32) -> Option<Identity> {
    look_at(pid).map(|seen| seen.identity)
}

fn look_at(pid: i32) -> Option<Seen> {
    ps(&["-p", &pid.to_string()]).ok()?.pop()
}

fn ps(which: &[&str]) -> io::Result<Vec<Seen>> {
    let mut ps = Command::new("ps");
    let shown = ps.args(which).args(COLUMNS).env("LC_ALL", "C").env("TZ", "UTC0").output()?;
    // It fails where there is nothing to show, too.
    let lines = String::from_utf8_lossy(&shown.stdout);
    Ok(lines.lines().filter_map(read).collect())
}

/// Reads a line such as `41 1 41 Ss Sun Nov 22 02:21:48 2026`.
pub(super) fn read(line: &str) -> Option<Seen> {
    let mut words = line.split_whitespace();
    let mut number = || words.next()?.parse::<i32>().ok();
    let (pid, parent, group) = (number()?, number()?, number()?);
    let life = match words.next()?.chars().next()? {
        'Z' => Life::Dead,
        'T' => Life::Frozen,
        'D' | 'U' => Life::Stuck,
        _ => Life::Running,
    };
    let began: Vec<&str> = words.collect();
    let began = NaiveDateTime::parse_from_str(&began.join(" "), "%a %b %e %H:%M:%S %Y").ok()?;
    let began = u64::try_from(began.and_utc().timestamp()).ok()?;
    let identity = Identity { pid, began };
    Some(Seen { identity, parent, group, life, mark: None })
}

/// Where numbers of processes mean the same: when a process began is told by the wall clock, so in every start of the
/// machine.
pub(in crate::process) fn realm() -> io::Result<String> {
    Ok(String::new())
}

/// Sends a signal to a process, unless it is gone.
pub(in crate::process) fn signal(identity: Identity, signal: Signal) {
    if let Some(pid) = Pid::from_raw(identity.pid)
        && self::identity(identity.pid) == Some(identity)
    {
        // One that has died since then needs none.
        let _ = kill_process(pid, signal);
    }
}

/// Waits until a process is dead.
pub(in crate::process) async fn gone(identity: Identity) {
    let lives = |seen: Seen| seen.identity == identity && seen.life != Life::Dead;
    while look_at(identity.pid).is_some_and(lives) {
        sleep(LOOK_AGAIN).await;
    }
}

/// The system does not tell.
pub(in crate::process) fn memory_kills() -> Option<u64> {
    None
}

/// Notices the exit of a child, and leaves it to be reaped.
#[derive(Debug)]
pub(in crate::process) struct Exit {
    pid: Pid,
}

impl Exit {
    pub(in crate::process) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid: Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)? })
    }

    /// How it has exited, if it has.
    pub(in crate::process) fn look(&self) -> io::Result<Option<Death>> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(self.pid), how)?.map(Death::from))
    }

    /// Waits until it has exited.
    pub(in crate::process) async fn seen(&self) -> io::Result<Death> {
        // Listened to before the first look, so that no exit is missed.
        let mut children = stream_of(SignalKind::child())?;
        loop {
            if let Some(death) = self.look()? {
                return Ok(death);
            }
            children.recv().await;
        }
    }
}
