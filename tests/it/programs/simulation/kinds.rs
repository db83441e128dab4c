//! The programs of the simulation, one line for each kind, and how their sessions are kept.

use std::{path::Path, time::Duration};

use sessionkeeper::{
    Backoff, Limit, OnExhausted, Policy, Restart, RestartPolicy,
    process::{
        OnPause, OutputFormat, ProcessSpec, ProcessSpecBuilder, Silence, Stdin, Value, WhenBehind,
    },
};

use super::faults::{Fault, Faults};
use crate::{
    oracle::programs::{
        Fate::{self, Dies, Exits, Lives},
        Nature,
    },
    simulation::weighted,
};

/// What `numbered.sh` does if it is told so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) what: &'static str,
    fate: Fate,
    obeys: Option<i32>,
    reads: Reads,
}

/// What it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    Nothing,
    Lines,
    /// It answers each line with an object.
    Questions,
}

const fn kind(what: &'static str, fate: Fate, obeys: Option<i32>, reads: Reads) -> Kind {
    Kind { what, fate, obeys, reads }
}

const KINDS: &[(u32, Kind)] = &[
    (3, kind("quick", Exits(0), None, Reads::Nothing)),
    (3, kind("slow", Exits(0), None, Reads::Nothing)),
    (3, kind("code", Exits(3), None, Reads::Nothing)),
    (3, kind("dies", Dies(6), None, Reads::Nothing)),
    (3, kind("ticks", Lives, None, Reads::Nothing)),
    (3, kind("obeys", Lives, Some(0), Reads::Nothing)),
    (2, kind("obeys-ill", Lives, Some(7), Reads::Nothing)),
    (2, kind("last-words", Lives, Some(0), Reads::Nothing)),
    (3, kind("deaf", Lives, None, Reads::Nothing)),
    (3, kind("daemon", Exits(0), None, Reads::Nothing)),
    (3, kind("with-daemon", Lives, None, Reads::Nothing)),
    (3, kind("tree", Lives, None, Reads::Nothing)),
    (2, kind("silent", Lives, None, Reads::Nothing)),
    (2, kind("flood", Exits(0), None, Reads::Nothing)),
    (1, kind("endless", Lives, None, Reads::Nothing)),
    (4, kind("reads", Exits(0), None, Reads::Lines)),
    (12, kind("agent", Exits(0), None, Reads::Questions)),
];

/// The secret that some programs ask for.
pub(super) const SECRET: &str = "key";

/// A session as the dice say.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) spec: ProcessSpec,
    pub(super) nature: Nature,
    pub(super) policy: Policy,
    pub(super) reads: Reads,
}

pub(super) fn cast(dice: &mut fastrand::Rng, faults: &Faults, folder: &Path) -> Cast {
    let kind = weighted(dice, KINDS);
    let is_dropped = kind.reads != Reads::Questions && dice.u8(0..4) == 0;
    let mut nature = Nature { fate: kind.fate, obeys: kind.obeys, is_dropped };
    let mut program = "sh";
    let mut folder = folder.to_owned();
    if faults.strikes(Fault::ProgramIsMissing) {
        (program, nature.fate) = ("no-such-program", Fate::NeverStarts);
    }
    if faults.strikes(Fault::FolderIsMissing) {
        (folder, nature.fate) = (folder.join("missing"), Fate::NeverStarts);
    }
    let on_pause = match dice.u8(0..5) {
        0 | 1 => OnPause::Stop,
        2 | 3 => OnPause::Freeze(Limit::Never),
        _ => OnPause::Freeze(Limit::After(Duration::from_millis(dice.u64(1..300)))),
    };
    let spec = numbered(program, kind.what)
        .folder(folder)
        .env("KEY", Value::secret(SECRET))
        .stdin(if kind.reads == Reads::Nothing { Stdin::Closed } else { Stdin::Open })
        .output(match kind.reads {
            Reads::Questions => OutputFormat::JsonLines,
            Reads::Nothing | Reads::Lines => OutputFormat::Lines,
        })
        .when_behind(if is_dropped { WhenBehind::Drop } else { WhenBehind::Wait })
        .on_pause(on_pause)
        .stop_grace(match kind.what {
            "last-words" => Duration::from_secs(5),
            _ => Duration::from_millis(dice.u64(50..400)),
        })
        .silence(Silence::Ok)
        .build()
        .unwrap();
    Cast { spec, nature, policy: policy(dice), reads: kind.reads }
}

/// The program of the simulation, with something to do.
pub(crate) fn numbered(shell: &str, what: &str) -> ProcessSpecBuilder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = folder.join("tests/it/programs/simulation/numbered.sh");
    ProcessSpec::builder(shell).arg(script.to_string_lossy()).arg(what)
}

/// Everything within a second, but for what a machine that does other things delays.
fn policy(dice: &mut fastrand::Rng) -> Policy {
    let restart = RestartPolicy {
        restart: if dice.bool() { Restart::OnFailure } else { Restart::Never },
        max_restarts: 2,
        backoff: Backoff {
            initial: Duration::from_millis(dice.u64(0..60)),
            max: Duration::from_millis(100),
            ..Backoff::default()
        },
        on_exhausted: if dice.bool() { OnExhausted::Fail } else { OnExhausted::Quarantine },
        ..RestartPolicy::default()
    };
    Policy::builder()
        .pause_grace(Duration::from_secs(10))
        .stop_grace(Duration::from_secs(10))
        .cancel_grace(Duration::from_secs(20))
        .restart(restart)
        .build()
        .unwrap()
}
