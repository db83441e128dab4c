//! Random lives of a session, beside a model of it that fits on a page.

use std::{collections::VecDeque, time::Duration};

use proptest::{
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngAlgorithm, RngSeed, TestRunner},
};
use sessionkeeper::{
    Backoff, PauseCause, Policy, RecoverWhat, RestartPolicy, SendError, SessionError,
    SessionHandle, State,
};

use super::{consistent, policy, soon, status};
use crate::support::{BUDGET, Do, Scripted, Worker};

/// Longer than the window in which failures count, and than a suspect is watched.
const A_WHILE: Duration = Duration::from_secs(90);
const IDLE: Duration = Duration::from_secs(25 * 60);
const MAX_RESTARTS: u32 = 3;

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Send(Work),
    Pause,
    Resume,
    Stop,
    Kill,
    Complete,
    Fail,
    /// Nothing happens for longer than `idle_timeout`.
    BeIdle,
    Crash(RecoverWhat),
    Replace(RecoverWhat),
}

/// What an input makes the workload do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Add(i8),
    Fail(u32),
    GiveUp,
    Finish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let work = prop_oneof![
        12 => any::<i8>().prop_map(Work::Add),
        4 => (1..6_u32).prop_map(Work::Fail),
        1 => Just(Work::GiveUp),
        1 => Just(Work::Finish),
    ];
    let what = || {
        prop_oneof![
            3 => Just(RecoverWhat::All),
            1 => Just(RecoverWhat::ShutdownOnly),
            1 => Just(RecoverWhat::Nothing),
        ]
    };
    let step = prop_oneof![
        30 => work.prop_map(Step::Send),
        12 => Just(Step::Pause),
        16 => Just(Step::Resume),
        6 => Just(Step::Stop),
        3 => Just(Step::Kill),
        1 => Just(Step::Complete),
        1 => Just(Step::Fail),
        6 => Just(Step::BeIdle),
        6 => what().prop_map(Step::Crash),
        6 => what().prop_map(Step::Replace),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a session should be.
#[derive(Debug)]
struct Model {
    state: State,
    cause: Option<PauseCause>,
    waiting: VecDeque<Work>,
    /// How often the first of them was given to a run.
    attempts: u32,
    /// Failures within the window.
    failures: u32,
    accepted: u64,
    sum: i64,
}

/// What a verb should be answered with.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Refused(State),
}

impl Model {
    fn new() -> Self {
        Self {
            state: State::Active,
            cause: None,
            waiting: VecDeque::new(),
            attempts: 0,
            failures: 0,
            accepted: 0,
            sum: 0,
        }
    }

    fn rest(&mut self, state: State, cause: Option<PauseCause>) -> Answer {
        self.state = state;
        self.cause = cause;
        Answer::Done
    }

    /// Runs until there is nothing to do.
    fn run(&mut self) -> Answer {
        self.rest(State::Active, None);
        while let Some(work) = self.waiting.front().copied() {
            self.attempts += 1;
            match work {
                Work::Add(number) => self.sum += i64::from(number),
                Work::Fail(times) if self.attempts <= times => {
                    self.failures += 1;
                    if self.failures > MAX_RESTARTS {
                        return self.rest(State::Paused, Some(PauseCause::Quarantined));
                    }
                    continue;
                }
                Work::Fail(_) => self.sum += 1,
                Work::GiveUp => return self.rest(State::Failed, None),
                Work::Finish => {
                    self.waiting.pop_front();
                    return self.rest(State::Completed, None);
                }
            }
            self.waiting.pop_front();
            self.attempts = 0;
        }
        Answer::Done
    }

    fn step(&mut self, step: &Step) -> Answer {
        let from = self.state;
        let refused = Answer::Refused(from);
        match (step, from) {
            (Step::Send(work), State::Active | State::Paused) => {
                self.accepted += 1;
                self.waiting.push_back(*work);
                match self.cause {
                    None | Some(PauseCause::Idle) => self.run(),
                    Some(_) => Answer::Done,
                };
                Answer::Done
            }
            (Step::Send(_), _) => refused,
            (Step::Pause, State::Active) => self.rest(State::Paused, Some(PauseCause::Asked)),
            (Step::Pause, State::Paused) => {
                if self.cause != Some(PauseCause::Quarantined) {
                    self.cause = Some(PauseCause::Asked);
                }
                Answer::Done
            }
            (Step::Pause, _) => refused,
            (Step::Resume, State::Active) => Answer::Done,
            (Step::Resume, State::Paused | State::Stopped) => self.run_granted(),
            (Step::Resume, _) => refused,
            (Step::Stop | Step::Kill, State::Active | State::Paused | State::Stopped) => {
                self.rest(State::Stopped, None)
            }
            (Step::Stop | Step::Kill, _) => refused,
            (Step::Complete, State::Failed) => refused,
            (Step::Complete, _) => self.rest(State::Completed, None),
            (Step::Fail, State::Active | State::Paused | State::Failed) => {
                self.rest(State::Failed, None)
            }
            (Step::Fail, _) => refused,
            (Step::BeIdle, State::Active) => self.rest(State::Paused, Some(PauseCause::Idle)),
            (Step::Crash(RecoverWhat::ShutdownOnly | RecoverWhat::Nothing), State::Active) => {
                self.rest(State::Paused, Some(PauseCause::Interrupted))
            }
            (Step::Replace(RecoverWhat::Nothing), State::Active) => {
                self.rest(State::Paused, Some(PauseCause::Shutdown))
            }
            (Step::Crash(what) | Step::Replace(what), State::Paused) => {
                let woken = match (self.cause, what) {
                    (Some(PauseCause::Shutdown), what) => *what != RecoverWhat::Nothing,
                    (Some(PauseCause::Interrupted), what) => *what == RecoverWhat::All,
                    (_, _) => false,
                };
                if woken {
                    self.run_granted();
                }
                Answer::Done
            }
            (Step::BeIdle | Step::Crash(_) | Step::Replace(_), _) => Answer::Done,
        }
    }

