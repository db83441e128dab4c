//! A session as a caller sees it, and as the model says that it should be.

use std::sync::Mutex;

use chrono::{DurationRound, TimeDelta};
use sessionkeeper::{
    Activity, EventRecord, Fact, InHand, Lifecycle, PauseCause, SessionError, SessionHandle, Sleep,
    State,
};

use super::{Heard, labels, left::Left, note_of, said, said::Known, verbs::name};
use crate::model::{
    player::{Player, external_id},
    reference::{Doing, Done, End, Intent, Line, Links, Manner, Reference, Session},
};

/// Everything that can be seen of a session.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    state: State,
    cause: Option<PauseCause>,
    activity: &'static str,
    accepted: u64,
    consumed: u64,
    waiting: u64,
    in_hand: Option<(u64, u32)>,
    /// The urgent inputs that wait, and how often each was given out.
    urgent: Vec<(u64, u32)>,
    /// The newest state.
    done: Done,
    /// The checkpoints, and up to where inputs are over in each.
    kept: Vec<(u64, u64)>,
    name: Option<sessionkeeper::Name>,
    external: Option<sessionkeeper::ExternalId>,
    labels: sessionkeeper::Labels,
    metadata: sessionkeeper::Metadata,
    runs: u32,
    restarts: u32,
    recoveries: u32,
    last: Option<End>,
    links: Links,
    /// How many events are gone, and those that are left.
    gone: u64,
    log: Vec<Line>,
}

impl View {
    /// As it is, if it is there.
    pub(super) async fn of(
        session: &SessionHandle<Player>,
        heard: &Mutex<Heard>,
    ) -> Result<Option<Self>, String> {
        let status = match session.status().await {
            Ok(status) => status,
            Err(SessionError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let record = status.record();
        let Left { gone, events: log } = Left::of(session).await?;
        let done = session.snapshot().await.unwrap().state;
        let known = &mut heard.lock().unwrap().known;
        let who = known.who(session.id());
        let mut runs: Vec<_> = log.iter().filter_map(|event| event.run).collect();
        if runs.is_empty() {
            runs.extend(status.run().or(status.last_run().map(|last| last.run)));
        }
        known.know_runs(who, record.runs.count, runs);
        Ok(Some(Self {
            state: status.state(),
            cause: status.pause_cause().map(cause),
            activity: activity(status.activity()),
            accepted: record.inbox.accepted,
            consumed: record.inbox.consumed,
            waiting: record.inbox.waiting(),
            urgent: record.inbox.urgent().iter().map(|u| (u.input, u.attempts)).collect(),
            in_hand: record.inbox.in_hand.map(|InHand { input, attempt }| (input, attempt)),
            done,
            kept: record.snapshots.iter().map(|kept| (kept.sequence, kept.consumed)).collect(),
            name: record.name.clone(),
            external: record.external_id.clone(),
            labels: record.labels.clone(),
            metadata: record.metadata.clone(),
            runs: record.runs.count,
            restarts: record.runs.restarts,
            recoveries: record.recoveries,
            last: status.last_run().map(|last| said::end(&last.end)),
            links: links(record.links(), known),
            gone,
            log: log.iter().map(|event| line(event, known)).collect(),
        }))
    }

    /// How many of its events are gone.
    pub(super) const fn gone(&self) -> u64 {
        self.gone
    }

    /// As it should be, where so many of its events are gone.
    pub(super) fn expected(session: &Session, gone: u64) -> Option<Self> {
        let is_there = session.deleted.is_none();
        is_there.then(|| Self {
            state: session.state,
            cause: session.cause,
            activity: expected_activity(session),
            accepted: session.inbox.all.len() as u64,
            consumed: session.inbox.consumed,
            waiting: session.inbox.waiting(),
            in_hand: session.inbox.in_hand,
            urgent: session.inbox.urgent(),
            done: session.kept[0].done.clone(),
            kept: session.kept.iter().map(|kept| (kept.number, kept.consumed)).collect(),
            name: session.name.map(name),
            external: session.external.map(external_id),
            labels: labels(session.team),
            metadata: session.note.map(note_of).unwrap_or_default(),
            runs: session.runs,
            restarts: session.restarts,
            recoveries: session.recoveries,
            last: session.last.map(|(_, end)| end),
            links: session.links,
            gone,
            log: session.log.iter().skip(usize::try_from(gone).unwrap()).copied().collect(),
        })
    }
}

/// How many workloads have been called and have not returned.
pub(super) fn at_work(model: &Reference) -> usize {
    let runs = model.sessions.iter().filter_map(|session| session.alive.as_ref());
    runs.filter(|run| !matches!(run.doing, Doing::Closing { .. })).count()
}

fn activity(activity: &Activity) -> &'static str {
    match activity {
        Activity::WaitingForPlace => "waiting for a place",
        Activity::Starting => "starting",
        Activity::Running => "running",
        Activity::Idle => "idle",
        Activity::Busy { .. } => "busy",
        Activity::Awaiting { .. } => "awaiting",
        Activity::Pausing => "pausing",
        Activity::Restarting { .. } => "restarting",
        Activity::Stopping => "stopping",
        Activity::Paused { .. } => "paused",
        Activity::Ended => "ended",
        activity => panic!("{activity}"),
    }
}

fn expected_activity(session: &Session) -> &'static str {
    match session.state {
        State::Pending => return "waiting for a place",
        State::Active => {}
        State::Paused => return "paused",
        State::Stopping => return "stopping",
        State::Stopped | State::Completed | State::Failed | State::Expired => return "ended",
    }
    if session.backoff.is_some() {
        return "restarting";
    }
    let Some(run) = &session.alive else {
        return "starting";
    };
    if matches!(run.intent, Intent::Pause(_)) {
        return "pausing";
    }
    match run.doing {
        Doing::Starting => "starting",
        Doing::Resting { .. } => "idle",
        Doing::Child { .. } => "awaiting",
        // A clean-up is a declared silence.
        Doing::Closing { .. } => "busy",
        Doing::Working { manner, .. } => match manner {
            Manner::Silent | Manner::Beating | Manner::Polite => "running",
            Manner::Busy | Manner::Late => "busy",
            Manner::Awaiting => "awaiting",
        },
    }
}

