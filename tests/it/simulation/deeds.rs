//! What callers do: every verb, one line in the table and one arm in `act`.

use std::{
    fmt::Display,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use sessionkeeper::{
    Delete, ExternalId, InputId, Labels, Metadata, Receipt, RunId, SendError, SessionError,
    SessionHandle, SessionId, StartKey, State, Supervisor, store::MemoryStore, testing::WallClock,
};

use super::{
    cues::{Cue, a_play},
    player::Player,
    tables::{Table, table},
    weighted,
};
use crate::oracle::ledger::{Answer, Book, Sight, Verb};

mod chains;
mod forks;
mod groups;
mod looks;
mod runs;
mod starts;
pub(super) mod statistics;
mod turns;

use self::{chains::RolledOver, forks::Forked, starts::Started};

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Far beyond everything that a caller may have to wait for, a freeze or two included.
const HANGS: Duration = Duration::from_secs(24 * 3600);

table! {
    /// Something that a caller does, or that happens around it.
    Deed by u32 {
    Start: 16,
    StartAgain: 4,
    StartInSlot: 2,
    Send: 30,
    SendWithId: 8,
    SendAgain: 5,
    Pause: 10,
    Resume: 14,
    Stop: 4,
    StopWithin: 2,
    Kill: 3,
    StopAndWait: 2,
    Complete: 1,
    Fail: 1,
    SetLabels: 4,
    SetMetadata: 3,
    SetExternalId: 2,
    Look: 10,
    LookUnknown: 1,
    Find: 3,
    Count: 5,
    List: 3,
    ListLabelled: 2,
    ReadEvents: 4,
    ReadSnapshot: 3,
    Watch: 3,
    WaitFor: 3,
    Settled: 1,
    Heartbeat: 2,
    Health: 1,
    Recovered: 1,
    JumpADay: 1,
    JumpTenYears: 1,
    Freeze: 1,
    Outage: 2,
    Fork: 6,
    ForkAgain: 2,
    Rollover: 6,
    RolloverAgain: 2,
    Latest: 3,
    SendAlong: 5,
    SendUrgent: 10,
    Interrupt: 8,
    PauseAll: 2,
    ResumeAll: 2,
    StopAll: 1,
    StopRun: 3,
    LookRun: 4,
    ReadRun: 3,
    Delete: 2,
    DeleteStopFirst: 2,
    }
}

/// A session that a caller may speak to.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: SessionId,
    /// Whether its start was acknowledged: it must be there.
    pub(super) acknowledged: bool,
    /// What it was started with, if with any.
    key: Option<StartKey>,
    /// The ids of its inputs, with what they were.
    sent: Vec<(InputId, Cue)>,
}

/// What callers share, in all lives.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) known: Vec<Known>,
    starts: Vec<Started>,
    forks: Vec<Forked>,
    rollovers: Vec<RolledOver>,
    /// Runs that somebody saw, each once.
    runs: Vec<(RunId, SessionId)>,
    tags: u64,
    /// How long the process was frozen, all in all.
    pub(super) frozen: Duration,
    /// Whether the wall clock of a worker ever jumped.
    has_jumped: bool,
    pub(super) wrong: Vec<String>,
}

impl Shared {
    /// A session that was seen must be there.
    fn learn(&mut self, id: SessionId, key: Option<StartKey>) {
        match self.known.iter_mut().find(|known| known.id == id) {
            Some(known) => {
                known.acknowledged = true;
                known.key = known.key.take().or(key);
            }
            None => self.known.push(Known { id, acknowledged: true, key, sent: Vec::new() }),
        }
    }
}

/// What one caller has at hand.
pub(super) struct Caller<const V: u32> {
    pub(super) supervisor: Supervisor,
    pub(super) store: MemoryStore,
    pub(super) clock: WallClock,
    pub(super) book: Book,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) alone: Arc<tokio::sync::Mutex<()>>,
    pub(super) dice: fastrand::Rng,
    pub(super) most_sessions: usize,
    pub(super) keeps_all_events: bool,
    pub(super) may_end: bool,
}

