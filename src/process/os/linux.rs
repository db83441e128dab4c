//! Linux: `/proc`, and handles of processes.

use std::{io, io::Read as _, os::fd::OwnedFd};

use procfs::{
    ProcError,
    process::{Process, all_processes},
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, pidfd_open,
    pidfd_send_signal, set_child_subreaper, waitid,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::process::{
    mark::Mark,
    survey::{Identity, Life, Seen, Survey},
};

/// How much of an environment is read.
const ENVIRONMENT: u64 = 256 << 10;

/// Starts a program that is killed when the thread that calls this ends.
pub(in crate::process) fn spawn(
    command: tokio::process::Command,
) -> io::Result<tokio::process::Child> {
    ur_taking_me_with_you::spawn_dying_with_parent_async(command)
}

/// Makes this process the parent of orphans.
pub(in crate::process) fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Looks at everything that runs.
pub(in crate::process) fn survey() -> io::Result<Survey> {
    let all = all_processes().map_err(into_io)?;
    // What is gone by the time it is looked at does not run.
    Ok(Survey(all.filter_map(|process| look_at(&process.ok()?)).collect()))
}

fn look_at(process: &Process) -> Option<Seen> {
    let stat = process.stat().ok()?;
    let life = match stat.state {
        'Z' | 'X' | 'x' => Life::Dead,
        'T' | 't' => Life::Frozen,
        _ => Life::Running,
    };
    let mark = match life {
        Life::Dead => None,
        Life::Running | Life::Frozen => mark_of(process),
    };
    let identity = Identity { pid: stat.pid, began: stat.starttime };
    Some(Seen { identity, parent: stat.ppid, group: stat.pgrp, life, mark })
}

/// That of others cannot be read, and is none of ours.
fn mark_of(process: &Process) -> Option<Mark> {
    let mut environment = Vec::new();
    let file = process.open_relative("environ").ok()?;
    file.take(ENVIRONMENT).read_to_end(&mut environment).ok()?;
    Mark::read(&environment)
}

/// Which process has a number now.
pub(in crate::process) fn identity(pid: i32) -> Option<Identity> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    Some(Identity { pid, began: stat.starttime })
}

/// Which start of the machine this is: numbers of processes mean nothing in another.
pub(in crate::process) fn boot() -> String {
    procfs::sys::kernel::random::boot_id().unwrap_or_default()
}

/// A handle of a process, if it is still the same: nothing else can be meant by it then.
fn handle(identity: Identity) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(identity.pid)?, PidfdFlags::NONBLOCK).ok()?;
    (self::identity(identity.pid) == Some(identity)).then_some(handle)
}

/// Sends a signal to a process, unless it is gone.
pub(in crate::process) fn signal(identity: Identity, signal: Signal) {
    if let Some(handle) = handle(identity) {
        // One that has died since then needs none.
        let _ = pidfd_send_signal(handle, signal);
    }
}

/// Waits until a process is dead.
pub(in crate::process) async fn gone(identity: Identity) {
    let Some(handle) = handle(identity) else {
        return;
    };
    if let Ok(handle) = watch(handle) {
        let _ = handle.readable().await;
    }
}

/// Waits for a handle, which can be read when its process is dead.
#[allow(
    deprecated,
    reason = "what took its place is `unsafe`, for descriptors that are not owned; this one is"
)]
fn watch(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

/// How often the system has ended a process of our control group because there was no memory.
pub(in crate::process) fn memory_kills() -> Option<u64> {
    let groups = Process::myself().ok()?.cgroups().ok()?;
    let unified = groups.into_iter().find(|group| group.hierarchy == 0)?;
    let path = format!("/sys/fs/cgroup{}/memory.events", unified.pathname);
    let events = std::fs::read_to_string(path).ok()?;
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Notices the exit of a child, and leaves it to be reaped.
#[derive(Debug)]
pub(in crate::process) struct Exit {
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
}

impl Exit {
    pub(in crate::process) fn of(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, handle: watch(pidfd_open(pid, PidfdFlags::NONBLOCK)?)? })
    }

    /// Waits until it has exited.
    pub(in crate::process) async fn seen(&self) -> io::Result<WaitIdStatus> {
        loop {
            let mut ready = self.handle.readable().await?;
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
            match waitid(WaitId::Pid(self.pid), how)? {
                Some(status) => return Ok(status),
                None => ready.clear_ready(),
            }
        }
    }
}

fn into_io(error: ProcError) -> io::Error {
    io::Error::other(error)
}
