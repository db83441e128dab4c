//! One run: turn after turn, until it ends; and what follows then.

use serde::{Deserialize, Serialize};
use sessionkeeper::{Cause, OnIdle, OnSilence, PauseCause, State};

use super::{Call, Care, End, Line, Ms, Reference, Who, verbs::Answer};

/// What a session has done: its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Done {
    pub(in crate::model) sum: i64,
    /// The inputs that it saw, each as often as its effects were kept.
    pub(in crate::model) seen: Vec<u64>,
}

/// What an input makes its workload do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) enum Work {
    /// Add to the sum.
    Add(i8),
    /// Fail, on the first attempts; then it is nothing.
    Fail(u32),
    /// The same, with a panic.
    Panic(u32),
    /// Fail at the first attempt, and name the wait.
    RetryAfter(Ms),
    /// Return though nobody asked, on the first attempts.
    Yield(u32),
    /// Keep what was added in the middle of the turn, and fail, at the first attempt.
    Save(i8),
    /// Emit events, use something, and set the external id.
    Tell { events: u8, external: Option<u8> },
    /// Fail for good.
    GiveUp,
    /// Complete.
    Finish,
    /// Go on for a while.
    Last(Manner, Ms),
}

/// What a work that lasts shows of itself. Only the polite one heeds a request to yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) enum Manner {
    Silent,
    Beating,
    Busy,
    /// Declared for half of the time that it takes.
    Late,
    Awaiting,
    Polite,
}

/// A run that is alive in this worker.
#[derive(Debug, Clone)]
pub(in crate::model) struct Alive {
    pub(super) since: Ms,
    pub(in crate::model) doing: Doing,
    pub(in crate::model) intent: Intent,
    /// It was asked to yield, and is cancelled then.
    asked: Option<Ms>,
    /// Calls that wait for the session to be paused.
    pub(super) pausers: Vec<Call>,
    /// A pause was withdrawn.
    pub(super) recalled: bool,
    /// It consumed an input.
    pub(super) progressed: bool,
    /// What it did may not be kept.
    pub(super) fenced: bool,
    /// Whether it has an input in hand.
    pub(super) in_hand: bool,
    /// The state that no checkpoint has yet.
    state: Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Doing {
    /// It begins.
    Starting,
    /// It waits for an input.
    Resting { since: Ms },
    /// It works, and gave its last sign then.
    Working { manner: Manner, until: Ms, sign: Ms },
    /// It has returned, and cleans up.
    Closing { until: Ms, end: End, retry: Retry },
}

/// What the session wants of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Intent {
    Run,
    Pause(PauseCause),
    Silence,
}

/// What an error says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Retry {
    ByPolicy,
    Never,
    After(Ms),
}

/// What is due in the life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunDue {
    WorkOver,
    Cancel,
    Silence,
    Idle,
    Closed,
    Proven,
}

/// A session is not suspected any more when its run is as old as this.
const PROVEN: Ms = 60_000;

impl Alive {
    /// What is due, and when.
    pub(super) fn due(&self, care: Care, suspected: bool) -> Vec<(Ms, RunDue)> {
        let mut due = Vec::new();
        match self.doing {
            Doing::Starting => {}
            Doing::Resting { since } => due.push((since + care.idle(), RunDue::Idle)),
            Doing::Working { manner, until, sign } => {
                due.push((until, RunDue::WorkOver));
                match (self.asked, manner) {
                    (Some(cancel), _) => due.push((cancel, RunDue::Cancel)),
                    (None, Manner::Silent | Manner::Polite) => {
                        due.push((sign + care.heartbeat(), RunDue::Silence));
                    }
                    (None, Manner::Beating | Manner::Busy | Manner::Late | Manner::Awaiting) => {}
                }
            }
            Doing::Closing { until, .. } => due.push((until, RunDue::Closed)),
        }
        if suspected {
            due.push((self.since + PROVEN, RunDue::Proven));
        }
        due
    }
}

impl Reference {
    /// A run begins: nothing stands against it, and there is a place.
    pub(super) fn begin(&mut self, who: Who, why: Cause) {
        self.bury(who);
        let session = &mut self.sessions[who];
        session.lost = false;
        session.backoff = None;
        session.place = true;
        // Whatever made it run, those who wanted it resumed have what they asked for.
        for call in self.take_resumes(who) {
            self.answer(call, Answer::Done);
        }
        self.go(who, State::Active, why);
        let session = &mut self.sessions[who];
        session.runs += 1;
        session.restarts += u32::from(why == Cause::Restarted);
        session.open = true;
        self.launch(who, Vec::new());
    }

