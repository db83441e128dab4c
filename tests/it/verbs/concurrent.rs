//! Many tasks that use one session at once: every answer must fit the log.

use std::{sync::Arc, time::Duration};

use sessionkeeper::{
    Cause, EventRecord, InvalidTransition, Policy, SendError, SessionError, SessionHandle, State,
    store::MemoryStore,
};

use super::{HANGS, SECOND, consistent, log, moved, policy, status, until};
use crate::{
    oracle::states,
    support::{Do, Scripted, Worker, drained},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Send,
    Pause,
    Resume,
    Stop,
    Kill,
    Complete,
    Fail,
    Label,
}

/// What a caller was told.
#[derive(Debug)]
enum Told {
    Done,
    /// It was refused in this state.
    Refused(State),
    Superseded,
    Full,
}

/// One verb as its caller saw it.
#[derive(Debug)]
struct Seen {
    verb: Verb,
    /// The last event before it was asked for, and when it was answered.
    before: u64,
    after: u64,
    told: Told,
}

fn told<T>(answer: Result<T, SessionError>) -> Told {
    match answer {
        Ok(_) => Told::Done,
        Err(SessionError::Refused(InvalidTransition { from, .. })) => Told::Refused(from),
        Err(SessionError::Superseded { .. }) => Told::Superseded,
        Err(error) => panic!("{error:?}"),
    }
}

fn told_of_send<T>(answer: Result<T, SendError>) -> Told {
    match answer {
        Ok(_) => Told::Done,
        Err(SendError::NotAccepting { state, .. }) => Told::Refused(state),
        Err(SendError::Full { .. }) => Told::Full,
        Err(error) => panic!("{error:?}"),
    }
}

fn an_input(random: &mut fastrand::Rng) -> Do {
    match random.u8(0..12) {
        0 => Do::FailTimes(1),
        1 => Do::PanicTimes(1),
        2 => Do::Deaf(SECOND * random.u32(1..4)),
        3 => Do::Silent(SECOND),
        4 => Do::Emit(2),
        _ => Do::Add(1),
    }
}

fn a_verb(random: &mut fastrand::Rng, may_end: bool) -> Verb {
    match random.u8(0..if may_end { 42 } else { 40 }) {
        0..16 => Verb::Send,
        16..23 => Verb::Pause,
        23..32 => Verb::Resume,
        32..35 => Verb::Stop,
        35..37 => Verb::Kill,
        37..40 => Verb::Label,
        40 => Verb::Complete,
        _ => Verb::Fail,
    }
}

async fn act(session: &SessionHandle<Scripted>, verb: Verb, input: Do) -> Seen {
    let last_event = async || status(session).await.record().last_event;
    let before = last_event().await;
    let told = match verb {
        Verb::Send => told_of_send(session.send(input).await),
        Verb::Pause => told(session.pause().await),
        Verb::Resume => told(session.resume().await),
        Verb::Stop => told(session.stop().await),
        Verb::Kill => told(session.kill().await),
        Verb::Complete => told(session.complete().await),
        Verb::Fail => told(session.fail("enough").await),
        Verb::Label => told(session.set_labels(super::labels(&[("a", "b")])).await),
    };
    let after = last_event().await;
    Seen { verb, before, after, told }
}

