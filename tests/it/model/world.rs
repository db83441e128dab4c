//! The library itself, driven by the same steps.

mod said;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use sessionkeeper::{
    InputId, Kind, Labels, Metadata, Name, Origin, Receipt, RecoverWhat, RecoveryReport, SendError,
    SessionHandle, SessionId, ShuttingDown, Slot, Start, StartKey, State, Supervisor, Workload,
    store::{Key, MemoryStore, Query},
    testing::audit,
};
use tokio::{sync::watch, time::Instant};

pub(super) use self::said::Said;
use self::view::View;
use super::{
    care::Care,
    player::{Player, external_id, ms},
    reference::{Answer, Call, Done, Ms, Recovered, Reference, Setup, Who},
    steps::{Begin, Input, Named, Step},
};
use crate::support::BUDGET;

/// A worker on a store, and what was heard of it.
pub(super) struct World {
    setup: Setup,
    store: MemoryStore,
    player: Player,
    supervisor: Option<Supervisor>,
    /// A session that has ended: writing on it stores how late it is, and touches nothing else.
    beacon: Option<SessionHandle<Player>>,
    heard: Arc<Mutex<Heard>>,
    slots: Arc<Mutex<VecDeque<Slot>>>,
    /// Ends the calls that would keep a lost worker alive.
    lost: watch::Sender<()>,
    /// When supervised time began, as far as this worker is concerned.
    began: Instant,
}

/// What was heard from calls.
#[derive(Default)]
pub(super) struct Heard {
    answers: BTreeMap<Call, Vec<Answer>>,
    /// The sessions, in the order of their starts.
    sessions: Vec<SessionId>,
}

const BEACON: &str = "beacon";

impl World {
    pub(super) async fn new(setup: Setup) -> Self {
        let player = Player { closing: setup.closing, alive: Arc::default() };
        let mut world = Self {
            setup,
            store: MemoryStore::new(),
            player,
            supervisor: None,
            beacon: None,
            heard: Arc::default(),
            slots: Arc::default(),
            lost: watch::Sender::new(()),
            began: Instant::now(),
        };
        world.begin_worker(RecoverWhat::All).await;
        let start = Start::<Player>::new(Done::default()).kind(Kind::new(BEACON).unwrap());
        let beacon = world.supervisor().start(start).await.unwrap().into_handle();
        beacon.complete().await.unwrap();
        while beacon.heartbeat().is_ok() {
            tokio::time::sleep(ms(100)).await;
        }
        world.beacon = Some(beacon);
        world.began = Instant::now();
        world
    }

    /// Takes a step, and compares everything with the model once it has followed.
    pub(super) async fn step(&mut self, step: &Step, model: &Reference) -> Result<(), String> {
        if model.vague {
            return Ok(());
        }
        let call = model.last_call();
        step.take(self, call).await;
        tokio::time::sleep_until(self.began + ms(model.now)).await;
        let now = Instant::now().saturating_duration_since(self.began);
        let compared = same("the time", now, ms(model.now));
        let compared = compared.and(self.compare(model).await);
        compared.map_err(|wrong| format!("after step {call}, {step:?}, at {now:?}: {wrong}"))
    }

