//! Linux: `/proc`, and handles of processes.

use std::{
    collections::HashMap,
    io,
    io::Read as _,
    os::fd::{AsFd, OwnedFd},
};

use procfs::{ProcError, process::Process};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::process::{
    mark::Mark,
    os::Death,
    survey::{Identity, Life, Seen, Survey},
};

/// How much of an environment is read.
const ENVIRONMENT: u64 = 2 << 20;

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

/// How often what runs is listed at most, and how often one process is looked at that shows no environment.
const LISTINGS: usize = 20;
const BARE_LOOKS: u32 = 3;

/// Looks at everything that runs: until a listing shows nobody who was not looked at. Else whatever starts another and is gone
/// before it is looked at would be missed with all that comes after it. It is told of each as soon as that is seen.
pub(in crate::process) fn survey(on_look: impl Fn(&Seen)) -> io::Result<Survey> {
    let mut seen = HashMap::new();
    // How often those were looked at that show no environment, and are looked at again.
    let mut bare: HashMap<i32, u32> = HashMap::new();
    let mut still_bare = Vec::new();
    for _ in 0..LISTINGS {
        let mut pids = listed()?;
        pids.retain(|pid| !seen.contains_key(pid) || bare.contains_key(pid));
        if pids.is_empty() {
            return Ok(Survey::new(seen.into_values().collect()).with_bare(still_bare));
        }
        // Mostly the newest are the first to be gone.
        for pid in pids.into_iter().rev() {
            match Process::new(pid).and_then(|process| look_at(&process)) {
                Ok((one, is_bare)) => {
                    let identity = one.identity;
                    on_look(&one);
                    seen.insert(pid, one);
                    let looks = bare.remove(&pid).unwrap_or_default() + 1;
                    if is_bare && looks < BARE_LOOKS {
                        bare.insert(pid, looks);
                    } else if is_bare {
                        still_bare.push(identity);
                    }
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(into_io(error)),
            }
        }
    }
    Ok(Survey::unfinished(seen.into_values().collect()))
}

/// The numbers of all that runs, read before anybody is looked at: what multiplies would make the list endless.
fn listed() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// What is gone by the time it is looked at does not run.
fn is_gone(error: &ProcError) -> bool {
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => Errno::from_io_error(error) == Some(Errno::SRCH),
        ProcError::PermissionDenied(_)
        | ProcError::Incomplete(_)
        | ProcError::Other(_)
        | ProcError::InternalError(_) => false,
    }
}

/// Looks at a process, and says whether it has no environment to look at, which may be since it is about to become another
/// program.
fn look_at(process: &Process) -> Result<(Seen, bool), ProcError> {
    let stat = process.stat()?;
    let life = match stat.state {
        // Its other threads may run on.
        'Z' if stat.num_threads > 1 => Life::Running,
        'Z' | 'X' | 'x' => Life::Dead,
        'T' | 't' => Life::Frozen,
        'D' => Life::Stuck,
        _ => Life::Running,
    };
    let environment = match life {
        Life::Dead => None,
        Life::Running | Life::Stuck | Life::Frozen => environment(process),
    };
    let is_of_kernel = stat.flags & KERNEL_THREAD != 0;
    let is_bare = environment.as_ref().is_some_and(Vec::is_empty) && !is_of_kernel;
    let mark = environment.and_then(|environment| Mark::read(&environment));
    let identity = Identity { pid: stat.pid, began: stat.starttime };
    Ok((Seen { identity, parent: stat.ppid, group: stat.pgrp, life, mark }, is_bare))
}

/// A thread of the system itself, among the flags of a process.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// That of others cannot be read, and is none of ours.
fn environment(process: &Process) -> Option<Vec<u8>> {
    let mut environment = Vec::new();
    let file = process.open_relative("environ").ok()?;
    file.take(ENVIRONMENT).read_to_end(&mut environment).ok()?;
    Some(environment)
}

/// Which process has a number now.
pub(in crate::process) fn identity(pid: i32) -> Option<Identity> {
    let stat = Process::new(pid).ok()?.stat().ok()?;
    Some(Identity { pid, began: stat.starttime })
}

/// Where numbers of processes mean the same: in this start of the machine, and in this container.
pub(in crate::process) fn realm() -> io::Result<String> {
    let boot = procfs::sys::kernel::random::boot_id().map_err(into_io)?;
    let numbers = std::fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{boot} {}", numbers.display()))
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
    handle: AsyncFd<OwnedFd>,
}

impl Exit {
    pub(in crate::process) fn of(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { handle: watch(pidfd_open(pid, PidfdFlags::NONBLOCK)?)? })
    }

    /// How it has exited, if it has.
    pub(in crate::process) fn look(&self) -> io::Result<Option<Death>> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::PidFd(self.handle.get_ref().as_fd()), how)?.map(Death::from))
    }

    /// Waits until it has exited.
    pub(in crate::process) async fn seen(&self) -> io::Result<Death> {
        loop {
            let mut ready = self.handle.readable().await?;
            match self.look()? {
                Some(death) => return Ok(death),
                None => ready.clear_ready(),
            }
        }
    }
}

fn into_io(error: ProcError) -> io::Error {
    io::Error::other(error)
}