/// Whether an answer is one that a caller may get, and that some moment between the question and
/// the answer bears out.
fn check_seen(seen: &Seen, states: &[State], why: &str) {
    let index = |event: u64| usize::try_from(event).unwrap() - 1;
    let during = &states[index(seen.before)..=index(seen.after)];
    let was = |state: State| during.contains(&state);
    let ended = [State::Completed, State::Failed, State::Expired];
    let fits = match (&seen.told, seen.verb) {
        (Told::Done, Verb::Pause) => was(State::Paused),
        (Told::Done, Verb::Resume) => was(State::Active) || was(State::Pending),
        (Told::Done, Verb::Stop | Verb::Kill) => was(State::Stopping) || was(State::Stopped),
        (Told::Done, Verb::Complete) => was(State::Completed),
        (Told::Done, Verb::Fail) => was(State::Failed),
        (Told::Done, Verb::Send) => during.iter().any(|state| state.accepts_input()),
        (Told::Done, Verb::Label) | (Told::Full, Verb::Send) => true,
        (Told::Refused(from), verb) => {
            let may_refuse = match verb {
                Verb::Pause | Verb::Send => !from.accepts_input(),
                Verb::Resume => *from == State::Stopping || ended.contains(from),
                Verb::Stop | Verb::Kill => ended.contains(from),
                Verb::Complete => [State::Stopping, State::Failed, State::Expired].contains(from),
                Verb::Fail => !from.accepts_input() && *from != State::Failed,
                Verb::Label => false,
            };
            may_refuse && was(*from)
        }
        // Only a pause that was not reached yet, or a resume that waits for its place.
        (Told::Superseded, verb) => matches!(verb, Verb::Pause | Verb::Resume),
        (Told::Full, _) => false,
    };
    assert!(fits, "{why}: {seen:?} does not fit {during:?}");
}

/// Whether every move that somebody asked for was granted to somebody: what a caller was told
/// has not been done did not happen after all.
fn check_granted(seen: &[Seen], log: &[EventRecord], why: &str) {
    for event in log {
        let Some((from, to, Cause::Asked)) = moved(event) else {
            continue;
        };
        let verbs: &[Verb] = match (from, to) {
            // The start itself, and a run that takes the place of one that was recalled.
            (State::Pending | State::Active, State::Active) => continue,
            (_, State::Active) => &[Verb::Resume],
            (_, State::Paused) => &[Verb::Pause],
            (_, State::Stopping | State::Stopped) => &[Verb::Stop, Verb::Kill],
            (_, State::Completed) => &[Verb::Complete],
            (_, State::Failed) => &[Verb::Fail],
            (_, State::Pending | State::Expired) => panic!("{why}: nobody can ask for {event:?}"),
        };
        let granted = seen.iter().any(|seen| {
            verbs.contains(&seen.verb)
                && matches!(seen.told, Told::Done)
                && (seen.before + 1..=seen.after).contains(&event.sequence)
        });
        assert!(granted, "{why}: nobody was granted {event:?}");
    }
}

/// How the store behaves meanwhile.
#[derive(Debug, Clone, Copy)]
enum Storage {
    Quick,
    /// It takes its time, so that verbs meet commits under way.
    Slow,
}

async fn stall_now_and_then(store: MemoryStore, mut random: fastrand::Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(0..400))).await;
        let stall = store.stall();
        tokio::time::sleep(Duration::from_millis(random.u64(1..1500))).await;
        drop(stall);
    }
}

