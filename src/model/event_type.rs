//! What kind of fact an event is, for those who want only some of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::event::{Event, Fact};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventType {
    /// What the library records: [`Fact::Lifecycle`].
    Lifecycle,
    /// What was used: [`Fact::Usage`].
    Usage,
    /// [`Event::Thinking`].
    Thinking,
    /// [`Event::Terminal`].
    Terminal,
    /// [`Event::FileChange`].
    FileChange,
    /// [`Event::Completion`].
    Completion,
    /// [`Event::Error`].
    Error,
    /// [`Event::Custom`], whatever its name.
    Custom,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lifecycle,
        Self::Usage,
        Self::Thinking,
        Self::Terminal,
        Self::FileChange,
        Self::Completion,
        Self::Error,
        Self::Custom,
    ];

    /// That of a fact.
    pub const fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Lifecycle(_) => Self::Lifecycle,
            Fact::Usage(_) => Self::Usage,
            Fact::Work(Event::Thinking { .. }) => Self::Thinking,
            Fact::Work(Event::Terminal { .. }) => Self::Terminal,
            Fact::Work(Event::FileChange { .. }) => Self::FileChange,
            Fact::Work(Event::Completion { .. }) => Self::Completion,
            Fact::Work(Event::Error { .. }) => Self::Error,
            Fact::Work(Event::Custom { .. }) => Self::Custom,
        }
    }

    /// Its name, as it is serialized.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::Usage => "usage",
            Self::Thinking => "thinking",
            Self::Terminal => "terminal",
            Self::FileChange => "file_change",
            Self::Completion => "completion",
            Self::Error => "error",
            Self::Custom => "custom",
        }
    }

    /// These numbers are on disk: a type keeps its own for ever.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Lifecycle => 0,
            Self::Usage => 1,
            Self::Thinking => 2,
            Self::Terminal => 3,
            Self::FileChange => 4,
            Self::Completion => 5,
            Self::Error => 6,
            Self::Custom => 7,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| UnknownEventType { text: text.to_owned() })
    }
}

/// A text that names no type of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no type of event")]
pub struct UnknownEventType {
    /// The text.
    pub text: String,
}

/// Some types of events. Empty, it stands for all of them.
///
/// ```
/// use sessionkeeper::{EventType, EventTypes};
///
/// let some = EventTypes::from([EventType::Error, EventType::Completion]);
/// assert!(some.admits(EventType::Error) && !some.admits(EventType::Usage));
/// assert!(EventTypes::default().admits(EventType::Usage));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventTypes(u16);

impl EventTypes {
    /// All of them.
    pub const ALL: Self = Self(0);

    /// Whether events of a type are among them.
    pub const fn admits(self, one: EventType) -> bool {
        self.0 == 0 || self.has(one)
    }

    /// Whether it stands for all.
    pub const fn is_all(self) -> bool {
        self.0 == 0
    }

    /// Those that are named.
    pub fn iter(self) -> impl Iterator<Item = EventType> {
        EventType::ALL.into_iter().filter(move |one| self.has(*one))
    }

    const fn has(self, one: EventType) -> bool {
        self.0 & (1 << one.number()) != 0
    }

    /// As a set of bits, of which each type has one.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |bits, one| bits | (1 << one.number())))
    }
}

impl<const N: usize> From<[EventType; N]> for EventTypes {
    fn from(types: [EventType; N]) -> Self {
        types.into_iter().collect()
    }
}

impl From<EventType> for EventTypes {
    fn from(one: EventType) -> Self {
        [one].into()
    }
}
