//! How long sessions are kept that have ended, and how much of those that go on.

use std::{num::NonZeroU64, time::Duration};

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::{
    faults::{self, Bug},
    model::{
        record::{Lane, SessionRecord},
        state::State,
        time::SupervisedTime,
    },
};

/// How long sessions are kept after they ended, by how they ended. By default all are kept for good. What is
/// pending, active or paused, quarantined or not, is never removed by it.
///
/// The times are supervised: they pass only while a worker has the store open. So neither a clock that
/// jumps nor a long time without a worker makes much vanish at once; and a worker that runs for an hour a day keeps
/// for 24 days what was to be kept for one.
///
/// ```
/// use sessionkeeper::Retention;
/// use std::time::Duration;
///
/// const DAY: Duration = Duration::from_secs(24 * 3600);
/// let retention = Retention::default().ended(DAY * 90).completed(DAY * 7);
/// let same: Retention = serde_json::from_str(
///     r#"{ "completed": "7days", "failed": "90days", "expired": "90days" }"#,
/// )?;
/// assert_eq!(retention, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    completed: Limit,
    failed: Limit,
    expired: Limit,
    stopped: Limit,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<NonZeroU64>,
}

impl Default for Retention {
    /// Everything is kept for good.
    fn default() -> Self {
        Self {
            completed: Limit::Never,
            failed: Limit::Never,
            expired: Limit::Never,
            stopped: Limit::Never,
            events: None,
            bytes: None,
        }
    }
}

impl Retention {
    /// The lanes of those that may be removed.
    pub(crate) const LANES: [Lane; 4] =
        [Lane::Completed, Lane::Failed, Lane::Expired, Lane::Stopped];

    /// How long completed sessions are kept.
    #[must_use]
    pub fn completed(mut self, keep: impl Into<Limit>) -> Self {
        self.completed = keep.into();
        self
    }

    /// How long failed sessions are kept.
    #[must_use]
    pub fn failed(mut self, keep: impl Into<Limit>) -> Self {
        self.failed = keep.into();
        self
    }

    /// How long expired sessions are kept.
    #[must_use]
    pub fn expired(mut self, keep: impl Into<Limit>) -> Self {
        self.expired = keep.into();
        self
    }

    /// How long stopped sessions are kept. They could be resumed, so this is not part of [`ended`](Self::ended).
    #[must_use]
    pub fn stopped(mut self, keep: impl Into<Limit>) -> Self {
        self.stopped = keep.into();
        self
    }

    /// How long sessions are kept that completed, failed or expired.
    #[must_use]
    pub fn ended(self, keep: impl Into<Limit>) -> Self {
        let keep = keep.into();
        self.completed(keep).failed(keep).expired(keep)
    }

    /// How many events are kept of each session, whatever its state: the newest. The session itself stays, and so does what
    /// its record says: its state, its history, its usage.
    ///
    /// As with `XTRIM MAXLEN ~` of Redis streams, so many are kept at least: older ones go in the background, in whole rows
    /// of the store, when a session has half as many again. Up to which number they go is said by its record
    /// ([`trimmed`](SessionRecord::trimmed)) in the commit that brings the newest event, and a second, small one notes that they
    /// are gone; no other session is looked at, and one at rest keeps what it has until it changes. They stay for ten seconds
    /// at least, and for a day where a sink, a hook or the statistics of this worker have not come to them. While that is
    /// waited for, more events gather.
    ///
    /// Who reads from before them is told: [`Update::Gap`](crate::Update::Gap), [`EventPage::gap`](crate::EventPage::gap),
    /// [`LogUpdate::Gap`](crate::LogUpdate::Gap).
    #[must_use]
    pub const fn events(mut self, newest: NonZeroU64) -> Self {
        self.events = Some(newest);
        self
    }

