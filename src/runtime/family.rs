//! What sessions owe to their children and their parents: one task carries it out.
//!
//! What is owed stands in the record of the session that moved, since the commit of its move, and is an entry of an
//! index until it is done. So a crash loses nothing of it, it costs nothing where there are no children, and a move is
//! never held up by those who follow it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use tokio::sync::oneshot;

mod tell;

use super::{
    core::{Core, Life},
    error::SessionError,
    op::{Asker, Op, Reply, Rested, StopAccepted},
    reader::{self, RETRY},
};
use crate::{
    faults::{self, Bug},
    model::{
        family::{self, Answer, Duty, Owed},
        ids::SessionId,
        record::{Lane, SessionRecord},
        state::State,
    },
    store::{Cursor, Query, Related},
    telemetry::{self, Stamp},
};

/// How many sessions are looked at in one go.
const AT_ONCE: usize = 64;
/// How many duties may be under way.
const MOST: usize = 1024;
/// How many children are read at once.
const PAGE: usize = 128;

/// Who starts children just now: one at a time for each parent.
#[derive(Default)]
pub(crate) struct Bearing {
    turns: Mutex<HashMap<SessionId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Bearing {
    /// Whose turn it is with this parent.
    pub(crate) fn of(&self, parent: SessionId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&parent).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(parent, Arc::downgrade(&turn));
        turn
    }
}

/// What came of a duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Everybody did what was asked, or has no reason to any more.
    Yes,
    /// It is to be tried again.
    NotNow,
    /// Only a worker with other workloads can do it.
    NotHere,
}

type UnderWay = BoxFuture<'static, (SessionId, Owed, Done)>;

