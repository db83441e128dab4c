//! Lives without fault, to be spoilt.

use super::*;

/// The tag of an input that rolls its session over.
pub(super) const ROLLS_OVER: u64 = 1000;
/// The tag of an input that starts a child, which has nothing to do; or completes at its first input.
pub(super) const BEARS: u64 = 1001;
pub(super) const BEARS_WHAT_ENDS: u64 = 1002;
/// The tag of an input that sends its session to sleep, once, and for how long.
pub(super) const SLEEPS: u64 = 1003;
pub(super) const SLEEP: TimeDelta = TimeDelta::seconds(10);
/// What is added to these tags for that input.
const OF_CHILD: u64 = 1000;
/// The tag of an input at which a session completes.
pub(super) const ENDS: u64 = BEARS_WHAT_ENDS + OF_CHILD;

/// The tag of the input that tells of the end of a child.
pub(super) fn end_tag(child: SessionId) -> u64 {
    child.as_uuid().as_u64_pair().1 >> 2
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Applied {
    applied: Vec<(u64, u64)>,
    inherited: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Tagged {
    pub(super) tag: u64,
}

pub(super) struct Honest(Book);

impl Workload for Honest {
    const KIND: &'static str = "honest";
    const STATE_VERSION: u32 = 1;
    type State = Applied;
    type Input = Tagged;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let (session, run) = (cx.session(), cx.run().id());
        let enter = |did| self.0.run(session, run, did);
        enter(Did::Begin);
        let mut number = 0;
        while let Some(input) = cx.next_input().await? {
            let (sequence, tag) = (input.sequence(), input.tag);
            enter(Did::Take { input: sequence, attempt: input.attempt(), tag });
            cx.state_mut().applied.push((sequence, tag));
            number += 1;
            cx.emit(Event::custom("n", number)).await?;
            enter(Did::Emit(number));
            cx.record_usage(Usage::tokens(7, 0));
            enter(Did::Spend(7));
            let call = async |_| {
                enter(Did::Call { input: sequence, step: 1, told: false });
                Ok::<_, WorkloadError>(())
            };
            cx.step("one", call).await?;
            enter(Did::Given { input: sequence, step: 1 });
            if tag == BEARS || tag == BEARS_WHAT_ENDS {
                let first = tag + OF_CHILD;
                enter(Did::Bear { key: tag, first });
                let start = Start::<Self>::new(Applied::default()).input(Tagged { tag: first });
                let child = cx.start_child(tag.to_string().parse()?, start).await?.id();
                enter(Did::Bore { key: tag, child });
            }
            if tag == ENDS {
                enter(Did::End);
                return Ok(Outcome::Completed);
            }
            if tag == SLEEPS && input.attempt() == 1 {
                enter(Did::Sleep);
                enter(Did::End);
                return Ok(Outcome::sleep_until(input.accepted_at() + SLEEP));
            }
            if tag == ROLLS_OVER {
                enter(Did::RollOver { tag: None, moves: true });
                enter(Did::End);
                return Ok(cx.rollover(Rollover::new(Applied::default())));
            }
            let kept = cx.checkpoint().await?;
            enter(Did::Commit { sequence: kept.sequence, consumed: kept.consumed });
        }
        enter(Did::End);
        Ok(Outcome::Yielded)
    }

    fn on_child_end(&self, end: &ChildEnd) -> Option<Tagged> {
        let tag = end_tag(end.child);
        self.0.enter(Entry::EndTold { child: end.child, tag });
        Some(Tagged { tag })
    }

    async fn on_fork(
        &self,
        _: SessionId,
        _: SessionId,
        state: &mut Applied,
    ) -> Result<(), WorkloadError> {
        state.inherited.extend(state.applied.drain(..).map(|(_, tag)| tag));
        Ok(())
    }
}

/// Two inputs, a pause, a resume, one input more, a look at all of it, and a stop.
pub(super) async fn life() -> (MemoryStore, Ledger, SessionId) {
    let (store, book) = (MemoryStore::new(), Book::default());
    let builder = Supervisor::builder(store.clone()).workload(Honest(book.clone())).seed(1);
    let supervisor = builder.start().await.unwrap();
    let call = book.ask(None, Verb::Start { key: None, tag: Some(1) });
    let start = Start::<Honest>::new(Applied::default()).input(Tagged { tag: 1 });
    let session = supervisor.start(start).await.unwrap().into_handle();
    let id = session.id();
    book.answer(call, Answer::Started { session: id, repeated: false });
    let send = async |tag: u64| {
        let call = book.ask(Some(id), Verb::Send { id: None, tag });
        let receipt = session.send(Tagged { tag }).await.unwrap();
        book.answer(call, accepted(&receipt));
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let witness = Witness { book: book.clone(), session: session.clone() };
    send(2).await;
    witness.asks(Verb::Pause, async { session.pause().await.map(|_| ()) }).await;
    witness.asks(Verb::Resume, session.resume()).await;
    let labels = Labels::new([("set", "a")]).unwrap();
    witness.asks(Verb::SetLabels("a".into()), session.set_labels(labels)).await;
    send(3).await;
    let call = book.ask(Some(id), Verb::ReadEvents);
    let log = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
    book.answer(call, Answer::Events(log.iter().map(|e| (e.sequence, digest(e))).collect()));
    let stopped = async { session.stop().await?.ended().await.map(|_| ()) };
    witness.asks(Verb::Stop, stopped).await;
    let budget = Duration::from_secs(25);
    let took = supervisor.shutdown(budget).await.took;
    book.enter(Entry::ShutDown { budget, took, rested: Vec::new() });
    store.begin(generation()).await.unwrap();
    (store, book.read(), id)
}

/// Asks, and looks before and after.
pub(super) struct Witness {
    pub(super) book: Book,
    pub(super) session: SessionHandle<Honest>,
}

impl Witness {
    pub(super) async fn looks(&self) {
        let call = self.book.ask(Some(self.session.id()), Verb::Look);
        let status = self.session.status().await.unwrap();
        self.book.answer(call, Answer::Seen(Sight::from(&status)));
    }

    pub(super) async fn asks(
        &self,
        verb: Verb,
        done: impl Future<Output = Result<(), SessionError>>,
    ) {
        self.looks().await;
        let call = self.book.ask(Some(self.session.id()), verb);
        done.await.unwrap();
        self.book.answer(call, Answer::Done);
        self.looks().await;
    }
}

pub(super) fn accepted(receipt: &Receipt) -> Answer {
    let Receipt { session: by, sequence, repeated, .. } = *receipt;
    Answer::Accepted { by, sequence, repeated }
}

pub(super) fn generation() -> WorkerGeneration {
    "00000000-0000-7000-8000-000000000000".parse().unwrap()
}

/// The same session in the life of another worker, after [`life`].
pub(super) struct SecondLife {
    pub(super) store: MemoryStore,
    pub(super) supervisor: Supervisor,
    pub(super) clock: WallClock,
    pub(super) witness: Witness,
}

impl SecondLife {
    pub(super) async fn begin() -> Self {
        let (store, ledger, id) = life().await;
        let book = Book::default();
        book.go_on_from(ledger);
        let clock = WallClock::starting_at(DateTime::from_timestamp(2_000_000_000, 0).unwrap());
        let builder = Supervisor::builder(store.clone()).workload(Honest(book.clone())).seed(2);
        let counts = StatisticsOptions::default().label("set");
        let builder = builder.wall_clock(clock.clone()).statistics(counts);
        let supervisor = builder.start().await.unwrap();
        let session = supervisor.session(id).await.unwrap().typed::<Honest>().unwrap();
        Self { store, supervisor, clock, witness: Witness { book, session } }
    }

    /// Begins with a resume.
    pub(super) async fn resumed() -> Self {
        let second = Self::begin().await;
        let Witness { session, .. } = &second.witness;
        second.witness.asks(Verb::Resume, session.resume()).await;
        second
    }

    pub(super) fn book(&self) -> &Book {
        &self.witness.book
    }

    pub(super) fn session(&self) -> &SessionHandle<Honest> {
        &self.witness.session
    }

    pub(super) fn id(&self) -> SessionId {
        self.session().id()
    }

    pub(super) async fn sends(&self, tag: u64) {
        self.sends_to(self.id(), tag).await;
    }

    pub(super) async fn sends_to(&self, to: SessionId, tag: u64) {
        let call = self.book().ask(Some(to), Verb::Send { id: None, tag });
        let session = self.supervisor.session(to).await.unwrap().typed::<Honest>().unwrap();
        let receipt = session.send(Tagged { tag }).await.unwrap();
        self.book().answer(call, accepted(&receipt));
    }

    pub(super) async fn pauses(&self) {
        let paused = async { self.session().pause().await.map(|_| ()) };
        self.witness.asks(Verb::Pause, paused).await;
    }

    pub(super) async fn stops(&self) {
        let stopped = async { self.session().stop().await?.ended().await.map(|_| ()) };
        self.witness.asks(Verb::Stop, stopped).await;
    }

    /// Ends, with what is in the store and what was seen.
    pub(super) async fn ends(self) -> (MemoryStore, Ledger) {
        self.supervisor.shutdown(Duration::from_secs(25)).await;
        self.store.begin(generation()).await.unwrap();
        (self.store, self.witness.book.read())
    }
}

/// A second life with an input that waits, and a fork that gets it too.
pub(super) async fn forked_life() -> (MemoryStore, Ledger, SessionId) {
    let second = SecondLife::resumed().await;
    second.pauses().await;
    second.sends(4).await;
    let fork = Fork::<Honest>::new().copy_inputs().labels(Labels::default());
    let fork = second.supervisor.fork(second.id(), fork).await.unwrap().into_handle();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (store, ledger) = second.ends().await;
    (store, ledger, fork.id())
}
