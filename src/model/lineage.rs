//! How sessions come from one another.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{family::OnParent, ids::SessionId, usage::Usage};

/// The links of a session to those that it comes from, and to the one that follows it. Each is an id, so a
/// session that it names may be gone.
///
/// What a session comes from is known when it is made and never changes; so links never lead in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Links {
    /// The committed snapshot that it began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
    /// The session that started it as a part of its own work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// What it does when its parent moves.
    #[serde(skip_serializing_if = "OnParent::is_default")]
    pub on_parent: OnParent,
    /// How many generations of parents it has.
    #[serde(skip_serializing_if = "is_zero_depth")]
    pub depth: u32,
    /// The session that it is the successor of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitioned_from: Option<SessionId>,
    /// The session that is its successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitioned_to: Option<SessionId>,
}

impl Links {
    const NONE: Self = Self {
        forked_from: None,
        parent: None,
        on_parent: OnParent::default_const(),
        depth: 0,
        transitioned_from: None,
        transitioned_to: None,
    };

    /// The links of a fork. It has no parent: it is nobody's work but its own.
    pub const fn of_fork(from: ForkedFrom) -> Self {
        Self { forked_from: Some(from), ..Self::NONE }
    }

    /// The links of a child of a session that stands so deep itself.
    pub const fn of_child(parent: SessionId, depth: u32, on_parent: OnParent) -> Self {
        Self { parent: Some(parent), on_parent, depth: depth.saturating_add(1), ..Self::NONE }
    }

    /// The links of the successor of a session. Where that is a child, its successor is one in its place.
    pub const fn of_successor(of: SessionId, links: &Self) -> Self {
        Self {
            parent: links.parent,
            on_parent: links.on_parent,
            depth: links.depth,
            transitioned_from: Some(of),
            ..Self::NONE
        }
    }

    /// What the session is to each of those that it comes from.
    pub fn sources(&self) -> impl Iterator<Item = (Relation, SessionId)> + use<> {
        let sources = [
            (Relation::Fork, self.forked_from.map(|from| from.session)),
            (Relation::Child, self.parent),
            (Relation::Successor, self.transitioned_from),
        ];
        sources.into_iter().filter_map(|(relation, source)| Some((relation, source?)))
    }
}

/// The committed snapshot that a fork began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// Whose it is, or was.
    pub session: SessionId,
    /// Its number among the snapshots of that session.
    pub snapshot: u64,
}

/// What a session is to one that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Relation {
    /// It began with a snapshot of the other: see [`Links::forked_from`].
    Fork,
    /// The other started it: see [`Links::parent`].
    Child,
    /// It took the place of the other: see [`Links::transitioned_from`].
    Successor,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fork, Self::Child, Self::Successor];

    /// The name used in logs and formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Child => "child",
            Self::Successor => "successor",
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero_depth(depth: &u32) -> bool {
    *depth == 0
}

/// How a session was forked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forked {
    /// Where its state comes from.
    #[serde(flatten)]
    pub from: ForkedFrom,
    /// How many inputs were copied: they are its first ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inputs: u64,
    /// The usage that was copied: its own is added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Why a newer snapshot, which was to be taken, was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_back: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Forked {
    /// From this snapshot, and nothing else was copied.
    pub const fn new(from: ForkedFrom) -> Self {
        Self { from, inputs: 0, usage: None, fell_back: None }
    }
}