    /// Loses the worker, and says what is wrong in the store that it leaves.
    pub(super) async fn end(mut self) -> Result<(), String> {
        self.crash().await;
        let wrong = audit(&self.store).await;
        let wrong: Vec<_> = wrong.iter().map(|violation| format!("{violation}\n")).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("in the store: {}", wrong.concat())) }
    }

    async fn compare(&self, model: &Reference) -> Result<(), String> {
        let answers = self.heard.lock().unwrap().answers.clone();
        let calls: BTreeSet<_> = answers.keys().chain(model.answers.keys()).collect();
        for call in calls {
            let what = format!("what the call of step {call} was answered");
            same(&what, answers.get(call), model.answers.get(call))?;
        }
        if let Some(error) = self.supervisor().health().store_error() {
            return Err(format!("the store works, and is said to fail: {error}"));
        }
        same("how many sessions there are", self.sessions(), model.sessions.len())?;
        for (who, session) in model.sessions.iter().enumerate() {
            let is = View::of(&self.session(who).await).await?;
            same(&format!("session {who}"), is, View::expected(session))?;
        }
        let alive = self.player.alive.load(Ordering::Relaxed);
        same("how many runs are at work", alive, view::at_work(model))
    }

    pub(super) fn sessions(&self) -> usize {
        self.heard.lock().unwrap().sessions.len()
    }

    fn supervisor(&self) -> &Supervisor {
        self.supervisor.as_ref().expect("a worker runs")
    }

    async fn session(&self, who: Who) -> SessionHandle<Player> {
        let id = self.heard.lock().unwrap().sessions[who];
        self.supervisor().session(id).await.unwrap().typed().unwrap()
    }

    async fn begin_worker(&mut self, recover: RecoverWhat) {
        let builder = Supervisor::builder(self.store.clone())
            .workload(self.player.clone())
            .workload_as(Kind::new(BEACON).unwrap(), self.player.clone())
            .policy(Care::Usual.policy())
            .recover(recover)
            .resume_jitter(Duration::ZERO)
            .seed(7);
        let builder = match self.setup.places {
            Some(places) => builder.max_active(places),
            None => builder,
        };
        self.supervisor = Some(builder.start().await.unwrap());
    }

    /// The worker is lost. What it had stored just before includes the time that it had run.
    pub(super) async fn crash(&mut self) {
        let beacon = self.beacon.take().expect("it lives on");
        beacon.set_labels(Labels::default()).await.unwrap();
        self.lost.send_replace(());
        // The calls that it told go first, and then the worker.
        tokio::task::yield_now().await;
        self.supervisor = None;
        self.beacon = Some(beacon);
    }

    pub(super) async fn shut_down(&mut self) {
        let supervisor = self.supervisor.take().expect("a worker runs");
        supervisor.shutdown(BUDGET).await;
    }

    /// The next worker begins, after a while in which there is none.
    pub(super) async fn begin(&mut self, call: Call, recover: RecoverWhat, away: Ms) {
        self.slots.lock().unwrap().clear();
        tokio::time::sleep(ms(away)).await;
        self.began += ms(away);
        self.begin_worker(recover).await;
        let beacon = self.beacon.take().expect("it lives on").id();
        self.beacon = Some(self.supervisor().session(beacon).await.unwrap().typed().unwrap());
        let sessions = Arc::clone(&self.heard);
        self.ask_supervisor(call, async move |supervisor| match supervisor.recovered().await {
            Ok(report) => Answer::Recovered(recovered(&report, &sessions.lock().unwrap().sessions)),
            Err(ShuttingDown) => Answer::ShuttingDown,
        });
    }

    pub(super) fn hear(&self, call: Call, answer: Answer) {
        hear(&self.heard, call, answer);
    }

    /// Asks a session, and listens.
    pub(super) async fn ask(
        &self,
        call: Call,
        who: Who,
        verb: impl AsyncFnOnce(SessionHandle<Player>) -> Answer + 'static,
    ) {
        let (session, heard) = (self.session(who).await, Arc::clone(&self.heard));
        tokio::task::spawn_local(async move {
            let answer = verb(session).await;
            hear(&heard, call, answer);
        });
    }

    /// The same of the supervisor, as long as it lives.
    fn ask_supervisor(&self, call: Call, verb: impl AsyncFnOnce(Supervisor) -> Answer + 'static) {
        let (supervisor, heard) = (self.supervisor().clone(), Arc::clone(&self.heard));
        let mut lost = self.lost.subscribe();
        tokio::task::spawn_local(async move {
            tokio::select! {
                biased;
                _ = lost.changed() => {}
                answer = verb(supervisor) => hear(&heard, call, answer),
            }
        });
    }

    pub(super) fn start(&self, call: Call, begin: &Begin, in_slot: bool) {
        let start = start(begin);
        let slot = if in_slot { self.slots.lock().unwrap().pop_front() } else { None };
        let heard = Arc::clone(&self.heard);
        self.ask_supervisor(call, async move |supervisor| {
            let start = match slot {
                Some(slot) => start.in_slot(slot),
                None => start,
            };
            let started = supervisor.start(start).await;
            let mut heard = heard.lock().unwrap();
            if let Ok(new) = &started
                && new.origin() == Origin::New
            {
                heard.sessions.push(new.id());
            }
            said::started(started, &heard.sessions)
        });
    }

    pub(super) async fn stop(&self, call: Call, who: Who, grace: Option<Ms>) {
        let heard = Arc::clone(&self.heard);
        self.ask(call, who, async move |session| {
            let stopping = match grace {
                None => session.stop().await,
                Some(0) => session.kill().await,
                Some(grace) => session.stop_within(ms(grace)).await,
            };
            match stopping {
                Ok(ticket) => {
                    let alive = ticket.run().is_some();
                    hear(&heard, call, Answer::Stopping { alive });
                    ticket.ended().await.said()
                }
                Err(error) => Err::<(), _>(error).said(),
            }
        })
        .await;
    }

    pub(super) async fn find(&self, call: Call, named: Named) {
        let key = match named {
            Named::Name(number) => Key::Name(name(number)),
            Named::External(number) => Key::ExternalId(external_id(number)),
            Named::Key(number) => Key::Start(key(number)),
        };
        let found = self.supervisor().find(key).await.unwrap();
        let sessions = &self.heard.lock().unwrap().sessions.clone();
        self.hear(call, Answer::Found(found.map(|session| said::who(session.id(), sessions))));
    }

    pub(super) async fn list(&self, call: Call, states: Vec<State>, team: Option<u8>, page: usize) {
        let mut query = Query {
            states,
            kind: Some(Kind::new(Player::KIND).unwrap()),
            labels: labels(team).iter().map(|(key, team)| (key.into(), team.into())).collect(),
            limit: page,
            ..Query::default()
        };
        let sessions = &self.heard.lock().unwrap().sessions.clone();
        let mut listed = Vec::new();
        loop {
            let found = self.supervisor().list(query.clone()).await.unwrap();
            assert!(found.records.len() <= page, "a page has no more than was asked for");
            listed.extend(found.records.iter().map(|record| said::who(record.id, sessions)));
            query.after = found.next;
            if query.after.is_none() {
                return self.hear(call, Answer::Listed(listed));
            }
        }
    }

    pub(super) fn slot(&self, call: Call) {
        let slots = Arc::clone(&self.slots);
        self.ask_supervisor(call, async move |supervisor| match supervisor.slot().await {
            Ok(slot) => {
                slots.lock().unwrap().push_back(slot);
                Answer::Done
            }
            Err(ShuttingDown) => Answer::ShuttingDown,
        });
    }

    pub(super) fn drop_slot(&self, call: Call) {
        let slot = self.slots.lock().unwrap().pop_front();
        self.hear(call, if slot.is_some() { Answer::Done } else { Answer::Nobody });
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is not as it should be\n  is     {is:#?}\n  should {should:#?}"))
    }
}