    /// How many logical bytes all sessions of the store may hold together: their events, kept snapshots, waiting inputs and the results of
    /// kept steps, as their records [say](SessionRecord::bytes). A disk needs several times as much, and
    /// its files do not shrink: what is deleted makes room for what comes next.
    ///
    /// Where they hold more, ended sessions are deleted before their time, the one that ended first before the others, until it
    /// fits: of the states that have a time of their own here, and no others. So a session that is kept for good is kept, also a stopped
    /// one unless [`stopped`](Self::stopped) was asked for; and none that is pending, active or paused, quarantined or not, is ever
    /// removed for it. If that is not enough, it is logged once, and [`Supervisor::space`](crate::Supervisor::space) says so. It is
    /// looked at once a second at most.
    ///
    /// Events are counted from when a session is written under such a limit: those that were there before are not, until
    /// they are gone. Together with [`events`](Self::events) older ones go in larger portions: twice as many as are to be kept
    /// may be there.
    #[must_use]
    pub const fn bytes(mut self, most: NonZeroU64) -> Self {
        self.bytes = Some(most);
        self
    }

    /// How many bytes all sessions may hold together.
    pub(crate) const fn most_bytes(&self) -> Option<NonZeroU64> {
        self.bytes
    }

    /// How many events are kept of each session.
    pub(crate) const fn newest(&self) -> Option<NonZeroU64> {
        self.events
    }

    /// The lanes of those that may be removed before their time.
    pub(crate) fn makes_room(&self) -> impl Iterator<Item = Lane> {
        let may =
            |lane: &Lane| self.keeps(*lane).is_some() || faults::planted(Bug::MakeRoomOfTheKept);
        Self::LANES.into_iter().filter(may)
    }

    /// Whether a session may be removed before its time.
    pub(crate) fn may_go(&self, record: &SessionRecord) -> bool {
        match ended_as(record) {
            Some(lane) => self.makes_room().any(|may| may == lane),
            None => false,
        }
    }

    /// Up to which event those of a session are to go, if it has too many.
    pub(crate) fn trims(&self, record: &SessionRecord) -> Option<u64> {
        let newest = self.events?.get();
        let kept = record.last_event.saturating_sub(record.trimmed_to());
        // What was said before is to be done first.
        let is_under_way = record.trimmed_from().is_some();
        let too_many = kept >= newest.saturating_add(newest.div_ceil(2));
        let newest = if faults::planted(Bug::TrimTheNewest) { newest / 2 } else { newest };
        (too_many && !is_under_way && !record.is_deleted()).then(|| record.last_event - newest)
    }

    /// How long sessions of a lane are kept, if not for good.
    pub(crate) const fn keeps(&self, lane: Lane) -> Option<Duration> {
        match lane {
            Lane::Completed => self.completed.duration(),
            Lane::Failed => self.failed.duration(),
            Lane::Expired => self.expired.duration(),
            Lane::Stopped => self.stopped.duration(),
            Lane::Ready
            | Lane::Timeout
            | Lane::Alarm
            | Lane::Removal
            | Lane::Family
            | Lane::Trim => None,
        }
    }

    /// Whether a session was kept for long enough.
    pub(crate) fn is_over(&self, record: &SessionRecord, now: SupervisedTime) -> bool {
        let Some(lane) = ended_as(record) else {
            return faults::planted(Bug::RemoveWhatHasNotEnded);
        };
        match (self.keeps(lane), record.ended) {
            (Some(keep), Some(ended)) => ended.after(keep) <= now,
            (_, None) | (None, _) => false,
        }
    }
}

/// The lane of a session that has ended.
fn ended_as(record: &SessionRecord) -> Option<Lane> {
    match record.state() {
        State::Completed => Some(Lane::Completed),
        State::Failed => Some(Lane::Failed),
        State::Expired => Some(Lane::Expired),
        State::Stopped => Some(Lane::Stopped),
        State::Pending | State::Active | State::Paused | State::Stopping => None,
    }
}
