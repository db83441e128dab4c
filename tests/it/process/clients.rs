//! Clients that use a supervisor in every way, and tell what they ask for and what they hear.

use futures::future::{join, join_all};
use sessionkeeper::{
    InputId, Labels, Metadata, Name, Origin, Receipt, SendError, SessionError, SessionHandle,
    Start, StartError, StartKey, Supervisor,
    store::{Key, Query},
};
use tokio::time::{sleep, timeout};

use super::{
    child,
    line::{Calls, answer, enter, sight},
    tally::{Job, Tally, Teller, Work},
};
use crate::{
    guarantees::kit::{millis, secs},
    oracle::{
        digest,
        ledger::{Answer, Entry, Verb},
    },
};

/// How many sessions there are at a time. One of them has to wait for a place.
pub(crate) const SLOTS: usize = 6;

/// One client: it has one session at a time, and starts the next one when that has ended.
struct Client {
    supervisor: Supervisor,
    calls: Calls,
    slot: usize,
    rng: fastrand::Rng,
    largest: usize,
    next_tag: u64,
}

/// Works with all clients until each has made its steps.
pub(crate) async fn work(supervisor: &Supervisor, calls: &Calls, work: &child::Work) {
    let clients = (0..SLOTS).map(|slot| {
        let client = Client {
            supervisor: supervisor.clone(),
            calls: calls.clone(),
            slot,
            rng: fastrand::Rng::with_seed(work.seed ^ (slot as u64) << 48),
            largest: work.largest,
            next_tag: work.generation << 32 | (slot as u64) << 24,
        };
        tokio::spawn(client.run(work.steps))
    });
    for client in join_all(clients).await {
        client.unwrap();
    }
}

pub(crate) async fn shut_down(supervisor: &Supervisor) {
    let budget = secs(20);
    let report = supervisor.shutdown(budget).await;
    let rested = report.lines.iter().filter_map(|line| line.record.as_deref());
    let rested = rested.map(|record| (record.id, sight(record))).collect();
    enter(Entry::ShutDown { budget, took: report.took, rested });
}

impl Client {
    async fn run(mut self, steps: u32) {
        let mut present: Option<SessionHandle<Teller>> = None;
        for _ in 0..steps {
            let Some(session) = present.clone() else {
                present = self.session().await;
                if present.is_none() {
                    // The store fails; it will heal.
                    sleep(millis(5)).await;
                }
                continue;
            };
            // Others look while this one acts.
            let looking = look(self.calls.clone(), session.clone());
            join(self.step(&session), looking).await;
            let ended = look(self.calls.clone(), session).await;
            present = present.filter(|_| !ended);
        }
    }

    /// The session that has the name of this slot; if there is none, a new one.
    async fn session(&mut self) -> Option<SessionHandle<Teller>> {
        let name = format!("slot-{}", self.slot);
        let of_slot = vec![("slot".to_owned(), self.slot.to_string())];
        let query = Query { labels: of_slot, limit: 1000, ..Query::default() };
        let before = self.supervisor.list(query).await.ok()?.records.len();
        let found = self.supervisor.find(Key::Name(Name::new(&name).unwrap())).await.ok()?;
        let holder = match found {
            Some(session) => {
                let state = session.status().await.ok()?.state();
                (!state.is_terminal()).then_some(session)
            }
            None => None,
        };
        let number = match &holder {
            Some(holder) if self.rng.bool() => return Some(holder.clone().typed().unwrap()),
            // Its start is repeated, and gives the same session.
            Some(_) => before - 1,
            None => before,
        };
        let key = format!("{name}-{number}");
        let tag = 1 << 62 | (self.slot as u64) << 32 | number as u64;
        let start = Start::<Teller>::new(Tally::default())
            .key(StartKey::new(&key).unwrap())
            .name(Name::new(&name).unwrap())
            .labels(Labels::new([("slot", self.slot.to_string())]).unwrap())
            .input(Job { tag, work: Work::Nothing });
        let call = self.calls.ask(None, Verb::Start { key: Some(key), tag: Some(tag) });
        match self.supervisor.start(start).await {
            Ok(started) => {
                let (session, origin) = (started.id(), started.origin());
                answer(call, Answer::Started { session, repeated: origin == Origin::Repeated });
                let same = holder.is_none_or(|holder| holder.id() == session);
                assert!(same, "a repeated start gives the same session");
                Some(started.into_handle())
            }
            Err(StartError::Session(error)) => {
                answer(call, not_done(&error));
                None
            }
            Err(error) => {
                answer(call, Answer::Unknown(error.to_string()));
                None
            }
        }
    }

