//! The inputs of the simulation: what a session is to do.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use sessionkeeper::{OnParent, SessionId, Unread, WhenParentEnds, WhenParentPauses};

use super::faults::{Fault, panic_as_planned, strikes, strikes_reader};

/// What is added to the tag of the input that rolls a session over, for the first input of the successor.
const AFTER_ROLLOVER: u64 = 1 << 40;
/// The same, for the first input of a child.
const OF_CHILD: u64 = 1 << 41;
/// What no other tags have in them.
const END_TOLD: u64 = 1 << 62;

/// An input.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cue {
    pub(super) tag: u64,
    pub(super) play: Play,
}

impl Cue {
    /// The first input of a successor, where the session was rolled over from within in the turn of this tag.
    pub(super) const fn after_rollover(tag: u64) -> Self {
        Self { tag: tag + AFTER_ROLLOVER, play: Play::Add }
    }

    /// What tells a session of the end of a child.
    pub(super) fn of_end(child: SessionId) -> Self {
        let (high, low) = child.as_uuid().as_u64_pair();
        Self { tag: ((high ^ low.rotate_left(17)) & (END_TOLD - 1)) | END_TOLD, play: Play::Add }
    }

    /// The first input of a child that is started in the turn of this tag.
    pub(super) fn of_child(tag: u64, kind: u8) -> Self {
        let plays = [Play::Add, Play::Complete, Play::FailForGood, Play::Silent(900), Play::Add];
        Self { tag: tag + OF_CHILD, play: plays[usize::from(kind) % plays.len()] }
    }
}

/// What a child does when its parent moves.
pub(super) fn on_parent(kind: u8) -> OnParent {
    let end = |leaves: bool| if leaves { WhenParentEnds::Leave } else { WhenParentEnds::Stop };
    let pause = match kind & 8 {
        0 => WhenParentPauses::Pause,
        _ => WhenParentPauses::Leave,
    };
    OnParent { pause, stop: end(kind & 16 > 0), end: end(kind & 32 > 0) }
}

/// What is stored of an input.
#[derive(Serialize, Deserialize)]
struct Written {
    tag: u64,
    play: Play,
}

impl Serialize for Cue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if strikes(Fault::InputEncodeFails) {
            return Err(ser::Error::custom("told to fail"));
        }
        Written { tag: self.tag, play: self.play }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if strikes_reader(Fault::InputDecodePanics) {
            panic_as_planned();
        }
        if strikes_reader(Fault::InputDecodeFails) {
            return Err(de::Error::custom("told to fail"));
        }
        let Written { tag, play } = Written::deserialize(deserializer)?;
        Ok(Self { tag, play })
    }
}

/// What a session is to do. Everything ends by itself, and what fails does so only a few times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Play {
    Add,
    FailTimes(u32),
    PanicTimes(u32),
    FailForGood,
    RetryAfter,
    Complete,
    CompleteLate,
    YieldTimes(u32),
    /// Give no sign for so many milliseconds.
    Silent(u64),
    Busy {
        limit: u64,
        takes: u64,
    },
    Await(u64),
    /// Ignore every request for so many seconds, with signs of life.
    Deaf(u64),
    /// Save progress, then fail, once.
    SaveThenFail,
    /// Checkpoint, then go on, then fail, once.
    CommitThenFail,
    Emit(u64),
    Spend(u64),
    Grow(usize),
    Hold,
    HoldWhilePaused,
    TakeHeld,
    /// A task beside the run, which emits nothing and outlasts it if it can.
    Spawn,
    ExternalId,
    /// Ask for the next input, and drop the question a few times.
    AskTwice,
    /// Take so many pairs of steps, then fail, once.
    Steps(u64),
    /// Sleep for so many milliseconds, once, unless an input comes.
    Sleep {
        span: u64,
        or_input: bool,
    },
    /// Take urgent inputs for so many milliseconds, perhaps only some of them.
    TakeUrgent {
        span: u64,
        all: bool,
    },
    /// Start a child, with an input and a policy of so many, and wait for its end or not.
    Bear {
        kind: u8,
        waits: bool,
    },
    /// Roll the session over.
    RollOver {
        moves: bool,
        with_input: bool,
    },
}

/// All of them, and how often each is chosen.
pub(super) fn a_play(dice: &mut fastrand::Rng, may_end: bool) -> Play {
    let few = dice.u32(1..3);
    let span = dice.u64(1..4000);
    let table = [
        (24, Play::Add),
        (4, Play::FailTimes(few)),
        (3, Play::PanicTimes(few)),
        (u32::from(may_end), Play::FailForGood),
        (2, Play::RetryAfter),
        (u32::from(may_end), Play::Complete),
        (u32::from(may_end), Play::CompleteLate),
        (2, Play::YieldTimes(few)),
        (3, Play::Silent(span)),
        (2, Play::Busy { limit: dice.u64(1..2000), takes: dice.u64(1..3000) }),
        (2, Play::Await(span)),
        (3, Play::Deaf(dice.u64(1..5))),
        (7, Play::SaveThenFail),
        (7, Play::CommitThenFail),
        (5, Play::Emit(dice.u64(1..4))),
        (4, Play::Spend(dice.u64(1..100))),
        // Far below what a policy allows, or far above.
        (2, Play::Grow([100, 3000, 7000][dice.usize(0..3)])),
        (3, Play::Hold),
        (3, Play::HoldWhilePaused),
        (3, Play::TakeHeld),
        (2, Play::Spawn),
        (2, Play::ExternalId),
        (4, Play::AskTwice),
        (5, Play::Steps(dice.u64(1..4))),
        (4, Play::Sleep { span: span * 4, or_input: dice.bool() }),
        (5, Play::TakeUrgent { span, all: dice.bool() }),
        (12, Play::Bear { kind: dice.u8(..), waits: dice.bool() }),
        (4, Play::RollOver { moves: dice.u8(0..4) > 0, with_input: dice.bool() }),
    ];
    super::weighted(dice, &table)
}

/// What becomes of the inputs that are not worked off at a rollover.
pub(super) const fn unread(moves: bool) -> Unread {
    if moves { Unread::Move } else { Unread::Leave }
}
