//! What callers do, and what others do to programs: one line in the table and one arm in `act`.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sessionkeeper::{
    Limit, Receipt, RunEnd, SendError, SessionError, SessionId, Start, State, Supervisor,
    process::{OnPause, ProcessInput, ProcessState},
};

use super::{
    faults::Faults,
    kinds::{Reads, cast},
    looks::{Looker, is_same_still},
};
use crate::{
    oracle::{
        digest,
        ledger::{Answer, Book, Entry, Sight, Verb},
        programs::{Alive, Program, Rest},
    },
    programs::kit::{Handle, Programs},
    simulation::{
        deeds::not_done,
        tables::{Table, table},
        weighted,
    },
};

/// Nothing here takes so long unless it hangs.
pub(super) const HANGS: Duration = Duration::from_secs(60);

table! {
    /// Something that a caller does, or that befalls a program.
    Deed by u32 {
    Start: 16,
    Send: 24,
    SendEndOfFile: 2,
    Pause: 16,
    Resume: 20,
    Stop: 4,
    StopWithin: 2,
    Kill: 2,
    Complete: 1,
    Fail: 1,
    Look: 6,
    ReadEvents: 3,
    ReadSnapshot: 2,
    KillLeader: 4,
    TermLeader: 3,
    HaltLeader: 2,
    KillAny: 4,
    RemoveFolder: 1,
    }
}

/// A session that a caller may speak to.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: SessionId,
    /// Whether its start was acknowledged: it must be there.
    pub(super) acknowledged: bool,
    on_pause: OnPause,
    reads: Reads,
    folder: PathBuf,
    /// Whether somebody may have called it completed or failed while its program ran.
    is_cut_short: bool,
}

/// What callers share, in all lives.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) known: Vec<Known>,
    tags: u64,
    pub(super) wrong: Vec<String>,
}

/// What one caller has at hand.
pub(super) struct Caller {
    pub(super) supervisor: Supervisor,
    pub(super) book: Book,
    pub(super) looker: Looker,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) faults: Faults,
    pub(super) folder: PathBuf,
    pub(super) dice: fastrand::Rng,
    pub(super) most_sessions: usize,
}

impl Caller {
    /// Does one thing, as the dice say. A caller may lose its patience and drop the question.
    pub(super) async fn step(&mut self) -> Deed {
        let deed = weighted(&mut self.dice, Deed::ALL);
        let patience = match self.dice.u8(0..10) {
            0 => Duration::from_millis(self.dice.u64(0..50)),
            _ => HANGS,
        };
        self.book.note(|| format!("{deed:?}"));
        let done = tokio::time::timeout(patience, self.act(deed)).await;
        if done.is_err() && patience == HANGS {
            self.wrong(format!("{deed:?} hangs"));
        }
        tokio::time::sleep(Duration::from_millis(self.dice.u64(0..80))).await;
        deed
    }

    pub(super) fn wrong(&self, what: String) {
        self.shared.lock().unwrap().wrong.push(what);
    }

    fn pick(&mut self) -> Option<(usize, Known)> {
        let shared = self.shared.lock().unwrap();
        let index = self.dice.usize(0..shared.known.len().max(1));
        shared.known.get(index).map(|known| (index, known.clone()))
    }

