use std::io;

use rustix::io::Errno;
use uuid::Uuid;

use super::super::{ProcessError, ProcessSpec, Program};
use crate::SessionId;

#[test]
fn what_the_system_refuses_is_told_apart() {
    let session = SessionId::from_uuid(Uuid::nil());
    let spec = ProcessSpec::builder("agent").build().expect("a valid spec");
    let program = Program::first(&spec, session, |_| None).expect("it has no secrets");
    for (errno, expected, is_permanent) in [
        (Errno::NOENT, "there is no program agent", true),
        (Errno::ACCESS, "agent cannot be run", true),
        (Errno::NOEXEC, "agent cannot be run", true),
        (Errno::TOOBIG, "the arguments and the environment of agent are too long", true),
        (Errno::AGAIN, "the system allows no more processes", false),
        (Errno::NOMEM, "the system allows no more processes", false),
        (Errno::MFILE, "too many open files", false),
        (Errno::NFILE, "too many open files", false),
        (Errno::IO, "agent was not started", false),
    ] {
        let error = ProcessError::of_start(&program, io::Error::from(errno));
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(&session.to_string()), "{text}");
        assert_eq!(error.is_permanent(), is_permanent, "{text}");
    }
}
