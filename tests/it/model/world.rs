//! The library itself, driven by the same steps.

mod left;
mod numbers;
mod said;
mod verbs;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU64,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use sessionkeeper::{
    EventRecord, Kind, Labels, RecoverWhat, Retention, SessionError, SessionHandle, SessionId,
    Slot, Start, StatisticsOptions, Supervisor,
    store::MemoryStore,
    testing::{WallClock, audit},
};
use tokio::{sync::watch, time::Instant};

pub(super) use self::verbs::{labels, note_of, rollover, send};
use self::{
    said::{Known, Said},
    view::View,
};
use super::{
    care::Care,
    player::{Player, ms},
    reference::{Answer, Call, Done, Ms, Reference, Session, Setup, Who, wall},
    steps::Step,
};
use crate::support::BUDGET;

/// A worker on a store, and what was heard of it.
pub(super) struct World {
    setup: Setup,
    store: MemoryStore,
    /// The wall clock goes with the others: else what is made in two steps may be made at the same time.
    clock: WallClock,
    player: Player,
    supervisor: Option<Supervisor>,
    /// A session that has ended: writing on it stores how late it is, and touches nothing else.
    beacon: Option<SessionHandle<Player>>,
    /// Its events, also those that are gone.
    beacon_log: Mutex<Vec<EventRecord>>,
    heard: Arc<Mutex<Heard>>,
    handles: Mutex<BTreeMap<Who, SessionHandle<Player>>>,
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
    /// Calls that could not be made, about runs of which nothing is left: the last of a session is always known.
    unasked: BTreeSet<Call>,
    /// How many events of each session are gone.
    gone: BTreeMap<Who, u64>,
    known: Known,
}

const BEACON: &str = "beacon";

