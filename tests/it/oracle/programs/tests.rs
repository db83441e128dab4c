//! The oracle finds nothing wrong with what real programs did, and finds whatever is spoilt of it.

use std::time::Duration;

use sessionkeeper::{
    Cause, Event, EventRecord, Fact, Lifecycle, Limit, RunEnd, SessionId, Start, State, Supervisor,
    WorkerGeneration,
    process::{OnPause, OutputFormat, ProcessInput, ProcessSpecBuilder, ProcessState, Stdin},
    store::{MemoryStore, Store},
};

use super::{Alive, Fate, Nature, Program, Rest, compare, judge};
use crate::{
    oracle::{
        Found, find,
        ledger::{Answer, Book, Entry, Ledger, Verb},
    },
    programs::{
        kit::{Handle, Programs, has_printed, once, programs, settled, turn_done},
        simulation::{kinds::numbered, looks::Looker},
    },
};

/// The sessions of a life, by what became of them.
#[derive(Debug, Clone, Copy)]
struct Cast {
    /// Frozen, resumed and stopped.
    stopped: SessionId,
    succeeded: SessionId,
    died: SessionId,
    /// An agent that answered two questions.
    answered: SessionId,
    /// Its worker shut down.
    shut_down: SessionId,
}

struct Witness {
    book: Book,
    looker: Looker,
    supervisor: Supervisor,
}

impl Witness {
    async fn starts(
        &self,
        fate: Fate,
        what: &str,
        set: fn(ProcessSpecBuilder) -> ProcessSpecBuilder,
    ) -> Handle {
        let spec = set(numbered("sh", what).stop_grace(Duration::from_secs(1))).build().unwrap();
        let call = self.book.ask(None, Verb::Start { key: None, tag: None });
        let start = Start::<Programs>::new(ProcessState::from(spec));
        let session = self.supervisor.start(start).await.unwrap().into_handle();
        self.book.answer(call, Answer::Started { session: session.id(), repeated: false });
        let nature = Nature { fate, obeys: None, is_dropped: false };
        self.sees(Program::Given { session: session.id(), nature });
        self.looker.add(session.id());
        session
    }

    fn sees(&self, program: Program) {
        self.book.enter(Entry::Program(program));
    }

    /// Asks, and looks whether it is so.
    async fn asks<T>(
        &self,
        id: SessionId,
        verb: Verb,
        rest: Option<Rest>,
        done: impl Future<Output = T>,
    ) {
        let asked = self.book.len();
        let call = self.book.ask(Some(id), verb);
        done.await;
        self.book.answer(call, Answer::Done);
        if let Some(rest) = rest {
            self.sees(Program::Told { session: id, asked, rest });
        }
        self.looker.look();
    }
}

async fn life() -> (MemoryStore, Ledger, Cast) {
    let (store, book) = (MemoryStore::new(), Book::default());
    let supervisor = Supervisor::builder(store.clone()).workload(programs()).policy(once());
    let supervisor = supervisor.start().await.unwrap();
    let looker = Looker::new(book.clone());
    let witness = Witness { book, looker, supervisor };
    witness.sees(Program::Begins);
    let shut_down = witness.starts(Fate::Lives, "ticks", |spec| spec).await;
    let frozen: fn(ProcessSpecBuilder) -> _ = |spec| spec.on_pause(OnPause::Freeze(Limit::Never));
    let stopped = witness.starts(Fate::Lives, "ticks", frozen).await;
    has_printed(&stopped, "line 2").await;
    let id = stopped.id();
    let pause = async { stopped.pause().await.unwrap() };
    witness.asks(id, Verb::Pause, Some(Rest::Frozen), pause).await;
    witness.asks(id, Verb::Resume, None, async { stopped.resume().await.unwrap() }).await;
    has_printed(&stopped, "line 5").await;
    let stop = async { stopped.stop().await.unwrap().ended().await.unwrap() };
    witness.asks(id, Verb::Stop, Some(Rest::Ended), stop).await;
    let succeeded = witness.starts(Fate::Exits(0), "quick", |spec| spec).await;
    let died = witness.starts(Fate::Dies(6), "dies", |spec| spec).await;
    let agent: fn(ProcessSpecBuilder) -> _ =
        |spec| spec.stdin(Stdin::Open).output(OutputFormat::JsonLines);
    let answered = witness.starts(Fate::Exits(0), "agent", agent).await;
    for (number, question) in (1..).zip(["this", "that"]) {
        answered.send(ProcessInput::Text(question.to_owned())).await.unwrap();
        turn_done(&answered, number).await;
    }
    answered.send(ProcessInput::EndOfFile).await.unwrap();
    for session in [&succeeded, &died, &answered] {
        settled(session).await;
    }
    has_printed(&shut_down, "line 1").await;
    let asked = witness.book.len();
    witness.sees(Program::Ends);
    let budget = Duration::from_secs(25);
    witness.supervisor.shutdown(budget).await;
    witness.sees(Program::Told { session: shut_down.id(), asked, rest: Rest::ShutDown });
    witness.looker.look();
    witness.book.enter(Entry::Lost);
    store.begin(WorkerGeneration::from_uuid(uuid::Uuid::max())).await.unwrap();
    let cast = Cast {
        stopped: stopped.id(),
        succeeded: succeeded.id(),
        died: died.id(),
        answered: answered.id(),
        shut_down: shut_down.id(),
    };
    (store, witness.book.read(), cast)
}