    async fn act(&mut self, deed: Deed) {
        if deed == Deed::Start {
            return self.start().await;
        }
        let Some((index, known)) = self.pick() else { return };
        match deed {
            Deed::KillLeader => return self.signal_leader(&known, Signal::KILL),
            Deed::TermLeader => return self.signal_leader(&known, Signal::TERM),
            Deed::HaltLeader => return self.signal_leader(&known, Signal::STOP),
            Deed::KillAny => return self.kill_any(&known),
            // What fails of it is not there.
            Deed::RemoveFolder => return drop(fs::remove_dir_all(&known.folder)),
            _ => {}
        }
        let Some(session) = self.session(&known).await else { return };
        match deed {
            Deed::Send => {
                let reads = known.reads != Reads::Nothing;
                for _ in 0..if reads { self.dice.u8(1..4) } else { self.dice.u8(0..2) } {
                    let tag = self.tag();
                    self.send(&session, tag, ProcessInput::Text(format!("tag {tag}"))).await;
                }
            }
            Deed::SendEndOfFile => {
                let tag = self.tag();
                self.send(&session, tag, ProcessInput::EndOfFile).await;
            }
            Deed::Pause => self.pause(&session, &known).await,
            Deed::Resume => drop(self.ask(&session, Verb::Resume, session.resume()).await),
            Deed::Stop => self.stop(&session, session.stop()).await,
            Deed::StopWithin => {
                let grace = Duration::from_millis(self.dice.u64(0..300));
                self.stop(&session, session.stop_within(grace)).await;
            }
            Deed::Kill => self.stop(&session, session.kill()).await,
            Deed::Complete => {
                self.shared.lock().unwrap().known[index].is_cut_short = true;
                self.ask(&session, Verb::Complete, session.complete()).await;
            }
            Deed::Fail => {
                self.shared.lock().unwrap().known[index].is_cut_short = true;
                self.ask(&session, Verb::Fail, session.fail("enough")).await;
            }
            Deed::ReadEvents => self.read_events(&session).await,
            Deed::ReadSnapshot => {
                let call = self.book.ask(Some(session.id()), Verb::ReadSnapshot);
                let answer = match session.snapshot().await {
                    Ok(snapshot) => Answer::Snapshot {
                        sequence: snapshot.at.sequence,
                        consumed: snapshot.at.consumed,
                    },
                    Err(error) => not_done(&error),
                };
                self.book.answer(call, answer);
            }
            Deed::Start
            | Deed::Look
            | Deed::KillLeader
            | Deed::TermLeader
            | Deed::HaltLeader
            | Deed::KillAny
            | Deed::RemoveFolder => {}
        }
    }

    fn tag(&self) -> u64 {
        let mut shared = self.shared.lock().unwrap();
        shared.tags += 1;
        shared.tags
    }

    async fn start(&mut self) {
        let number = self.shared.lock().unwrap().known.len();
        if number >= self.most_sessions {
            return;
        }
        let folder = self.folder.join(self.dice.u64(..).to_string());
        fs::create_dir(&folder).unwrap();
        let cast = cast(&mut self.dice, &self.faults, &folder);
        let random = uuid::Builder::from_random_bytes(self.dice.u128(..).to_be_bytes());
        let id = SessionId::from_uuid(random.into_uuid());
        self.book.note(|| format!("{id}: {:?} {:?}", cast.spec, cast.nature));
        self.looker.add(id);
        self.book.enter(Entry::Program(Program::Given { session: id, nature: cast.nature }));
        let index = {
            let mut shared = self.shared.lock().unwrap();
            shared.known.push(Known {
                id,
                acknowledged: false,
                on_pause: cast.spec.on_pause(),
                reads: cast.reads,
                folder,
                is_cut_short: false,
            });
            shared.known.len() - 1
        };
        let mut start = Start::<Programs>::new(ProcessState::from(cast.spec)).id(id);
        let tag = (cast.reads != Reads::Nothing).then(|| self.tag());
        if let Some(tag) = tag {
            start = start.input(ProcessInput::Text(format!("tag {tag}")));
        }
        let call = self.book.ask(Some(id), Verb::Start { key: None, tag });
        let answer = match self.supervisor.start(start.policy(cast.policy)).await {
            Ok(_) => {
                self.shared.lock().unwrap().known[index].acknowledged = true;
                Answer::Started { session: id, repeated: false }
            }
            Err(error) => Answer::Unknown(error.to_string()),
        };
        self.book.answer(call, answer);
    }

    /// A handle, after a look at how the session stands.
    pub(super) async fn session(&self, known: &Known) -> Option<Handle> {
        let asked = self.book.len();
        let call = self.book.ask(Some(known.id), Verb::Look);
        let found = async {
            let session = self.supervisor.session(known.id).await?.typed::<Programs>()?;
            let status = session.status().await?;
            Ok::<_, SessionError>((session, status))
        };
        match found.await {
            Ok((session, status)) => {
                self.book.answer(call, Answer::Seen(Sight::from(&status)));
                let is_over = [State::Completed, State::Failed].contains(&status.state());
                if is_over && status.abandoned().is_empty() && !known.is_cut_short {
                    self.told(known.id, asked, Rest::Ended);
                }
                Some(session)
            }
            Err(error) => {
                if known.acknowledged && matches!(error, SessionError::NotFound { .. }) {
                    self.wrong(format!("an acknowledged session is gone: {error}"));
                }
                self.book.answer(call, not_done(&error));
                None
            }
        }
    }