    /// An idle run has an input.
    pub(super) fn wake_run(&mut self, who: Who) {
        if let Some(run) = &mut self.sessions[who].alive
            && matches!(run.doing, Doing::Resting { .. })
        {
            run.doing = Doing::Starting;
            self.next_input(who);
        }
    }

    /// A sign of life from outside.
    pub(super) fn beat(&mut self, who: Who) -> bool {
        let now = self.now;
        match self.sessions[who].alive.as_mut().map(|run| &mut run.doing) {
            None => return false,
            Some(Doing::Resting { since: sign } | Doing::Working { sign, .. }) => *sign = now,
            Some(Doing::Starting | Doing::Closing { .. }) => {}
        }
        true
    }

    /// The run begins to work. A pause may have come before.
    pub(super) fn launch(&mut self, who: Who, pausers: Vec<Call>) {
        self.sessions[who].alive = Some(Alive {
            since: self.now,
            doing: Doing::Starting,
            intent: Intent::Run,
            asked: None,
            pausers: Vec::new(),
            recalled: false,
            progressed: false,
            fenced: false,
            in_hand: false,
            state: self.sessions[who].done.clone(),
        });
        for call in pausers {
            self.pause_run(who, call);
        }
        self.next_input(who);
    }

    /// The run of a session.
    pub(super) fn run(&mut self, who: Who) -> &mut Alive {
        self.sessions[who].alive.as_mut().expect("it has one")
    }

    /// The run asks for its next input: it yields if it must, and rests if there is none.
    fn next_input(&mut self, who: Who) {
        let now = self.now;
        let session = &mut self.sessions[who];
        let Some(run) = session.alive.as_mut().filter(|run| run.doing == Doing::Starting) else {
            return;
        };
        if run.asked.is_some() || session.state != State::Active {
            return self.end(who, End::Yielded, Retry::ByPolicy);
        }
        if session.consumed == session.inputs.len() as u64 {
            run.doing = Doing::Resting { since: now };
            session.recoveries = 0;
            return;
        }
        let input = session.consumed + 1;
        let before = session.in_hand.map_or(0, |(_, attempt)| attempt);
        session.in_hand = Some((input, before + 1));
        run.in_hand = true;
        run.state.seen.push(input);
        let work = session.inputs[input as usize - 1].work;
        self.work(who, work, before + 1);
    }

    fn work(&mut self, who: Who, work: Work, attempt: u32) {
        let now = self.now;
        match work {
            Work::Add(number) => self.run(who).state.sum += i64::from(number),
            Work::Fail(times) if attempt <= times => {
                return self.end(who, End::Failed, Retry::ByPolicy);
            }
            Work::Panic(times) if attempt <= times => {
                return self.end(who, End::Panicked, Retry::ByPolicy);
            }
            Work::RetryAfter(wait) if attempt == 1 => {
                return self.end(who, End::Failed, Retry::After(wait));
            }
            Work::Yield(times) if attempt <= times => {
                return self.end(who, End::Yielded, Retry::ByPolicy);
            }
            Work::Save(number) if attempt == 1 => {
                self.run(who).state.sum += i64::from(number);
                self.checkpoint(who);
                return self.end(who, End::Failed, Retry::ByPolicy);
            }
            Work::Fail(_) | Work::Panic(_) | Work::RetryAfter(_) | Work::Yield(_) => {}
            Work::Save(_) => {}
            Work::Tell { events, external } => {
                let session = &mut self.sessions[who];
                session.log.extend((0..events).map(|_| Line::Event));
                session.log.push(Line::Usage);
                if external.is_some() {
                    session.external = external;
                }
                session.log.extend(external.map(Line::External));
            }
            Work::GiveUp => return self.end(who, End::Failed, Retry::Never),
            Work::Finish => return self.end(who, End::Completed, Retry::ByPolicy),
            Work::Last(manner, span) => {
                let span = if manner == Manner::Late { span / 2 } else { span };
                self.run(who).doing = Doing::Working { manner, until: now + span, sign: now };
                return;
            }
        }
        self.turn_over(who);
    }

