//! What happened to sessions, in numbers.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    event::{EventRecord, Fact, Lifecycle},
    event_type::EventType,
    state::State,
    time::Timestamp,
    usage::Usage,
};

/// What happened to some sessions in some time: sums, which can be added up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    #[serde(skip_serializing_if = "is_default")]
    started: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ended: BTreeMap<State, u64>,
    #[serde(skip_serializing_if = "is_default")]
    completed: Durations,
    #[serde(skip_serializing_if = "is_default")]
    failed: Durations,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    events: BTreeMap<EventType, u64>,
    #[serde(skip_serializing_if = "is_default")]
    usage: Usage,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Tally {
    /// How many sessions were accepted, forks and successors too.
    pub const fn started(&self) -> u64 {
        self.started
    }

    /// How often a session came to this end: stopped, completed, failed or expired. One that was stopped and resumed
    /// can come to several.
    pub fn ended(&self, how: State) -> u64 {
        self.ended.get(&how).copied().unwrap_or(0)
    }

    /// How often a session came to any end.
    pub fn ended_in_all(&self) -> u64 {
        self.ended.values().sum()
    }

    /// How many of the ends were expirations, from 0 to 1; none where nothing ended.
    #[expect(clippy::cast_precision_loss, reason = "it is a ratio")]
    pub fn expiration_rate(&self) -> Option<f64> {
        let all = self.ended_in_all();
        (all > 0).then(|| self.ended(State::Expired) as f64 / all as f64)
    }

    /// How long the sessions took that completed.
    pub const fn completed(&self) -> &Durations {
        &self.completed
    }

    /// How long the sessions took that failed.
    pub const fn failed(&self) -> &Durations {
        &self.failed
    }

    /// How many events of a type were recorded.
    pub fn events(&self, of: EventType) -> u64 {
        self.events.get(&of).copied().unwrap_or(0)
    }

    /// How many events were recorded.
    pub fn events_in_all(&self) -> u64 {
        self.events.values().sum()
    }

    /// What was used.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Counts an event of a session that was created then, if that is known.
    pub(crate) fn count(&mut self, event: &EventRecord, created_at: Option<Timestamp>) {
        *self.events.entry(EventType::of(&event.fact)).or_default() += 1;
        match &event.fact {
            Fact::Lifecycle(Lifecycle::Created { .. }) => self.started += 1,
            Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) if to.has_ended() => {
                *self.ended.entry(*to).or_default() += 1;
                let Some(created_at) = created_at else { return };
                let millis = (event.at - created_at).num_milliseconds();
                // A wall clock that was set back makes no session take less than nothing.
                let took = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
                match to {
                    State::Completed => self.completed.add(took),
                    State::Failed => self.failed.add(took),
                    State::Pending
                    | State::Active
                    | State::Paused
                    | State::Stopping
                    | State::Stopped
                    | State::Expired => {}
                }
            }
            Fact::Lifecycle(_) | Fact::Work(_) => {}
            Fact::Usage(usage) => self.usage = self.usage.plus(usage),
        }
    }

    /// Adds what happened otherwise.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.started += other.started;
        for (how, count) in &other.ended {
            *self.ended.entry(*how).or_default() += count;
        }
        self.completed.merge(&other.completed);
        self.failed.merge(&other.failed);
        for (of, count) in &other.events {
            *self.events.entry(*of).or_default() += count;
        }
        self.usage = self.usage.plus(&other.usage);
    }
}

/// How long something took: the mean is exact, to a millisecond; a percentile is right to within 5 %.
///
/// Durations are counted in classes, each of which reaches 8 % further than the one before it, so that what a hundred million
/// of them take is some hundred numbers, and those of two times can be added up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    count: u64,
    millis: u64,
    classes: BTreeMap<u16, u64>,
}

/// How far a class reaches. Its middle is at most 4 % from its ends.
const REACH: f64 = 1.04 / 0.96;

impl Durations {
    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How long they took in all.
    pub const fn sum(&self) -> Duration {
        Duration::from_millis(self.millis)
    }

    /// How long they took on average; none where there were none.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.millis.checked_div(self.count)?;
        Some(Duration::from_millis(mean))
    }

    /// What so many percent of them took at most, by the nearest rank: 50 for the median. Less than 0 counts as 0, more than 100
    /// as 100; none where there were none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank is no more than their number, and a float that is too large becomes that"
    )]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let part = percent.clamp(0.0, 100.0) / 100.0;
        let rank = ((self.count as f64 * part).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        let class = self.classes.iter().find(|(_, count)| {
            below += **count;
            below >= rank
        });
        class.map(|(class, _)| middle(*class))
    }

    pub(crate) fn add(&mut self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.count += 1;
        self.millis = self.millis.saturating_add(millis);
        *self.classes.entry(class(millis)).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.millis = self.millis.saturating_add(other.millis);
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
    }
}

/// The class of a duration: 0 for nothing at all, else from 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the logarithm of a number of 64 bits is below 600"
)]
fn class(millis: u64) -> u16 {
    if millis == 0 {
        return 0;
    }
    (millis as f64).log(REACH).ceil() as u16 + 1
}

/// What stands for a class: as far from its upper end as from its lower, in proportion.
fn middle(class: u16) -> Duration {
    if class == 0 {
        return Duration::ZERO;
    }
    let millis = 2.0 * REACH.powi(i32::from(class) - 1) / (REACH + 1.0);
    Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(Duration::MAX)
}
