use super::super::exit::{ExitCause, StoppedBy};

#[test]
fn a_cause_is_one_number_as_in_a_shell() {
    for (cause, code, text) in [
        (ExitCause::Exited { code: 3 }, Some(3), "exited with code 3"),
        (ExitCause::Signaled { signal: 11 }, Some(139), "ended by SIGSEGV"),
        (ExitCause::Signaled { signal: 63 }, Some(191), "ended by signal 63"),
        (ExitCause::OutOfMemory, Some(137), "ended by the system, which had no memory left"),
        (
            ExitCause::Stopped { by: StoppedBy::Code { code: 0 } },
            Some(0),
            "stopped: exited with code 0",
        ),
        (
            ExitCause::Stopped { by: StoppedBy::Signal { signal: 15 } },
            Some(143),
            "stopped: ended by SIGTERM",
        ),
        (ExitCause::Unknown, None, "ended, nobody knows how"),
        (ExitCause::NotStarted, None, "was not started"),
    ] {
        assert_eq!(cause.shell_code(), code, "{cause:?}");
        assert_eq!(cause.to_string(), text);
        let stored = serde_json::to_string(&cause).expect("a cause can be stored");
        assert_eq!(serde_json::from_str::<ExitCause>(&stored).ok(), Some(cause), "{stored}");
    }
}