/// Carries out what is owed, for as long as it is polled.
pub(crate) async fn serve(core: Arc<Core>) {
    let mut under_way = FuturesUnordered::<UnderWay>::new();
    let mut taken = HashMap::<SessionId, Vec<Owed>>::new();
    // What the last worker left.
    let mut look_again = true;
    loop {
        if !look_again {
            let done = async {
                match under_way.next().await {
                    Some(done) => done,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = core.owing.notified() => {}
                (session, owed, done) = done => {
                    // What this worker cannot do stays taken, so that it is left alone here.
                    if done != Done::NotHere
                        && let Some(of_session) = taken.get_mut(&session)
                    {
                        of_session.retain(|taken| *taken != owed);
                        if of_session.is_empty() {
                            taken.remove(&session);
                        }
                    }
                    if done == Done::Yes && under_way.len() + 1 < MOST {
                        continue;
                    }
                }
            }
        }
        look_again = false;
        if under_way.len() >= MOST {
            continue;
        }
        for session in owing(&core, taken.len() + AT_ONCE).await {
            let loaded = reader::load_patiently(&core, session).await;
            let Some(record) = loaded.unwrap_or_default() else { continue };
            let all = record.family.as_ref().map(|family| family.owed.clone()).unwrap_or_default();
            for owed in all {
                if taken.get(&session).is_some_and(|taken| taken.contains(&owed)) {
                    continue;
                }
                taken.entry(session).or_default().push(owed);
                look_again = true;
                let begun = begin(&core, &record, owed).await;
                under_way.push(begun);
            }
        }
    }
}

/// Who owes something, those who do so longest first.
async fn owing(core: &Core, limit: usize) -> Vec<SessionId> {
    loop {
        let Ok(store) = core.store() else {
            return Vec::new();
        };
        match store.due(Lane::Family, core.clock.now_in(Lane::Family), limit).await {
            Ok(due) => return due.into_iter().map(|due| due.session).collect(),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Asks everybody whom a duty concerns, in the order of the duties of a session, and leaves the answers to the future that it gives.
async fn begin(core: &Arc<Core>, record: &SessionRecord, owed: Owed) -> UnderWay {
    let session = record.id;
    let asked: BoxFuture<'static, Done> = match owed.duty {
        Duty::Pause | Duty::Resume | Duty::Stop | Duty::End => {
            ask_children(core, session, owed).await
        }
        Duty::Heed => heed(core, record, owed).await,
        Duty::Tell => tell::tell(Arc::clone(core), record.clone(), owed).boxed(),
    };
    let core = Arc::clone(core);
    Box::pin(async move {
        let mut done = asked.await;
        if done == Done::Yes && !discharge(&core, session, owed).await {
            done = Done::NotNow;
        }
        if done == Done::NotNow {
            tokio::time::sleep(RETRY).await;
            core.owing.notify_one();
        }
        (session, owed, done)
    })
}

/// Notes that a duty is done.
async fn discharge(core: &Core, session: SessionId, owed: Owed) -> bool {
    let (done, noted) = oneshot::channel();
    core.route(session, Op::Discharge { owed, done });
    noted.await.is_ok()
}

/// Asks the children of a session to do as it did, as long as that holds.
async fn ask_children(core: &Arc<Core>, parent: SessionId, owed: Owed) -> BoxFuture<'static, Done> {
    let duty = owed.duty;
    let mut children = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let query = Query {
            related: Some(Related::children_of(parent)),
            states: states(duty),
            after,
            limit: PAGE,
            ..Query::default()
        };
        let page = match core.store() {
            Ok(store) => store.list(query).await,
            Err(error) => Err(error),
        };
        let Ok(page) = page else {
            return std::future::ready(Done::NotNow).boxed();
        };
        for child in &page.records {
            let later = child.family.as_ref().is_some_and(|family| family.is_resumed_since(&owed));
            if let Some(answer) = child.links().on_parent.answer(duty).filter(|_| !later) {
                children.push((child.id, answer));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // Those that were born since it was taken back are among them, and it is none of theirs.
    if !owes(core, parent, owed).await {
        children.clear();
    }
    let ask = |(child, answer)| ask(core, parent, owed, child, answer);
    let asked: Vec<_> = children.into_iter().map(ask).collect();
    async move {
        let all = join_all(asked).await;
        if all.contains(&Done::NotNow) {
            Done::NotNow
        } else if all.contains(&Done::NotHere) {
            Done::NotHere
        } else {
            Done::Yes
        }
    }
    .boxed()
}

/// Whether a session still owes this: a later word on it may have taken it back.
async fn owes(core: &Arc<Core>, session: SessionId, owed: Owed) -> bool {
    let now = reader::load_patiently(core, session).await.unwrap_or_default();
    now.and_then(|now| now.family).is_some_and(|family| family.owed.contains(&owed))
}

/// In which states children have something to do.
fn states(duty: Duty) -> Vec<State> {
    match duty {
        Duty::Resume => vec![State::Active, State::Paused],
        Duty::Pause | Duty::Stop | Duty::End | Duty::Heed | Duty::Tell => {
            vec![State::Pending, State::Active, State::Paused]
        }
    }
}

/// Has a new child do what its parent did before it was there.
async fn heed(core: &Arc<Core>, child: &SessionRecord, owed: Owed) -> BoxFuture<'static, Done> {
    let links = child.links();
    let duty = match links.parent {
        None => None,
        Some(parent) => {
            let is_end = |parent: &SessionRecord| {
                !parent.state().has_ended() || faults::planted(Bug::HeedAnyEnd)
            };
            let loaded = reader::load_patiently(core, parent).await.unwrap_or_default();
            match loaded {
                // To be deleted is an end, if it had none before.
                Some(parent) if parent.is_deleted() && is_end(&parent) => Some(Duty::End),
                Some(parent) => family::to_heed(&parent.phase),
                // Nobody knows any more what it was when it was deleted.
                None => Some(Duty::End),
            }
        }
    };
    match duty.and_then(|duty| links.on_parent.answer(duty)) {
        Some(answer) => ask(core, child.id, owed, child.id, answer).boxed(),
        None => std::future::ready(Done::Yes).boxed(),
    }
}

/// The answer of a session that was asked.
enum Asked {
    Pause(oneshot::Receiver<Result<Rested, SessionError>>),
    Resume(oneshot::Receiver<Result<(), SessionError>>),
    Stop(oneshot::Receiver<Result<StopAccepted, SessionError>>),
}

impl Asked {
    fn by_parent(core: &Core, session: SessionId, answer: Answer) -> Self {
        let by = Asker::Parent;
        match answer {
            Answer::Pause => {
                let (reply, asked) = Reply::new(session);
                core.route(session, Op::Pause { by, reply });
                Self::Pause(asked)
            }
            Answer::Resume => {
                let (reply, asked) = Reply::new(session);
                core.route(session, Op::Resume { by, place: None, reply });
                Self::Resume(asked)
            }
            Answer::Stop => {
                let (reply, asked) = Reply::new(session);
                core.route(
                    session,
                    Op::Stop { by, grace: None, only: None, reply, asked: Stamp::now() },
                );
                Self::Stop(asked)
            }
        }
    }

    /// None: it was dropped unseen, and is to be asked again.
    async fn answered(self) -> Option<Result<(), SessionError>> {
        match self {
            Self::Pause(asked) => asked.await.ok().map(|answer| answer.map(drop)),
            Self::Resume(asked) => asked.await.ok(),
            Self::Stop(asked) => asked.await.ok().map(|answer| answer.map(drop)),
        }
    }
}

/// Asks a session to do what another one owes, at once, and gives what comes of it. One that was rolled over meanwhile is asked in its
/// successor, as long as it is owed.
fn ask(
    core: &Arc<Core>,
    owing: SessionId,
    owed: Owed,
    session: SessionId,
    answer: Answer,
) -> impl Future<Output = Done> + Send + use<> {
    let core = Arc::clone(core);
    let mut session = session;
    let mut asked = Asked::by_parent(&core, session, answer);
    async move {
        loop {
            match asked.answered().await {
                Some(Ok(())) => return Done::Yes,
                Some(Err(SessionError::RolledOver { successor, .. })) => session = successor,
                Some(Err(error)) => return refused(session, &error),
                None if core.life() != Life::Running => return Done::NotNow,
                None => tokio::task::yield_now().await,
            }
            // What it was asked since must come after this.
            if !owes(&core, owing, owed).await {
                return Done::Yes;
            }
            asked = Asked::by_parent(&core, session, answer);
        }
    }
}

/// What it means that a session did not do what was asked.
fn refused(session: SessionId, error: &SessionError) -> Done {
    match error {
        // It has ended, or later word on it won.
        SessionError::NotFound { .. }
        | SessionError::NotCurrentRun { .. }
        | SessionError::Refused(_)
        | SessionError::RolledOver { .. }
        | SessionError::Superseded { .. } => Done::Yes,
        // A person has to look at it.
        SessionError::RunStillAlive { .. }
        | SessionError::NotAtRest { .. }
        | SessionError::WrongKind { .. }
        | SessionError::Undecodable { .. }
        | SessionError::MetadataTooDeep { .. }
        | SessionError::Unreadable { .. } => {
            telemetry::session_trouble(session, "it cannot do as its parent did", error);
            Done::Yes
        }
        SessionError::NoWorkload { .. } | SessionError::NewerState { .. } => {
            telemetry::session_trouble(session, "it cannot do as its parent did", error);
            Done::NotHere
        }
        SessionError::ShuttingDown { .. }
        | SessionError::OutcomeUnknown { .. }
        | SessionError::Store { .. } => Done::NotNow,
    }
}
