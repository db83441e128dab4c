//! What a row is made of.

use std::{path::PathBuf, str::FromStr};

use crate::readings::Readings;

/// One thing that is measured, from both sides.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What is done, in one line.
    pub(crate) what: &'static str,
    /// What the floor is, in one line.
    pub(crate) floor: &'static str,
    pub(crate) figures: &'static [Figure],
    /// How memory is allocated on both sides.
    pub(crate) allocator: Allocator,
    /// Measures a side. Fails where what was done was not done well: a check, never a time.
    pub(crate) run: fn(Side, &Scene) -> anyhow::Result<Readings>,
}

/// How memory is allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Allocator {
    /// By the allocator of the system, as it is set.
    AsItIs,
    /// It keeps what was freed. That of glibc gives large buffers back to the system, and takes them anew, for each commit.
    KeepsMemory,
}

impl Allocator {
    /// What tells that of glibc; others keep memory without being told.
    pub(crate) const fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AsItIs => &[],
            Self::KeepsMemory => &[
                ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
                ("MALLOC_MMAP_THRESHOLD_", "1000000000"),
            ],
        }
    }
}

/// One number of a row.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) reach: Reach,
}

/// What a number counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Nanoseconds.
    Time,
    Bytes,
    /// Per second.
    Rate,
    /// A plain quotient.
    Times,
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach {
    /// At most so many times the floor.
    AtMost(f64),
    /// At least so many times the floor.
    AtLeast(f64),
    /// At most so much more than the floor.
    Above(f64),
    /// At most so much, whatever the floor.
    Below(f64),
    /// Anything: it is shown beside the floor.
    Any,
}

/// What a side is given.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) sessions: usize,
    /// Where stores are put.
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Floor,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Floor => "floor",
        }
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "ours" => Ok(Self::Ours),
            "floor" => Ok(Self::Floor),
            other => Err(format!("{other} is no side")),
        }
    }
}