/// One round: some tasks with some verbs each, and then the reckoning.
async fn round(seed: u64, storage: Storage, may_end: bool, patience: &Policy) {
    let why = format!("seed {seed}, {storage:?}");
    let mut random = fastrand::Rng::with_seed(seed);
    let worker = Worker::with_policy(patience.clone()).await;
    let session = worker.session().await;
    let stalls = match storage {
        Storage::Quick => None,
        Storage::Slow => {
            let stalls = stall_now_and_then(worker.store.clone(), random.fork());
            Some(tokio::spawn(stalls))
        }
    };
    let versions = tokio::spawn({
        let session = session.clone();
        async move {
            let mut last = 0;
            loop {
                let version = status(&session).await.record().version;
                assert!(version >= last, "a version went back");
                last = version;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    });
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let session = session.clone();
            let mut random = random.fork();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..6 {
                    let verb = a_verb(&mut random, may_end);
                    seen.push(act(&session, verb, an_input(&mut random)).await);
                    if random.bool() {
                        tokio::time::sleep(Duration::from_millis(random.u64(0..900))).await;
                    }
                }
                seen
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        let all = tokio::time::timeout(HANGS, task).await;
        seen.extend(all.unwrap_or_else(|_| panic!("{why}: a verb hangs")).unwrap());
    }
    assert!(!versions.is_finished(), "{why}");
    versions.abort();
    if let Some(stalls) = stalls {
        stalls.abort();
        // Whoever was aborted has let go of the store when it is polled no more.
        let _ = stalls.await;
    }
    let log = log(&session).await;
    let states = states(&log);
    check_granted(&seen, &log, &why);
    for seen in &seen {
        check_seen(seen, &states, &why);
    }
    reckon(&worker, &session, &seen, &why).await;
}

/// G3, G4: never two runs, and every accepted input has had its effect once, in order.
async fn reckon(worker: &Worker, session: &SessionHandle<Scripted>, seen: &[Seen], why: &str) {
    until(session, |status| status.state() != State::Stopping).await;
    let sent = |seen: &&Seen| seen.verb == Verb::Send && matches!(seen.told, Told::Done);
    let accepted = seen.iter().filter(sent).count() as u64;
    assert_eq!(status(session).await.record().inbox.accepted, accepted, "{why}");
    if !status(session).await.state().is_terminal() {
        soon_drained(session, why).await;
        let done = drained(session).await;
        assert_eq!(done.seen, (1..=accepted).collect::<Vec<_>>(), "{why}");
        let stopped = session.stop().await.unwrap().ended().await.unwrap();
        assert_eq!(stopped.snapshot.unwrap().consumed, accepted, "{why}");
    }
    until(session, |status| status.record().runs.since.is_none()).await;
    consistent(session).await;
    let probe = &worker.workload.probe;
    assert_eq!(probe.live(), 0, "{why}");
    assert!(probe.most_live() <= 1, "{why}");
    let runs = status(session).await.record().runs.count;
    assert_eq!(super::ends(session).await.len(), runs as usize, "{why}: every run has an end");
}

/// Resumes as often as failures quarantine it.
async fn soon_drained(session: &SessionHandle<Scripted>, why: &str) {
    let drained = async {
        while status(session).await.record().inbox.waiting() > 0 {
            session.resume().await.unwrap();
            tokio::time::sleep(SECOND).await;
        }
        session.resume().await.unwrap();
    };
    let drained = tokio::time::timeout(HANGS, drained).await;
    assert!(drained.is_ok(), "{why}: an input is never worked off");
}

async fn rounds(seeds: std::ops::Range<u64>, storage: Storage, may_end: bool) {
    let patience = policy(|policy| policy.pause_grace(SECOND).stop_grace(SECOND * 2));
    for seed in seeds {
        round(seed, storage, may_end, &patience).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_to_rapid_verbs_fits_the_log() {
    rounds(0..150, Storage::Quick, false).await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_to_rapid_verbs_fits_the_log_while_the_store_is_slow() {
    rounds(1000..1200, Storage::Slow, false).await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_fits_the_log_where_the_session_may_end_meanwhile() {
    rounds(2000..2100, Storage::Quick, true).await;
    rounds(3000..3150, Storage::Slow, true).await;
}

/// The order of requests from one task is the order in which they are decided.
#[tokio::test(start_paused = true)]
async fn verbs_of_one_caller_are_decided_in_their_order() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    super::idle(&session).await;
    let verbs = async |session: Arc<SessionHandle<Scripted>>| {
        for round in 0..30 {
            let sent = session.send(Do::Add(1));
            let (sent, paused, resumed) = tokio::join!(sent, session.pause(), session.resume());
            sent.unwrap();
            assert!(
                matches!(paused, Ok(_) | Err(SessionError::Superseded { .. })),
                "{round}: {paused:?}"
            );
            resumed.unwrap();
            super::until(&session, |status| status.state() == State::Active).await;
        }
    };
    verbs(Arc::new(session.clone())).await;
    assert_eq!(drained(&session).await.sum, 30);
    consistent(&session).await;
    assert_eq!(worker.workload.probe.most_live(), 1);
}