/// What was seen in the look after something was told.
fn seen_after(ledger: &mut Ledger, rest: Rest) -> &mut Vec<Alive> {
    let is_told = |entry: &Entry| matches!(entry, Entry::Program(Program::Told { rest: told, .. }) if *told == rest);
    let place = ledger.0.iter().position(is_told).unwrap();
    let seen = ledger.0[place..].iter_mut().find_map(|entry| match entry {
        Entry::Program(Program::Sees { alive, .. }) => Some(alive),
        _ => None,
    });
    seen.unwrap()
}

fn one(session: SessionId, launch: &str) -> Alive {
    Alive { pid: 7, began: 7, session, launch: launch.to_owned(), runs: true }
}

fn log(found: &mut Found, session: SessionId) -> &mut Vec<EventRecord> {
    &mut found.get_mut(&session).unwrap().log
}

/// Replaces something that was printed.
fn rewrite(found: &mut Found, session: SessionId, from: &str, to: &str) {
    for event in log(found, session) {
        if let Fact::Work(
            Event::Terminal { output: text, .. } | Event::Completion { message: text, .. },
        ) = &mut event.fact
        {
            *text = text.replacen(from, to, 1);
        }
    }
}

/// Changes what the end of a program is said to be.
fn say(found: &mut Found, session: SessionId, name: &str, value: i64) {
    for event in log(found, session) {
        if let Fact::Work(Event::Completion { stats, .. } | Event::Error { stats, .. }) =
            &mut event.fact
            && stats.get(name).is_some()
        {
            stats[name] = value.into();
        }
    }
}

/// Changes how the last run has ended.
fn end_as(found: &mut Found, session: SessionId, end: RunEnd) {
    for event in log(found, session) {
        if let Fact::Lifecycle(Lifecycle::RunEnded { how }) = &mut event.fact {
            *how = end.clone();
        }
    }
}

type Spoil = fn(&mut Found, &mut Ledger, Cast);

