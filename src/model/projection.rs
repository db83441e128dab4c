//! What happened to all sessions, by whom it happened to and when.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    counts::Scope, event::EventRecord, ids::Kind, labels::Labels, tally::Tally, time::Timestamp,
};

/// Of which time something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// Of all time.
    SinceTheBeginning,
    /// Up to now, at most [a day](Self::LONGEST). It begins with a whole minute, or with a whole hour where it is longer than
    /// two hours or of a label, so it may be longer by as much.
    Last(Duration),
}

impl Window {
    /// The longest that ends now. A longer one is taken for this.
    pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
}

/// The name under which those values of a label are counted that came after the [first thousand](MOST_VALUES).
pub(crate) const OTHERS: &str = "(others)";

/// How many values of a label are counted each for itself.
pub(crate) const MOST_VALUES: usize = 1000;

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;
/// For how long minutes are told apart.
const FINE: i64 = 2 * HOUR;

/// Who an event happened to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Whose {
    pub(crate) kind: Kind,
    pub(crate) labels: Labels,
    pub(crate) created_at: Timestamp,
}

/// What happened to all sessions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Projection {
    all: Series,
    kinds: BTreeMap<Kind, Series>,
    labels: BTreeMap<String, BTreeMap<String, Series>>,
}

impl Projection {
    /// Counts the values of these labels from now on, and no others.
    pub(crate) fn count_labels(&mut self, keys: &[String]) {
        self.labels.retain(|key, _| keys.contains(key));
        for key in keys {
            self.labels.entry(key.clone()).or_default();
        }
    }

    /// Counts an event. What is not known of its session, as that is gone, counts for all only.
    pub(crate) fn count(&mut self, event: &EventRecord, whose: Option<&Whose>, now: Timestamp) {
        let now = minute(now);
        let at = minute(event.at).min(now);
        let created_at = whose.map(|whose| whose.created_at);
        let count = |series: &mut Series, step| {
            series.advance(now, step);
            series.count(event, created_at, at, now);
        };
        count(&mut self.all, 1);
        let Some(whose) = whose else { return };
        count(self.kinds.entry(whose.kind.clone()).or_default(), 1);
        for (key, values) in &mut self.labels {
            let Some(value) = whose.labels.get(key) else { continue };
            let is_other = values.len() >= MOST_VALUES && !values.contains_key(value);
            let value = if is_other { OTHERS } else { value };
            count(values.entry(value.to_owned()).or_default(), HOUR);
        }
    }

    /// What happened; none where the values of such a label are not counted.
    pub(crate) fn tally(&self, scope: &Scope, window: Window, now: Timestamp) -> Option<Tally> {
        let series = match scope {
            Scope::All => Some(&self.all),
            Scope::Kind(kind) => self.kinds.get(kind),
            Scope::Label { key, value } => self.labels.get(key)?.get(value),
        };
        Some(series.map_or_else(Tally::default, |series| series.tally(window, minute(now))))
    }
}

/// The minute that a time is in, since 1970.
const fn minute(at: Timestamp) -> i64 {
    at.timestamp().div_euclid(60)
}

const fn hour_of(minute: i64) -> i64 {
    minute.div_euclid(HOUR) * HOUR
}

/// What happened to some sessions: since the beginning, and in the last day by its minutes and hours, as far as anything did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Series {
    total: Tally,
    /// By the minute with which each begins. Before a certain hour, each is an hour.
    parts: BTreeMap<i64, Tally>,
    /// How far they are put in order.
    until: i64,
}

impl Series {
    fn count(&mut self, event: &EventRecord, created_at: Option<Timestamp>, at: i64, now: i64) {
        self.total.count(event, created_at);
        // One that was read late is long ago.
        if at >= first_kept(now) {
            let at = self.place(at);
            self.parts.entry(at).or_default().count(event, created_at);
        }
    }

    /// Where the part begins that a minute is in.
    const fn place(&self, minute: i64) -> i64 {
        if minute < self.until { hour_of(minute) } else { minute }
    }

    /// Puts together what is hours ago, or in this hour where minutes are not told apart, and forgets what is a day ago. A wall
    /// clock that was set back has left some that are yet to come: they were now.
    fn advance(&mut self, now: i64, step: i64) {
        let until = if step == HOUR { i64::MAX } else { hour_of(now - FINE) };
        let is_in_order = self.until == until
            && self.parts.last_key_value().is_none_or(|(last, _)| *last <= now)
            && self.parts.first_key_value().is_none_or(|(first, _)| *first >= first_kept(now));
        if is_in_order {
            return;
        }
        self.until = until;
        for (at, tally) in std::mem::take(&mut self.parts) {
            if at >= first_kept(now) {
                let at = self.place(at.min(now));
                self.parts.entry(at).or_default().merge(&tally);
            }
        }
    }

    fn tally(&self, window: Window, now: i64) -> Tally {
        let last = match window {
            Window::SinceTheBeginning => return self.total.clone(),
            Window::Last(last) => last.min(Window::LONGEST),
        };
        let minutes = i64::try_from(last.as_secs().div_ceil(60)).unwrap_or(DAY);
        let mut sum = Tally::default();
        for (_, part) in self.parts.range(self.place(now - minutes)..=now) {
            sum.merge(part);
        }
        sum
    }
}

/// The first minute that is kept: an hour more than a day, so that the first hour of a window of a day is whole.
const fn first_kept(now: i64) -> i64 {
    hour_of(now - DAY)
}
