//! Statistics are those of a moment between the question and the answer, whatever is committed meanwhile: all that had happened by a
//! place in the log, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Durations, EventRecord, EventType, Fact, Kind, Lifecycle, Scope, SessionId, State, Statistics,
    Timestamp, Window,
};

use super::{
    Call, Found,
    ledger::{Answer, Entry, Ledger},
};

/// What somebody was told in numbers, and what is known of when that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) of: Of,
    /// Up to now; none: since the beginning. Only of a wall clock that never jumped.
    pub(crate) minutes: Option<i64>,
    /// Where the log of all sessions ended before the question, and after the answer.
    pub(crate) log: [u64; 2],
    /// What the wall clock showed then.
    pub(crate) wall: [Timestamp; 2],
    /// How many events were not counted yet.
    pub(crate) behind: u64,
    /// How many sessions were in each state, if any were.
    pub(crate) states: BTreeMap<State, u64>,
    pub(crate) numbers: Numbers,
}

/// Of which sessions something is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Of {
    All,
    Kind(String),
    Label { key: String, value: String },
}

/// What happened; nothing that never did is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) started: u64,
    pub(crate) ended: BTreeMap<State, u64>,
    /// How many of those that came to such an end are known by how long they took, and how many milliseconds that was in all.
    pub(crate) took: BTreeMap<State, (u64, u64)>,
    pub(crate) events: BTreeMap<EventType, u64>,
    pub(crate) tokens: u64,
}

const HOUR: i64 = 60;

pub(super) fn judge(found: &Found, ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let told: Vec<(&Call<'_>, &Counted)> = calls
        .iter()
        .filter_map(|call| match call.answer {
            Some(Answer::Counted(counted)) => Some((call, &**counted)),
            _ => None,
        })
        .collect();
    if told.is_empty() {
        return;
    }
    let history = History::of(found);
    for (_, counted) in &told {
        if let Some(what) = history.contradicts(counted) {
            wrong.push(format!("{counted:?}: {what}"));
        }
    }
    for (before, first) in &told {
        for (after, second) in &told {
            let follows = before.answered.is_some_and(|answered| {
                let between = ledger.0.get(answered..after.asked);
                // The next worker begins with what the one before had kept.
                between.is_some_and(|between| !between.contains(&Entry::Lost))
            });
            if follows && first.places().start() > second.places().end() {
                wrong.push(format!("{second:?} was counted after {first:?}"));
            }
        }
    }
}

impl Of {
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::All => Scope::All,
            Self::Kind(kind) => Scope::Kind(Kind::new(kind.clone()).unwrap()),
            Self::Label { key, value } => Scope::label(key, value),
        }
    }
}

impl Counted {
    /// What was told.
    pub(crate) fn new(
        of: Of,
        minutes: Option<i64>,
        log: [u64; 2],
        wall: [Timestamp; 2],
        told: &Statistics,
    ) -> Self {
        let states = told.states.iter().filter(|(_, count)| *count > 0).collect();
        let (behind, numbers) = (told.behind, Numbers::from(told));
        Self { of, minutes, log, wall, behind, states, numbers }
    }

    /// Of which time it is asked for.
    pub(crate) fn window(minutes: Option<i64>) -> Window {
        minutes.map_or(Window::SinceTheBeginning, |minutes| {
            Window::Last(Duration::from_secs(60 * minutes.unsigned_abs()))
        })
    }

    /// Up to which places in the log everything may have been counted.
    fn places(&self) -> RangeInclusive<u64> {
        let [before, after] = self.log;
        match (&self.of, self.minutes) {
            // Each event counts once.
            (Of::All, None) => {
                let all = self.numbers.events.values().sum();
                all..=all
            }
            // What is behind is so at the end of the log, which may be passed before that is answered.
            _ if self.behind == 0 => before..=after,
            _ => before.saturating_sub(self.behind)..=after.saturating_sub(self.behind),
        }
    }

    /// The minutes with which its window may begin.
    fn begins(&self) -> RangeInclusive<i64> {
        let Some(minutes) = self.minutes else { return i64::MIN..=i64::MIN };
        let [from, to] = self.wall.map(|wall| minute(wall) - minutes);
        match self.of {
            Of::All | Of::Kind(_) => from..=to,
            Of::Label { .. } => hour_of(from)..=hour_of(to),
        }
    }
}

/// The minute that a time is in.
fn minute(at: Timestamp) -> i64 {
    at.timestamp().div_euclid(60)
}