    /// Notes what was told, and looks whether it is so.
    fn told(&self, session: SessionId, asked: usize, rest: Rest) {
        self.book.enter(Entry::Program(Program::Told { session, asked, rest }));
        self.looker.look();
    }

    async fn ask<T>(
        &self,
        session: &Handle,
        verb: Verb,
        done: impl Future<Output = Result<T, SessionError>>,
    ) -> Option<T> {
        let call = self.book.ask(Some(session.id()), verb);
        let done = done.await;
        let answer = done.as_ref().map_or_else(not_done, |_| Answer::Done);
        self.book.answer(call, answer);
        done.ok()
    }

    async fn pause(&self, session: &Handle, known: &Known) {
        let asked = self.book.len();
        let done = self.ask(session, Verb::Pause, session.pause()).await;
        let rest = match known.on_pause {
            OnPause::Stop => Some(Rest::Ended),
            OnPause::Freeze(Limit::Never) => Some(Rest::Frozen),
            // It is stopped some time.
            OnPause::Freeze(Limit::After(_)) => None,
        };
        // Where a shutdown has abandoned a run, what it holds may be alive.
        let is_whole = session.status().await.is_ok_and(|status| status.abandoned().is_empty());
        if let (Some(_), Some(rest)) = (done, rest.filter(|_| is_whole)) {
            self.told(session.id(), asked, rest);
        }
    }

    pub(super) async fn stop(
        &self,
        session: &Handle,
        stop: impl Future<Output = Result<sessionkeeper::StopTicket, SessionError>>,
    ) {
        let asked = self.book.len();
        let Some(ticket) = self.ask(session, Verb::Stop, stop).await else { return };
        // A store that fails meanwhile does not undo the stop.
        let ended = ticket.ended().await;
        if ended.is_ok_and(|report| report.end != Some(RunEnd::Abandoned)) {
            self.told(session.id(), asked, Rest::Ended);
        }
    }

    async fn send(&self, session: &Handle, tag: u64, input: ProcessInput) {
        let call = self.book.ask(Some(session.id()), Verb::Send { id: None, tag });
        let answer = match session.send(input).await {
            Ok(receipt) => {
                let Receipt { session: by, sequence, repeated, .. } = receipt;
                Answer::Accepted { by, sequence, repeated }
            }
            Err(SendError::Session(error)) => not_done(&error),
            Err(SendError::NotAccepting { state, .. }) => Answer::Refused(state),
            Err(error) => Answer::NotDone(error.to_string()),
        };
        self.book.answer(call, answer);
    }

    async fn read_events(&mut self, session: &Handle) {
        let call = self.book.ask(Some(session.id()), Verb::ReadEvents);
        let (from, limit) = (self.dice.u64(1..8), self.dice.usize(1..30));
        let answer = match session.events(from..=u64::MAX, limit).await {
            Ok(events) => Answer::Events(events.iter().map(|e| (e.sequence, digest(e))).collect()),
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }

    fn signal_leader(&self, known: &Known, signal: Signal) {
        let alive = self.alive(known);
        let leader = alive.iter().min_by_key(|one| (one.began, one.pid));
        self.signal(leader, signal);
    }

    /// Kills one of those that a program has started.
    fn kill_any(&mut self, known: &Known) {
        let mut alive = self.alive(known);
        alive.sort_by_key(|one| (one.began, one.pid));
        let index = self.dice.usize(1..alive.len().max(2));
        self.signal(alive.get(index), Signal::KILL);
    }

    fn alive(&self, known: &Known) -> Vec<Alive> {
        let mut alive = self.looker.look();
        alive.retain(|one| one.session == known.id);
        alive
    }

    fn signal(&self, one: Option<&Alive>, signal: Signal) {
        let Some(one) = one else { return };
        let (session, number) = (one.session, signal.as_raw());
        self.book.enter(Entry::Program(Program::Signalled { session, signal: number }));
        if is_same_still(one)
            && let Some(pid) = Pid::from_raw(one.pid)
        {
            // It may be gone since.
            let _ = kill_process(pid, signal);
        }
    }
}