/// A pause, as exactly as its alarm is known.
fn cause(cause: PauseCause) -> PauseCause {
    if let PauseCause::Asleep(sleep) = cause { PauseCause::Asleep(roughly(sleep)) } else { cause }
}

/// A run begins a few milliseconds after what it follows from.
fn roughly(sleep: Sleep) -> Sleep {
    let until = sleep.until.duration_trunc(TimeDelta::milliseconds(5)).unwrap();
    Sleep { until, ..sleep }
}

fn links(links: sessionkeeper::Links, known: &mut Known) -> Links {
    let forked = links.forked_from;
    Links {
        forked_from: forked.map(|from| (known.who(from.session), from.snapshot)),
        parent: links.parent.map(|session| known.who(session)),
        on_parent: links.on_parent,
        depth: links.depth,
        predecessor: links.transitioned_from.map(|session| known.who(session)),
        successor: links.transitioned_to.map(|session| known.who(session)),
    }
}

fn line(event: &EventRecord, known: &mut Known) -> Line {
    match &event.fact {
        Fact::Work(_) => Line::Event,
        Fact::Usage(_) => Line::Usage,
        Fact::Lifecycle(lifecycle) => match lifecycle {
            Lifecycle::Created { .. } => Line::Created,
            Lifecycle::Forked(forked) => {
                Line::Forked(known.who(forked.from.session), forked.from.snapshot, forked.inputs)
            }
            Lifecycle::TurnInterrupted { then } => Line::Interrupted(*then),
            Lifecycle::TransitionedFrom { session, inputs } => {
                Line::SucceedsTo(known.who(*session), *inputs)
            }
            Lifecycle::TransitionedTo { session, unread } => {
                Line::SucceededBy(known.who(*session), *unread)
            }
            Lifecycle::StateChanged { from, to, cause, .. } => Line::Moved(*from, *to, *cause),
            Lifecycle::PauseCauseChanged { from, to } => {
                Line::CauseChanged(cause(*from), cause(*to))
            }
            Lifecycle::FellAsleep(sleep) => Line::FellAsleep(roughly(*sleep)),
            Lifecycle::RunEnded { how } => Line::Ended(said::end(how)),
            Lifecycle::RestartScheduled { attempt, delay_ms } => {
                Line::Restart { attempt: *attempt, after: *delay_ms }
            }
            Lifecycle::ExternalIdSet { id } => {
                let known = (0..3).find(|number| external_id(*number) == *id);
                Line::External(known.expect("it was set here"))
            }
            Lifecycle::LabelsSet { labels } => {
                Line::Labelled(labels.get("team").map(|team| team.parse().expect("a number")))
            }
            Lifecycle::MetadataSet => Line::Described,
            other => panic!("{other:?}"),
        },
    }
}
