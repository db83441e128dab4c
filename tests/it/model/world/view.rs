//! A session as a caller sees it, and as the model says that it should be.

use sessionkeeper::{
    Activity, EventRecord, Fact, InHand, Lifecycle, PauseCause, SessionHandle, State,
};

use super::{external_id, labels, name, note_of, said};
use crate::model::{
    player::Player,
    reference::{Doing, Done, End, Intent, Line, Manner, Reference, Session},
};

/// Everything that can be seen of a session.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    state: State,
    cause: Option<PauseCause>,
    activity: &'static str,
    accepted: u64,
    consumed: u64,
    in_hand: Option<(u64, u32)>,
    done: Done,
    name: Option<sessionkeeper::Name>,
    external: Option<sessionkeeper::ExternalId>,
    labels: sessionkeeper::Labels,
    metadata: sessionkeeper::Metadata,
    runs: u32,
    restarts: u32,
    recoveries: u32,
    last: Option<End>,
    log: Vec<Line>,
}

impl View {
    /// As it is.
    pub(super) async fn of(session: &SessionHandle<Player>) -> Result<Self, String> {
        let status = session.status().await.unwrap();
        let record = status.record();
        let log = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
        let numbers: Vec<u64> = log.iter().map(|event| event.sequence).collect();
        super::same("the log", numbers, (1..=record.last_event).collect())?;
        Ok(Self {
            state: status.state(),
            cause: status.pause_cause(),
            activity: activity(status.activity()),
            accepted: record.inbox.accepted,
            consumed: record.inbox.consumed,
            in_hand: record.inbox.in_hand.map(|InHand { input, attempt }| (input, attempt)),
            done: session.snapshot().await.unwrap().state,
            name: record.name.clone(),
            external: record.external_id.clone(),
            labels: record.labels.clone(),
            metadata: record.metadata.clone(),
            runs: record.runs.count,
            restarts: record.runs.restarts,
            recoveries: record.recoveries,
            last: status.last_run().map(|last| said::end(&last.end)),
            log: log.iter().map(line).collect(),
        })
    }

    /// As it should be.
    pub(super) fn expected(session: &Session) -> Self {
        Self {
            state: session.state,
            cause: session.cause,
            activity: expected_activity(session),
            accepted: session.inputs.len() as u64,
            consumed: session.consumed,
            in_hand: session.in_hand,
            done: session.done.clone(),
            name: session.begin.name.map(name),
            external: session.external.map(external_id),
            labels: labels(session.team),
            metadata: session.note.map(note_of).unwrap_or_default(),
            runs: session.runs,
            restarts: session.restarts,
            recoveries: session.recoveries,
            last: session.last.map(|(_, end)| end),
            log: session.log.clone(),
        }
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
        // A clean-up is a declared silence.
        Doing::Closing { .. } => "busy",
        Doing::Working { manner, .. } => match manner {
            Manner::Silent | Manner::Beating | Manner::Polite => "running",
            Manner::Busy | Manner::Late => "busy",
            Manner::Awaiting => "awaiting",
        },
    }
}

fn line(event: &EventRecord) -> Line {
    match &event.fact {
        Fact::Work(_) => Line::Event,
        Fact::Usage(_) => Line::Usage,
        Fact::Lifecycle(lifecycle) => match lifecycle {
            Lifecycle::Created { .. } => Line::Created,
            Lifecycle::StateChanged { from, to, cause, .. } => Line::Moved(*from, *to, *cause),
            Lifecycle::PauseCauseChanged { from, to } => Line::CauseChanged(*from, *to),
            Lifecycle::RunEnded { how } => Line::Ended(said::end(how)),
            Lifecycle::RestartScheduled { attempt, delay_ms } => {
                Line::Restart { attempt: *attempt, after: *delay_ms }
            }
            Lifecycle::ExternalIdSet { id } => {
                let known = (0..3).find(|number| external_id(*number) == *id);
                Line::External(known.expect("it was set here"))
            }
            other => panic!("{other:?}"),
        },
    }
}