fn hear(heard: &Mutex<Heard>, call: Call, answer: Answer) {
    heard.lock().unwrap().answers.entry(call).or_default().push(answer);
}

fn start(begin: &Begin) -> Start<Player> {
    let mut start = Start::new(Done::default()).labels(labels(begin.team));
    if let Some(number) = begin.key {
        start = start.key(key(number));
    }
    if let Some(number) = begin.name {
        start = start.name(name(number));
    }
    if let Some(number) = begin.external {
        start = start.external_id(external_id(number));
    }
    if let Some(care) = begin.care {
        start = start.policy(care.policy());
    }
    if let Some(work) = begin.work {
        start = start.input(work);
    }
    start
}

pub(super) async fn send(
    session: &SessionHandle<Player>,
    input: Input,
) -> Result<Receipt, SendError> {
    match input.id {
        None => session.send(input.work).await,
        Some(id) => {
            let id = InputId::new(format!("input/{id}")).unwrap();
            session.send_with_id(id, input.work).await
        }
    }
}

fn recovered(report: &RecoveryReport, sessions: &[SessionId]) -> Recovered {
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    let who = |ids: &[SessionId]| ids.iter().map(|id| said::who(*id, sessions)).collect();
    Recovered {
        resumed: who(&report.resumed),
        stopped: who(&report.stopped),
        interrupted: who(&report.interrupted),
        quarantined: who(&report.quarantined),
    }
}

fn key(number: u8) -> StartKey {
    StartKey::new(format!("key/{number}")).unwrap()
}

fn name(number: u8) -> Name {
    Name::new(format!("name/{number}")).unwrap()
}

pub(super) fn labels(team: Option<u8>) -> Labels {
    Labels::new(team.map(|team| ("team", team.to_string()))).unwrap()
}

pub(super) fn note_of(number: u8) -> Metadata {
    Metadata::from_iter([("note".to_owned(), number.into())])
}