const fn hour_of(minute: i64) -> i64 {
    minute.div_euclid(HOUR) * HOUR
}

/// All that happened, with who it happened to. A place is the number of an event in the log of all sessions, from 1 on.
struct History<'a> {
    events: &'a [(SessionId, EventRecord)],
    sessions: BTreeMap<SessionId, Whose<'a>>,
}

/// Who a session is.
#[derive(Default)]
struct Whose<'a> {
    kind: &'a str,
    created_at: Timestamp,
    /// The labels that it was created with, and with each place those that it has from there on.
    labels: Vec<(usize, BTreeMap<&'a str, &'a str>)>,
}

impl<'a> History<'a> {
    fn of(found: &'a Found) -> Self {
        let mut sessions: BTreeMap<SessionId, Whose<'a>> = BTreeMap::new();
        // The labels of those that are rolled over, with which their successors begin.
        let mut left: BTreeMap<SessionId, BTreeMap<&str, &str>> = BTreeMap::new();
        for ((session, event), place) in found.history.iter().zip(1..) {
            let Fact::Lifecycle(what) = &event.fact else { continue };
            let whose = sessions.entry(*session).or_default();
            match what {
                Lifecycle::Created { kind } => {
                    (whose.kind, whose.created_at) = (kind.as_str(), event.at);
                }
                Lifecycle::LabelsSet { labels } => {
                    whose.labels.push((place, labels.iter().collect()));
                }
                Lifecycle::TransitionedTo { session: next, .. } => {
                    let last = whose.labels.last().map(|(_, labels)| labels.clone());
                    left.insert(*next, last.unwrap_or_default());
                }
                _ => {}
            }
            if let Some(inherited) = left.get(session)
                && whose.labels.first().is_none_or(|(from, _)| *from > 0)
            {
                whose.labels.insert(0, (0, inherited.clone()));
            }
        }
        Self { events: &found.history, sessions }
    }

    /// What of the numbers is not so.
    fn contradicts(&self, counted: &Counted) -> Option<String> {
        let ([before, after], behind) = (counted.log, counted.behind);
        if after > self.events.len() as u64 || behind > after {
            return Some("there were not so many events".to_owned());
        }
        let moments = before..=after;
        let places = counted.places();
        if (&counted.of, counted.minutes) == (&Of::All, None)
            && !moments.contains(&(places.end() + behind))
        {
            return Some("the log did not end there".to_owned());
        }
        if !moments.clone().any(|place| self.states(&counted.of, place) == counted.states) {
            let states = self.states(&counted.of, after);
            return Some(format!("sessions were never in these states; in the end {states:?}"));
        }
        let mut all = places.clone().flat_map(|to| counted.begins().map(move |from| (to, from)));
        let happened = |to, from, counts: &dyn Fn(SessionId, usize) -> bool| {
            self.numbers(to, |session, event, place| {
                minute(event.at) >= from && counts(session, place)
            })
        };
        match &counted.of {
            Of::All | Of::Kind(_) => {
                let is_it = |session| match &counted.of {
                    Of::Kind(kind) => self.sessions.get(&session).is_some_and(|of| of.kind == kind),
                    Of::All | Of::Label { .. } => true,
                };
                let so = |to, from| happened(to, from, &|session, _| is_it(session));
                (!all.any(|(to, from)| so(to, from) == counted.numbers)).then(|| {
                    format!("what happened is {:?}", so(*places.end(), *counted.begins().end()))
                })
            }
            Of::Label { key, value } => {
                // Those count that it has when an event is read, which is some time after that was recorded.
                let after = usize::try_from(after).unwrap_or(usize::MAX);
                let had = |session, place| self.values(session, key, place..=after);
                let only = BTreeSet::from([Some(value.as_str())]);
                let least =
                    happened(*places.start(), *counted.begins().end(), &|session, place| {
                        had(session, place) == only
                    });
                let most = happened(*places.end(), *counted.begins().start(), &|session, place| {
                    had(session, place).contains(&Some(value.as_str()))
                });
                let is_so = counted.numbers.has(&least) && most.has(&counted.numbers);
                (!is_so).then(|| format!("what happened is from {least:?} to {most:?}"))
            }
        }
    }

