use std::process::Command as Ps;

use rustix::process::Signal;
use tokio::process::Command;

use super::{super::survey::Life, Death, posix};

#[test]
fn what_ps_shows_is_read() {
    let seen = posix::read("   41     1    40 Ss   Sun Nov  2 02:21:48 2025").expect("a line");
    assert_eq!((seen.identity.pid, seen.parent, seen.group), (41, 1, 40));
    assert_eq!((seen.identity.began, seen.life), (1_762_050_108, Life::Running));
    let life = |state: &str| {
        posix::read(&format!("1 0 1 {state} Sun Nov 22 02:21:48 2026")).map(|seen| seen.life)
    };
    let expected = [Life::Dead, Life::Frozen, Life::Running].map(Some);
    assert_eq!([life("Z+"), life("T"), life("R")], expected);
    assert_eq!(posix::read("PID PPID PGID STAT STARTED"), None);
}

/// Starts a program, sees it, kills it and sees that: with what a module offers.
macro_rules! sees_and_kills {
    ($os:ident) => {{
        let mut child = Command::new("sleep").arg("600").spawn().expect("a child");
        let pid = i32::try_from(child.id().expect("it runs")).expect("a number");
        let identity = super::$os::identity(pid).expect("it is seen");
        let all = super::$os::survey(|_| {}).expect("a survey");
        let seen = all.find(pid).expect("it is among all");
        assert_eq!(seen.identity, identity);
        assert_eq!(u32::try_from(seen.parent), Ok(std::process::id()));
        let other = super::super::survey::Identity { began: identity.began + 1, ..identity };
        super::$os::signal(other, Signal::KILL);
        super::$os::gone(other).await;
        assert_eq!(child.try_wait().ok(), Some(None), "another process is not touched");
        let exit = super::$os::Exit::of(pid).expect("a child");
        super::$os::signal(identity, Signal::KILL);
        super::$os::gone(identity).await;
        let death = exit.seen().await.expect("it is a child");
        assert_eq!(death, Death::Signal(9));
        let status = child.wait().await.expect("it was left to be reaped");
        assert!(!status.success());
    }};
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_is_seen_and_killed_on_linux() {
    sees_and_kills!(linux);
}

#[tokio::test]
async fn a_process_is_seen_and_killed_on_other_systems() {
    if Ps::new("ps").arg("-A").output().is_ok() {
        sees_and_kills!(posix);
    }
}