#[rustfmt::skip]
const SPOILT: &[(&str, Spoil, &str)] = &[
    ("a program that was stopped lives on", |_, ledger, cast| {
        seen_after(ledger, Rest::Ended).push(one(cast.stopped, "a"));
    }, "Ended since"),
    ("a program that was frozen runs", |_, ledger, cast| {
        seen_after(ledger, Rest::Frozen).push(one(cast.stopped, "a"));
    }, "Frozen since"),
    ("a program lives on after its worker", |_, ledger, cast| {
        seen_after(ledger, Rest::ShutDown).push(one(cast.shut_down, "a"));
    }, "ShutDown since"),
    ("two programs of one session", |_, ledger, cast| {
        let both = ["one", "another"].map(|launch| one(cast.shut_down, launch));
        seen_after(ledger, Rest::Frozen).extend(both);
    }, "are alive at once"),
    ("a line is lost", |found, _, cast| rewrite(found, cast.stopped, "line 2\n", ""), "are missing"),
    ("a line came twice", |found, _, cast| {
        rewrite(found, cast.stopped, "line 2\n", "line 2\nline 2\n");
    }, "2 was recorded after 2"),
    ("lines out of order", |found, _, cast| {
        rewrite(found, cast.succeeded, "line 2\nline 3\n", "line 3\nline 2\n");
    }, "2 was recorded after 3"),
    ("the last lines are lost", |found, _, cast| {
        rewrite(found, cast.succeeded, "line 20\n", "");
    }, "1 of 19 are missing"),
    ("the last words are lost", |found, _, cast| {
        rewrite(found, cast.died, "last 5\n", "");
    }, "nothing is recorded after"),
    ("something that it never printed", |found, _, cast| {
        rewrite(found, cast.succeeded, "line 2\n", "life 2\n");
    }, "it printed"),
    ("an answer is lost", |found, _, cast| {
        rewrite(found, cast.answered, "answer 1 to this", "answer 3 to this");
    }, "was recorded"),
    ("an input that was given twice", |found, _, cast| {
        rewrite(found, cast.answered, "to that", "to this");
    }, "twice"),
    ("an end that is told twice", |found, _, cast| {
        let log = log(found, cast.succeeded);
        let is_end = |event: &&EventRecord| matches!(&event.fact, Fact::Work(Event::Completion { .. }));
        let again = log.iter().find(is_end).unwrap().clone();
        log.push(again);
    }, "more than once"),
    ("a stop that nobody asked for", |_, ledger, _| {
        ledger.0.retain(|entry| !matches!(entry, Entry::Lost | Entry::Program(Program::Ends)));
    }, "asked false"),
    ("a death by another signal", |found, _, cast| say(found, cast.died, "signal", 11), "met []"),
    ("another exit code", |found, _, cast| say(found, cast.succeeded, "code", 5), "met []"),
    ("a death that is told as a success", |found, _, cast| {
        for event in log(found, cast.died) {
            if let Fact::Work(Event::Error { message, stats }) = &event.fact {
                let (message, stats) = (message.clone(), stats.clone());
                event.fact = Fact::Work(Event::Completion { message, stats });
            }
        }
    }, "told as something else"),
    ("a death that completes its session", |found, _, cast| {
        end_as(found, cast.died, RunEnd::Completed);
    }, "its run has completed"),
    ("a success that fails its session", |found, _, cast| {
        end_as(found, cast.succeeded, RunEnd::Failed { error: "no".to_owned() });
    }, "its run has failed"),
    ("a stop that fails its session", |found, _, cast| {
        end_as(found, cast.shut_down, RunEnd::Failed { error: "no".to_owned() });
    }, "its run has failed"),
    ("a stop of which the session knows nothing", |found, _, cast| {
        for event in log(found, cast.shut_down) {
            if let Fact::Lifecycle(Lifecycle::StateChanged { to: State::Paused, cause, .. }) = &mut event.fact {
                *cause = Cause::Returned;
            }
        }
    }, "its run has yielded"),
    ("a state that knows another end", |found, _, cast| {
        found.get_mut(&cast.died).unwrap().state["end"]["signal"] = 9.into();
    }, "its state says"),
    ("an end that is in the state alone", |found, _, cast| {
        log(found, cast.died).retain(|event| !matches!(event.fact, Fact::Work(Event::Error { .. })));
    }, "its state says"),
];

#[tokio::test]
async fn programs_without_fault_are_judged_to_be_so_and_whatever_is_spoilt_is_found() {
    let (store, ledger, cast) = life().await;
    assert_eq!(judge(&store, &ledger).await, Vec::<String>::new());
    let lines: String = ledger.0.iter().map(Entry::to_line).collect();
    assert_eq!(Ledger::from_lines(&lines), ledger);
    for (what, spoil, expected) in SPOILT {
        let (mut found, mut ledger) = (find(&store).await.unwrap(), ledger.clone());
        spoil(&mut found, &mut ledger, cast);
        let wrong = compare(&found, &ledger);
        assert!(wrong.iter().any(|wrong| wrong.contains(expected)), "{what}: {wrong:#?}");
    }
}