    /// The values of a label that a session had in some time.
    fn values(
        &self,
        session: SessionId,
        key: &str,
        when: RangeInclusive<usize>,
    ) -> BTreeSet<Option<&str>> {
        let all = self.sessions.get(&session).map_or(&[][..], |whose| &whose.labels);
        let first = all.iter().rfind(|(from, _)| from <= when.start());
        let later = all.iter().filter(|(from, _)| from > when.start() && from <= when.end());
        let of = |labels: &BTreeMap<&'a str, &'a str>| labels.get(key).copied();
        let first = first.and_then(|(_, labels)| of(labels));
        std::iter::once(first).chain(later.map(|(_, labels)| of(labels))).collect()
    }

    /// What happened up to a place.
    fn numbers(&self, to: u64, counts: impl Fn(SessionId, &EventRecord, usize) -> bool) -> Numbers {
        let to = usize::try_from(to).unwrap_or(usize::MAX);
        let mut numbers = Numbers::default();
        for ((session, event), place) in self.events.iter().zip(1..=to) {
            if counts(*session, event, place) {
                let created_at = self.sessions.get(session).map(|whose| whose.created_at);
                numbers.count(event, created_at.unwrap_or_default());
            }
        }
        numbers
    }

    /// How many sessions were in each state after an event.
    fn states(&self, of: &Of, to: u64) -> BTreeMap<State, u64> {
        let to = usize::try_from(to).unwrap_or(usize::MAX);
        let mut states: BTreeMap<SessionId, State> = BTreeMap::new();
        for (session, event) in self.events.iter().take(to) {
            match &event.fact {
                Fact::Lifecycle(Lifecycle::Created { .. }) => {
                    states.insert(*session, State::Pending);
                }
                Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) => {
                    states.insert(*session, *to);
                }
                Fact::Lifecycle(Lifecycle::Deleted { .. }) => drop(states.remove(session)),
                Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => {}
            }
        }
        states.retain(|session, _| match of {
            Of::All => true,
            Of::Kind(kind) => self.sessions.get(session).is_some_and(|whose| whose.kind == kind),
            Of::Label { key, value } => {
                self.values(*session, key, to..=to).contains(&Some(value.as_str()))
            }
        });
        let mut counts = BTreeMap::new();
        states.into_values().for_each(|state| *counts.entry(state).or_default() += 1);
        counts
    }
}

impl Numbers {
    fn count(&mut self, event: &EventRecord, created_at: Timestamp) {
        *self.events.entry(EventType::of(&event.fact)).or_default() += 1;
        match &event.fact {
            Fact::Lifecycle(Lifecycle::Created { .. }) => self.started += 1,
            Fact::Lifecycle(Lifecycle::StateChanged { to, .. }) if to.has_ended() => {
                *self.ended.entry(*to).or_default() += 1;
                if matches!(to, State::Completed | State::Failed) {
                    let (count, millis) = self.took.entry(*to).or_default();
                    let took = (event.at - created_at).num_milliseconds();
                    *count += 1;
                    *millis += u64::try_from(took).unwrap_or(0);
                }
            }
            Fact::Usage(usage) => self.tokens += usage.input_tokens(),
            Fact::Lifecycle(_) | Fact::Work(_) => {}
        }
    }

    /// Whether it is no less in anything.
    fn has(&self, other: &Self) -> bool {
        let took = |numbers: &Self, how| numbers.took.get(how).copied().unwrap_or_default();
        self.started >= other.started
            && self.tokens >= other.tokens
            && no_less(&self.ended, &other.ended)
            && no_less(&self.events, &other.events)
            && other.took.keys().all(|how| {
                let ((count, millis), (fewer, less)) = (took(self, how), took(other, how));
                count >= fewer && millis >= less
            })
    }
}

fn no_less<K: Ord>(more: &BTreeMap<K, u64>, less: &BTreeMap<K, u64>) -> bool {
    less.iter().all(|(key, count)| more.get(key).is_some_and(|more| more >= count))
}

impl From<&Statistics> for Numbers {
    fn from(told: &Statistics) -> Self {
        let took = |took: &Durations| {
            (took.count(), u64::try_from(took.sum().as_millis()).unwrap_or(u64::MAX))
        };
        let took = [(State::Completed, told.completed()), (State::Failed, told.failed())]
            .map(|(how, durations)| (how, took(durations)));
        let ended = State::ALL.into_iter().map(|how| (how, told.ended(how)));
        let events = EventType::ALL.into_iter().map(|of| (of, told.events(of)));
        Self {
            started: told.started(),
            ended: ended.filter(|(_, count)| *count > 0).collect(),
            took: took.into_iter().filter(|(_, (count, _))| *count > 0).collect(),
            events: events.filter(|(_, count)| *count > 0).collect(),
            tokens: told.usage().input_tokens(),
        }
    }
}