    async fn step(&mut self, session: &SessionHandle<Teller>) {
        match self.rng.u32(0..100) {
            0..45 => self.send(session).await,
            45..53 => self.say(session, Verb::Pause).await,
            53..66 => self.say(session, Verb::Resume).await,
            66..71 => {
                self.say(session, Verb::Stop).await;
                if self.rng.u32(0..5) > 0 {
                    self.say(session, Verb::Resume).await;
                }
            }
            71 => self.say(session, Verb::Complete).await,
            72 => self.say(session, Verb::Fail).await,
            73..80 => {
                let value = self.tag().to_string();
                self.say(session, Verb::SetLabels(value)).await;
            }
            80..85 => {
                let value = self.tag().to_string();
                self.say(session, Verb::SetMetadata(value)).await;
            }
            85..91 => {
                let call = self.calls.ask(Some(session.id()), Verb::ReadSnapshot);
                answer(
                    call,
                    match session.snapshot().await {
                        Ok(read) => Answer::Snapshot {
                            sequence: read.at.sequence,
                            consumed: read.at.consumed,
                        },
                        Err(error) => not_done(&error),
                    },
                );
            }
            91..96 => {
                let call = self.calls.ask(Some(session.id()), Verb::ReadEvents);
                answer(
                    call,
                    match session.events(1..=u64::MAX, usize::MAX).await {
                        Ok(events) => {
                            let latest = events.iter().rev().take(10).rev();
                            let seen = latest.map(|event| (event.sequence, digest(event)));
                            Answer::Events(seen.collect())
                        }
                        Err(error) => not_done(&error),
                    },
                );
            }
            _ => sleep(millis(self.rng.u64(0..60))).await,
        }
    }

    /// Sends some inputs at once.
    async fn send(&mut self, session: &SessionHandle<Teller>) {
        let jobs: Vec<_> = (0..self.rng.u32(1..6))
            .map(|_| (Job { tag: self.tag(), work: self.work() }, self.rng.u32(0..4)))
            .collect();
        let sending = jobs.into_iter().map(|(job, how)| {
            let (calls, session) = (self.calls.clone(), session.clone());
            async move {
                if how == 0 {
                    // Sent again at once under its id, it is one input.
                    let id = InputId::new(format!("job-{}", job.tag)).unwrap();
                    send_one(&calls, &session, Some(id.clone()), job.clone()).await;
                    send_one(&calls, &session, Some(id), job).await;
                } else {
                    send_one(&calls, &session, None, job).await;
                }
            }
        });
        join_all(sending).await;
    }

    fn work(&mut self) -> Work {
        match self.rng.u32(0..40) {
            0..10 => Work::Nothing,
            10..16 => Work::Pad(self.rng.usize(0..300)),
            16..18 => Work::Pad(self.rng.usize(0..=self.largest)),
            18..23 => Work::Emit(self.rng.u32(1..10)),
            23..27 => Work::Spend(self.rng.u64(1..1000)),
            27..31 => Work::Checkpoint,
            31..34 => Work::Halves,
            34..36 => Work::Fail,
            36 => Work::Panic,
            37..39 => Work::Sleep(millis(self.rng.u64(0..10))),
            _ if self.rng.u32(0..6) == 0 => Work::Complete,
            _ => Work::Nothing,
        }
    }

    async fn say(&mut self, session: &SessionHandle<Teller>, verb: Verb) {
        let call = self.calls.ask(Some(session.id()), verb.clone());
        let done = match verb {
            Verb::Pause => session.pause().await.map(drop),
            // All places may be taken. It is not withdrawn, and has no answer.
            Verb::Resume => match timeout(millis(50), session.resume()).await {
                Ok(done) => done,
                Err(_) => return,
            },
            Verb::Stop => match session.stop().await {
                Ok(stop) => {
                    answer(call, Answer::Done);
                    let _ = stop.ended().await;
                    return;
                }
                Err(error) => Err(error),
            },
            Verb::Complete => session.complete().await,
            Verb::Fail => session.fail("told to").await,
            Verb::SetLabels(value) => {
                let slot = ("slot", self.slot.to_string());
                session.set_labels(Labels::new([slot, ("set", value)]).unwrap()).await
            }
            Verb::SetMetadata(value) => {
                let metadata = Metadata::from_iter([("set".to_owned(), value.into())]);
                session.set_metadata(metadata).await
            }
            verb => unreachable!("{verb:?} is asked for elsewhere"),
        };
        answer(call, done.map_or_else(|error| not_done(&error), |()| Answer::Done));
    }

    const fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }
}

async fn send_one(calls: &Calls, session: &SessionHandle<Teller>, id: Option<InputId>, job: Job) {
    let known = id.as_ref().map(|id| id.as_str().to_owned());
    let call = calls.ask(Some(session.id()), Verb::Send { id: known, tag: job.tag });
    let sent = match id {
        Some(id) => session.send_with_id(id, job).await,
        None => session.send(job).await,
    };
    answer(
        call,
        match sent {
            Ok(receipt) => {
                let Receipt { session: by, sequence, repeated, .. } = receipt;
                Answer::Accepted { by, sequence, repeated }
            }
            Err(SendError::NotAccepting { state, .. }) => Answer::Refused(state),
            Err(SendError::Session(error)) => not_done(&error),
            Err(error) => Answer::NotDone(error.to_string()),
        },
    );
}

/// Looks how a session stands; whether it has ended.
async fn look(calls: Calls, session: SessionHandle<Teller>) -> bool {
    let call = calls.ask(Some(session.id()), Verb::Look);
    match session.status().await {
        Ok(status) => {
            answer(call, Answer::Seen(sight(status.record())));
            status.state().is_terminal()
        }
        Err(error) => {
            answer(call, not_done(&error));
            false
        }
    }
}

/// What an error says about what was done.
fn not_done(error: &SessionError) -> Answer {
    match error {
        SessionError::Refused(refused) => Answer::Refused(refused.from),
        SessionError::Superseded { .. } => Answer::Superseded,
        SessionError::OutcomeUnknown { .. } | SessionError::Store { under_way: true, .. } => {
            Answer::Unknown(error.to_string())
        }
        _ => Answer::NotDone(error.to_string()),
    }
}