impl World {
    pub(super) async fn new(setup: Setup) -> Self {
        let clock = WallClock::starting_at(wall(0) - Duration::from_secs(10));
        let heard = Arc::<Mutex<Heard>>::default();
        let hears = Arc::clone(&heard);
        let player = Player {
            born: Arc::new(move |child| {
                hears.lock().unwrap().known.who(child);
            }),
            closing: setup.closing,
            clock: clock.clone(),
            alive: Arc::default(),
        };
        let mut world = Self {
            setup,
            store: MemoryStore::new(),
            clock,
            player,
            supervisor: None,
            beacon: None,
            beacon_log: Mutex::default(),
            heard,
            handles: Mutex::default(),
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
        // It is no session of the life.
        world.heard.lock().unwrap().known = Known::default();
        world.clock.jump(wall(0) - world.clock.now());
        world.began = Instant::now();
        world
    }

    /// Takes a step, and compares everything with the model once it has followed.
    pub(super) async fn step(&mut self, step: &Step, model: &Reference) -> Result<(), String> {
        if model.vague.is_some() {
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
        let (answers, unasked) = {
            let heard = self.heard.lock().unwrap();
            (heard.answers.clone(), heard.unasked.clone())
        };
        let calls: BTreeSet<_> = answers.keys().chain(model.answers.keys()).collect();
        for call in calls.into_iter().filter(|call| !unasked.contains(call)) {
            let what = format!("what the call of step {call} was answered");
            let (is, should) = (answers.get(call), model.answers.get(call));
            same(&what, is, chosen(should, is).as_ref())?;
        }
        if let Some(error) = self.supervisor().health().store_error() {
            return Err(format!("the store works, and is said to fail: {error}"));
        }
        let count = model.present().count();
        same("how many sessions there are", self.list_all().await, count)?;
        same("how many of them were heard of", self.sessions(), model.sessions.len())?;
        for (who, session) in model.sessions.iter().enumerate() {
            let is = match self.session(who).await {
                Ok(session) => View::of(&session, &self.heard).await?,
                Err(SessionError::NotFound { .. }) => None,
                Err(error) => return Err(error.to_string()),
            };
            let gone = is.as_ref().map_or(0, View::gone);
            if is.is_some() {
                self.compare_gone(who, session, gone, model)?;
            }
            same(&format!("session {who}"), is, View::expected(session, gone))?;
        }
        self.compare_numbers(model).await?;
        let alive = self.player.alive.load(Ordering::Relaxed);
        same("how many runs are at work", alive, view::at_work(model))
    }

    /// Events go as soon as they may, as late as they must, and not one by one.
    fn compare_gone(
        &self,
        who: Who,
        session: &Session,
        gone: u64,
        model: &Reference,
    ) -> Result<(), String> {
        let before = self.heard.lock().unwrap().gone.insert(who, gone).unwrap_or(0);
        let may = model.gone_events(session);
        if may.contains(&gone) && model.may_go(before, gone) {
            return Ok(());
        }
        let last = session.last_event();
        let many = format!("{gone} events of {last} are gone of session {who}, {before} before");
        Err(format!("{many}: these may be: {may:?}"))
    }

    /// All that ever happened to the beacon: at most one thing since it was last looked.
    async fn beacon_events(&self) -> Vec<EventRecord> {
        let beacon = self.beacon.as_ref().expect("it lives on");
        let known = self.beacon_log.lock().unwrap().len() as u64;
        let new = beacon.events(known + 1..=u64::MAX, usize::MAX).await.unwrap();
        let mut log = self.beacon_log.lock().unwrap();
        log.extend(new);
        let numbers: Vec<_> = log.iter().map(|event| event.sequence).collect();
        assert_eq!(numbers, (1..=log.len() as u64).collect::<Vec<_>>(), "none is missing");
        log.clone()
    }

    pub(super) fn sessions(&self) -> usize {
        self.heard.lock().unwrap().known.len()
    }

    fn supervisor(&self) -> &Supervisor {
        self.supervisor.as_ref().expect("a worker runs")
    }

    fn id(&self, who: Who) -> SessionId {
        self.heard.lock().unwrap().known.id(who)
    }

    /// The handle of a session that was there in this worker, also where it is gone.
    async fn session(&self, who: Who) -> Result<SessionHandle<Player>, SessionError> {
        if let Some(known) = self.handles.lock().unwrap().get(&who) {
            return Ok(known.clone());
        }
        let session: SessionHandle<Player> =
            self.supervisor().session(self.id(who)).await?.typed()?;
        self.handles.lock().unwrap().insert(who, session.clone());
        Ok(session)
    }

    async fn begin_worker(&mut self, recover: RecoverWhat) {
        let builder = Supervisor::builder(self.store.clone())
            .workload(self.player.clone())
            .workload_as(Kind::new(BEACON).unwrap(), self.player.clone())
            .policy(Care::Usual.policy())
            .recover(recover)
            .statistics(StatisticsOptions::default().label("team"))
            .resume_jitter(Duration::ZERO)
            .wall_clock(self.clock.clone())
            .seed(7);
        let builder = match self.setup.places {
            Some(places) => builder.max_active(places),
            None => builder,
        };
        let builder = match self.setup.newest {
            Some(newest) => {
                builder.retention(Retention::default().events(NonZeroU64::new(newest).unwrap()))
            }
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
        self.handles.lock().unwrap().clear();
        tokio::time::sleep(ms(away)).await;
        self.began += ms(away);
        self.begin_worker(recover).await;
        let beacon = self.beacon.take().expect("it lives on").id();
        self.beacon = Some(self.supervisor().session(beacon).await.unwrap().typed().unwrap());
        self.ask_supervisor(call, async |supervisor| supervisor.recovered().await);
    }

    pub(super) fn hear(&self, call: Call, answer: impl Said) {
        hear(&self.heard, call, answer);
    }

    /// Asks a session, and listens.
    pub(super) async fn ask<A: Said>(
        &self,
        call: Call,
        who: Who,
        verb: impl AsyncFnOnce(SessionHandle<Player>) -> A + 'static,
    ) {
        let session = match self.session(who).await {
            Ok(session) => session,
            Err(error) => return self.hear(call, error),
        };
        let heard = Arc::clone(&self.heard);
        tokio::task::spawn_local(async move {
            let answer = verb(session).await;
            hear(&heard, call, answer);
        });
    }

    /// The same of the supervisor, as long as it lives.
    fn ask_supervisor<A: Said>(
        &self,
        call: Call,
        verb: impl AsyncFnOnce(Supervisor) -> A + 'static,
    ) {
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
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is not as it should be\n  is     {is:#?}\n  should {should:#?}"))
    }
}

/// Where the model allows one of several answers, the one that was given.
fn chosen(should: Option<&Vec<Answer>>, is: Option<&Vec<Answer>>) -> Option<Vec<Answer>> {
    let is = |place: usize| is.and_then(|is| is.get(place));
    let choose = |(place, should): (usize, &Answer)| match (should, is(place)) {
        (Answer::OneOf(any), Some(is)) if any.contains(is) => is.clone(),
        _ => should.clone(),
    };
    should.map(|should| should.iter().enumerate().map(choose).collect())
}

fn hear(heard: &Mutex<Heard>, call: Call, answer: impl Said) {
    let mut heard = heard.lock().unwrap();
    let answer = answer.said(&mut heard.known);
    heard.answers.entry(call).or_default().push(answer);
}