    /// The turn ends: the state and the input that it covers are one checkpoint.
    fn turn_over(&mut self, who: Who) {
        self.run(who).doing = Doing::Starting;
        self.consume(who);
        self.next_input(who);
    }

    pub(super) fn consume(&mut self, who: Who) {
        self.checkpoint(who);
        let session = &mut self.sessions[who];
        if let Some((input, _)) = session.in_hand.take() {
            session.consumed = input;
        }
        let run = self.run(who);
        run.in_hand = false;
        run.progressed = true;
    }

    pub(super) fn checkpoint(&mut self, who: Who) {
        let state = self.run(who).state.clone();
        let session = &mut self.sessions[who];
        session.done = state;
        session.recoveries = 0;
        session.failures.without_checkpoint = 0;
    }

    /// Asks the run of a session to yield; without a grace it is cancelled.
    pub(super) fn ask(&mut self, who: Who, grace: Ms) {
        let now = self.now;
        let run = self.run(who);
        if matches!(run.doing, Doing::Closing { .. }) {
            // It is on its way already.
        } else if grace == 0 {
            self.end(who, End::Cancelled, Retry::ByPolicy);
        } else {
            run.asked = Some(run.asked.map_or(now + grace, |asked| asked.min(now + grace)));
            match run.doing {
                Doing::Resting { .. } | Doing::Working { manner: Manner::Polite, .. } => {
                    self.end(who, End::Yielded, Retry::ByPolicy);
                }
                Doing::Starting | Doing::Working { .. } | Doing::Closing { .. } => {}
            }
        }
    }

    pub(super) fn pause_run(&mut self, who: Who, call: Call) {
        let grace = self.sessions[who].care.pause_grace();
        let run = self.run(who);
        run.pausers.push(call);
        match run.intent {
            Intent::Pause(_) => run.intent = Intent::Pause(PauseCause::Asked),
            Intent::Silence => {}
            Intent::Run => self.pause_for(who, PauseCause::Asked, grace),
        }
    }

    pub(super) fn pause_for(&mut self, who: Who, cause: PauseCause, grace: Ms) {
        self.run(who).intent = Intent::Pause(cause);
        self.ask(who, grace);
    }

    /// The pause of a run is withdrawn.
    pub(super) fn recall(&mut self, who: Who) {
        self.supersede_pausers(who, "resume");
        let run = self.run(who);
        run.intent = Intent::Run;
        run.recalled = true;
        run.asked = None;
    }

    pub(super) fn supersede_pausers(&mut self, who: Who, by: &'static str) {
        let run = self.sessions[who].alive.as_mut();
        for call in run.map(|run| std::mem::take(&mut run.pausers)).unwrap_or_default() {
            self.answer(call, Answer::Superseded(by));
        }
    }

    pub(super) fn run_due(&mut self, who: Who, due: RunDue) {
        let session = &mut self.sessions[who];
        let care = session.care;
        let Some(run) = &mut session.alive else { return };
        match due {
            RunDue::WorkOver => match run.doing {
                Doing::Working { manner: Manner::Late, .. } => {
                    self.end(who, End::Failed, Retry::ByPolicy);
                }
                _ => self.turn_over(who),
            },
            RunDue::Cancel => self.end(who, End::Cancelled, Retry::ByPolicy),
            RunDue::Silence => {
                run.fenced = true;
                run.intent = Intent::Silence;
                if care.on_silence() == OnSilence::Expire {
                    self.go(who, State::Expired, Cause::Silence);
                }
                self.end(who, End::Cancelled, Retry::ByPolicy);
            }
            RunDue::Idle => match care.on_idle() {
                OnIdle::Pause => {
                    self.pause_for(who, PauseCause::Idle, care.pause_grace());
                }
                OnIdle::Expire => {
                    run.fenced = true;
                    self.go(who, State::Expired, Cause::IdleTimeout);
                    self.end(who, End::Cancelled, Retry::ByPolicy);
                }
            },
            RunDue::Closed => {
                if let Doing::Closing { end, retry, .. } = run.doing {
                    self.gone(who, end, retry);
                }
            }
            RunDue::Proven => session.recoveries = 0,
        }
    }
}