type Handle<const V: u32> = SessionHandle<Player<V>>;

impl<const V: u32> Caller<V> {
    /// Does one thing, as the dice say. A caller may lose its patience and drop the question.
    pub(super) async fn step(&mut self) -> Deed {
        let deed = weighted(&mut self.dice, Deed::ALL);
        let patience = match self.dice.u8(0..10) {
            0 => Duration::from_millis(self.dice.u64(0..50)),
            _ => HANGS,
        };
        self.book.note(|| format!("{deed:?}"));
        // Tokio wakes those who wait for one of these in a random order.
        let _alone = match deed {
            Deed::StartInSlot | Deed::Recovered => match Arc::clone(&self.alone).try_lock_owned() {
                Ok(alone) => Some(alone),
                Err(_) => return deed,
            },
            _ => None,
        };
        let done = tokio::time::timeout(patience, self.act(deed)).await;
        if done.is_err() && patience == HANGS {
            self.wrong(format!("{deed:?} hangs"));
        }
        let pause = match self.dice.u8(0..12) {
            0 => self.dice.u64(2000..12_000),
            1..6 => self.dice.u64(1..900),
            _ => 0,
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        deed
    }

    pub(super) fn wrong(&self, what: String) {
        self.shared.lock().unwrap().wrong.push(what);
    }

    fn tag(&self) -> u64 {
        let mut shared = self.shared.lock().unwrap();
        shared.tags += 1;
        shared.tags
    }

    fn cue(&mut self) -> Cue {
        let play = a_play(&mut self.dice, self.may_end);
        Cue { tag: self.tag(), play }
    }

    fn pick(&mut self) -> Option<(usize, Known)> {
        let shared = self.shared.lock().unwrap();
        let count = shared.known.len();
        let index = (count > 0).then(|| self.dice.usize(0..count))?;
        Some((index, shared.known[index].clone()))
    }

    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Start | Deed::StartInSlot => return self.start(deed == Deed::StartInSlot).await,
            Deed::StartAgain => return self.start_again().await,
            Deed::Fork => return self.fork().await,
            Deed::ForkAgain => return self.fork_again().await,
            Deed::RolloverAgain => return self.roll_over_again().await,
            Deed::Delete => return self.delete(Delete::IfAtRest).await,
            Deed::DeleteStopFirst => return self.delete(Delete::StopFirst).await,
            Deed::StopRun | Deed::LookRun | Deed::ReadRun => return self.ask_run(deed).await,
            Deed::PauseAll => return self.for_group(Verb::Pause).await,
            Deed::ResumeAll => return self.for_group(Verb::Resume).await,
            Deed::StopAll => return self.for_group(Verb::Stop).await,
            Deed::List => return self.list().await,
            Deed::ListLabelled => return self.list_labelled().await,
            Deed::Find => return self.find().await,
            Deed::Count => return self.count().await,
            Deed::LookUnknown => return self.look_unknown().await,
            Deed::Health => return drop(self.supervisor.health()),
            Deed::Recovered => {
                let recovered = self.supervisor.recovered();
                return drop(tokio::time::timeout(5 * SECOND, recovered).await);
            }
            Deed::JumpADay | Deed::JumpTenYears => {
                let days = if deed == Deed::JumpADay { 1 } else { 3650 };
                let days = if self.dice.bool() { days } else { -days };
                self.shared.lock().unwrap().has_jumped = true;
                return self.clock.jump(TimeDelta::days(days));
            }
            Deed::Freeze => {
                let span = Duration::from_secs(self.dice.u64(1..4000));
                self.shared.lock().unwrap().frozen += span;
                return tokio::time::advance(span).await;
            }
            Deed::Outage => return self.outage().await,
            _ => {}
        }
        let Some((index, known)) = self.pick() else { return };
        let id = known.id;
        let Some(session) = self.session(&known).await else { return };
        match deed {
            Deed::Send => self.send(&session, None).await,
            Deed::SendUrgent => self.send_urgent(&session).await,
            Deed::Interrupt => self.interrupt(&session).await,
            Deed::SendAlong => self.send_along(&session, &known).await,
            Deed::Rollover => self.roll_over(&session).await,
            Deed::Latest => self.latest(&session).await,
            Deed::SendWithId => {
                let cue = self.cue();
                let input_id = InputId::new(format!("input {}", cue.tag)).unwrap();
                self.shared.lock().unwrap().known[index].sent.push((input_id.clone(), cue.clone()));
                self.send(&session, Some((input_id, cue))).await;
            }
            Deed::SendAgain => {
                let sent = known.sent.clone();
                if !sent.is_empty() {
                    let again = sent[self.dice.usize(0..sent.len())].clone();
                    self.send(&session, Some(again)).await;
                }
            }
            Deed::Pause => self.ask(id, Verb::Pause, session.pause()).await,
            Deed::Resume => self.ask(id, Verb::Resume, session.resume()).await,
            Deed::Stop => self.ask(id, Verb::Stop, session.stop()).await,
            Deed::StopWithin => {
                let grace = Duration::from_millis(self.dice.u64(0..1500));
                self.ask(id, Verb::Stop, session.stop_within(grace)).await;
            }
            Deed::Kill => self.ask(id, Verb::Stop, session.kill()).await,
            Deed::StopAndWait => {
                let stopped = async {
                    let ticket = session.stop().await?;
                    // A store that fails meanwhile does not undo the stop.
                    let _ = ticket.ended().await;
                    Ok(())
                };
                self.ask(id, Verb::Stop, stopped).await;
            }
            Deed::Complete if self.may_end => {
                self.ask(id, Verb::Complete, session.complete()).await;
            }
            Deed::Fail if self.may_end => {
                self.ask(id, Verb::Fail, session.fail("enough")).await;
            }
            Deed::SetLabels => {
                let value = format!("{}", self.dice.u8(0..4));
                let labels = Labels::new([("set", value.as_str())]).unwrap();
                self.ask(id, Verb::SetLabels(value), session.set_labels(labels)).await;
            }
            Deed::SetMetadata => {
                let value = format!("m{}", self.dice.u8(0..9));
                let metadata = Metadata::from_iter([("set".to_owned(), value.as_str().into())]);
                self.ask(id, Verb::SetMetadata(value), session.set_metadata(metadata)).await;
            }
            Deed::SetExternalId => {
                let value = format!("external {}", self.dice.u8(0..9));
                let external = ExternalId::new(value.clone()).unwrap();
                self.ask(id, Verb::SetExternalId(value), session.set_external_id(external)).await;
            }
            Deed::ReadEvents => self.read_events(&session).await,
            Deed::ReadSnapshot => {
                let call = self.book.ask(Some(id), Verb::ReadSnapshot);
                let answer = match session.snapshot().await {
                    Ok(snapshot) => Answer::Snapshot {
                        sequence: snapshot.at.sequence,
                        consumed: snapshot.at.consumed,
                    },
                    Err(error) => not_done(&error),
                };
                self.book.answer(call, answer);
            }
            Deed::Watch => self.watch(&session).await,
            Deed::WaitFor => {
                let states = [State::Active, State::Paused, State::Stopped, State::Completed];
                let state = states[self.dice.usize(0..states.len())];
                let wanted = [state];
                let found = session.wait_for(&wanted);
                if let Ok(Ok(status)) = tokio::time::timeout(10 * SECOND, found).await
                    && status.state() != state
                {
                    self.wrong(format!("waited for {state}, and got {status:?}"));
                }
            }
            Deed::Settled => drop(tokio::time::timeout(10 * SECOND, session.settled()).await),
            Deed::Heartbeat => drop(session.heartbeat()),
            _ => {}
        }
        if self.dice.bool() || deed == Deed::Look {
            self.session(&known).await;
        }
    }

    /// A handle, which shows the session as it stands.
    async fn session(&self, known: &Known) -> Option<Handle<V>> {
        let call = self.book.ask(Some(known.id), Verb::Look);
        let found = async {
            let session = self.supervisor.session(known.id).await?;
            let session = session.typed::<Player<V>>()?;
            let status = session.status().await?;
            Ok::<_, SessionError>((session, status))
        };
        match found.await {
            Ok((session, status)) => {
                self.book.answer(call, Answer::Seen(Sight::from(&status)));
                self.see_run(&status);
                Some(session)
            }
            Err(error) => {
                self.book.answer(call, not_done(&error));
                None
            }
        }
    }

    /// Deletes a session, also one that nobody can look at.
    async fn delete(&mut self, how: Delete) {
        let Some((_, known)) = self.pick() else { return };
        let verb = Verb::Delete { stops: how == Delete::StopFirst };
        let call = self.book.ask(Some(known.id), verb);
        let answer = match self.supervisor.delete(known.id, how).await {
            Ok(()) => Answer::Done,
            Err(SessionError::NotAtRest { state, .. }) => Answer::Refused(state),
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }

    async fn ask<T>(
        &self,
        id: SessionId,
        verb: Verb,
        done: impl Future<Output = Result<T, SessionError>>,
    ) {
        let call = self.book.ask(Some(id), verb);
        let answer = match done.await {
            Ok(_) => Answer::Done,
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }

    async fn send(&mut self, session: &Handle<V>, with_id: Option<(InputId, Cue)>) {
        let (id, cue) = match with_id {
            Some((id, cue)) => (Some(id), cue),
            None => (None, self.cue()),
        };
        self.send_to(Some(session.id()), session, id, cue).await;
    }

    /// Sends an input, to a session or to whoever has its place.
    async fn send_to(
        &mut self,
        to: Option<SessionId>,
        session: &Handle<V>,
        id: Option<InputId>,
        cue: Cue,
    ) {
        let name = id.as_ref().map(ToString::to_string);
        let call = self.book.ask(to, Verb::Send { id: name, tag: cue.tag });
        self.book.note(|| format!("{cue:?}"));
        let sent = match id {
            Some(id) => session.send_with_id(id, cue).await,
            None => session.send(cue).await,
        };
        let answer = match sent {
            Ok(receipt) => {
                let Receipt { session: by, sequence, repeated, .. } = receipt;
                if to.is_some_and(|to| to != by) {
                    self.wrong(format!("an input for {to:?} was taken by {by}"));
                }
                Answer::Accepted { by, sequence, repeated }
            }
            Err(SendError::RolledOver { successor, .. }) if to.is_some() => {
                Answer::Moved { successor }
            }
            Err(SendError::Session(error)) => not_done(&error),
            Err(SendError::NotAccepting { state, .. }) => Answer::Refused(state),
            Err(error @ (SendError::Full { .. } | SendError::Invalid { .. })) => nothing(&error),
            Err(error) => {
                self.wrong(format!("an input was refused: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }
}

/// What an error says about what was done.
pub(crate) fn not_done(error: &SessionError) -> Answer {
    match error {
        SessionError::Refused(refused) => Answer::Refused(refused.from),
        SessionError::Superseded { .. } => Answer::Superseded,
        SessionError::NotFound { session } => Answer::NotFound(*session),
        SessionError::RolledOver { successor, .. } => Answer::Moved { successor: *successor },
        SessionError::OutcomeUnknown { .. } | SessionError::Store { under_way: true, .. } => {
            Answer::Unknown(error.to_string())
        }
        _ => nothing(error),
    }
}

fn nothing(error: &impl Display) -> Answer {
    Answer::NotDone(error.to_string())
}
