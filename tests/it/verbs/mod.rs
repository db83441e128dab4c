//! Every verb, its causes and its refusals, and which of two verbs wins.

use std::time::Duration;

use sessionkeeper::{
    Activity, Cause, EventRecord, ExternalId, Fact, InputId, Kind, Labels, Lifecycle, Name, Policy,
    PolicyBuilder, RunEnd, SessionHandle, StartKey, State, Status, Workload, testing::audit_log,
};

use crate::oracle::states;

mod backoff;
mod bad_input;
mod children;
mod concurrent;
mod crowd;
mod delete;
mod find_list;
mod fork;
mod groups;
mod hooks;
mod log;
mod pause;
mod precedence;
mod retention;
mod rollover;
mod runs;
mod send;
mod sinks;
mod sleep;
mod slots;
mod space;
mod start;
mod statistics;
mod status;
mod stop;
mod subscribe;
mod trim;
mod turns;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Far beyond every limit that a test sets.
const HANGS: Duration = Duration::from_secs(30 * 24 * 3600);

fn kind(text: &str) -> Kind {
    Kind::new(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn key(text: &str) -> StartKey {
    StartKey::new(text).unwrap()
}

fn external(text: &str) -> ExternalId {
    ExternalId::new(text).unwrap()
}

fn input_id(text: &str) -> InputId {
    InputId::new(text).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied()).unwrap()
}

fn policy(set: impl FnOnce(PolicyBuilder) -> PolicyBuilder) -> Policy {
    set(Policy::builder()).build().unwrap()
}

/// Fails a test that would wait for ever.
async fn soon<F: Future>(future: F) -> F::Output {
    let within = tokio::time::timeout(HANGS, future).await;
    within.expect("it ends")
}

async fn status<W: Workload>(session: &SessionHandle<W>) -> Status {
    session.status().await.unwrap()
}

async fn state<W: Workload>(session: &SessionHandle<W>) -> State {
    status(session).await.state()
}

/// Waits until a status is as it should be.
async fn until<W: Workload>(session: &SessionHandle<W>, is: impl Fn(&Status) -> bool) -> Status {
    soon(async {
        loop {
            let status = status(session).await;
            if is(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// Waits until the run rests.
async fn idle<W: Workload>(session: &SessionHandle<W>) -> Status {
    until(session, |status| {
        *status.activity() == Activity::Idle && status.record().inbox.waiting() == 0
    })
    .await
}

/// Waits until the run has this input in hand.
async fn in_hand<W: Workload>(session: &SessionHandle<W>, input: u64) -> Status {
    let status = until(session, |status| {
        let in_hand = status.record().inbox.in_hand;
        in_hand.is_some_and(|in_hand| in_hand.input == input)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    status
}

/// The whole log.
async fn log<W: Workload>(session: &SessionHandle<W>) -> Vec<EventRecord> {
    session.events(1..=u64::MAX, usize::MAX).await.unwrap()
}

/// The moves of a session, as its log has them.
async fn moves<W: Workload>(session: &SessionHandle<W>) -> Vec<(State, State, Cause)> {
    log(session).await.iter().filter_map(moved).collect()
}

fn moved(event: &EventRecord) -> Option<(State, State, Cause)> {
    match &event.fact {
        Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. }) => {
            Some((*from, *to, *cause))
        }
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
    }
}

/// How the runs of a session ended, as its log has it.
async fn ends<W: Workload>(session: &SessionHandle<W>) -> Vec<RunEnd> {
    let ended = |event: EventRecord| match event.fact {
        Fact::Lifecycle(Lifecycle::RunEnded { how }) => Some(how),
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
    };
    log(session).await.into_iter().filter_map(ended).collect()
}

/// Checks a session as a whole: its record is what its log says. Gives the state after each event.
async fn consistent<W: Workload>(session: &SessionHandle<W>) -> Vec<State> {
    let (log, status) = (log(session).await, status(session).await);
    assert_eq!(audit_log(status.record(), &log), []);
    states(&log)
}