    fn run_granted(&mut self) -> Answer {
        self.run();
        Answer::Done
    }
}

/// The session itself, with its worker.
struct Real {
    worker: Worker,
    session: SessionHandle<Scripted>,
}

fn answer<T>(answer: Result<T, SessionError>) -> Answer {
    match answer {
        Ok(_) => Answer::Done,
        Err(SessionError::Refused(refused)) => Answer::Refused(refused.from),
        Err(error) => panic!("{error:?}"),
    }
}

impl Real {
    async fn new() -> Self {
        let worker = Worker::with_policy(patient()).await;
        let session = worker.session_with(|start| start.policy(patient())).await;
        Self { worker, session }
    }

    async fn step(self, step: &Step) -> (Self, Answer) {
        let Self { mut worker, mut session } = self;
        let answered = match step {
            Step::Send(work) => {
                let input = match work {
                    Work::Add(number) => Do::Add(i64::from(*number)),
                    Work::Fail(times) => Do::FailTimes(*times),
                    Work::GiveUp => Do::FailForGood,
                    Work::Finish => Do::Complete,
                };
                match session.send(input).await {
                    Ok(_) => Answer::Done,
                    Err(SendError::NotAccepting { state, .. }) => Answer::Refused(state),
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::Pause => answer(session.pause().await),
            Step::Resume => answer(session.resume().await),
            Step::Stop => answer(session.stop().await),
            Step::Kill => answer(session.kill().await),
            Step::Complete => answer(session.complete().await),
            Step::Fail => answer(session.fail("enough").await),
            Step::BeIdle => {
                tokio::time::sleep(IDLE).await;
                Answer::Done
            }
            Step::Crash(what) | Step::Replace(what) => {
                if matches!(step, Step::Replace(_)) {
                    worker.supervisor.shutdown(BUDGET).await;
                }
                worker = worker.crash_and_restart_with(|builder| builder.recover(*what)).await;
                session = worker.again(&session).await;
                Answer::Done
            }
        };
        tokio::time::sleep(A_WHILE).await;
        (Self { worker, session }, answered)
    }

    async fn check(&self, model: &Model, why: &str) {
        let status = status(&self.session).await;
        assert_eq!(status.state(), model.state, "{why}");
        assert_eq!(status.pause_cause(), model.cause, "{why}");
        let inbox = status.record().inbox;
        assert_eq!(inbox.accepted, model.accepted, "{why}");
        assert_eq!(inbox.waiting(), model.waiting.len() as u64, "{why}");
        let done = self.session.snapshot().await.unwrap().state;
        assert_eq!(done.sum, model.sum, "{why}");
        assert_eq!(done.seen, (1..=inbox.consumed).collect::<Vec<_>>(), "{why}");
        let live = u32::from(model.state == State::Active);
        assert_eq!(self.worker.workload.probe.live(), live, "{why}");
        assert!(self.worker.workload.probe.most_live() <= 1, "{why}");
        consistent(&self.session).await;
    }
}

fn patient() -> Policy {
    let restart = RestartPolicy {
        max_restarts: MAX_RESTARTS,
        backoff: Backoff { initial: Duration::ZERO, ..Backoff::default() },
        ..RestartPolicy::default()
    };
    policy(|policy| policy.restart(restart).idle_timeout(IDLE))
}

async fn live(steps: &[Step]) {
    let mut model = Model::new();
    let mut real = Real::new().await;
    for (index, step) in steps.iter().enumerate() {
        let why = format!("step {index}, {step:?}, of {steps:?}");
        model.failures = 0;
        let expected = model.step(step);
        let answered;
        (real, answered) = soon(real.step(step)).await;
        assert_eq!(answered, expected, "{why}");
        real.check(&model, &why).await;
    }
}

/// G1, G3, G4: whatever is asked of a session, in whatever order, it is where the model is.
#[test]
fn a_session_lives_as_its_model_does() {
    let config = Config {
        cases: 300,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(0x5e55_1015),
        ..Config::default()
    };
    let run = TestRunner::new(config).run(&steps(), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(live(&steps));
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}
