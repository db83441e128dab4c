//! One run: turn after turn, until it ends.

use std::collections::VecDeque;

use sessionkeeper::{Cause, OnIdle, OnInterrupt, OnSilence, PauseCause, State};

use super::{
    Call, Care, End, Ms, Reference, Who,
    family::paused_by,
    rollover::{Fresh, Next},
    sleep::Alarm,
    verbs::Answer,
    work::{Done, Manner},
};

/// A run that is alive in this worker.
#[derive(Debug, Clone)]
pub(in crate::model) struct Alive {
    pub(super) since: Ms,
    pub(in crate::model) doing: Doing,
    pub(in crate::model) intent: Intent,
    /// It was asked to yield, and is cancelled then.
    asked: Option<Ms>,
    pub(super) callers: Callers,
    /// A pause was withdrawn.
    pub(super) recalled: bool,
    /// How many inputs there were when it began.
    pub(super) began_with: u64,
    /// It completed for a successor.
    pub(super) fresh: Option<Fresh>,
    /// It returned in order to sleep.
    pub(super) alarm: Option<Alarm>,
    /// It consumed an input.
    pub(super) progressed: bool,
    /// What it did may not be kept.
    pub(super) fenced: bool,
    /// The input that it has in hand.
    pub(super) in_hand: Option<u64>,
    /// What becomes of that, since its turn was interrupted.
    pub(super) interrupted: Option<OnInterrupt>,
    /// The state that no checkpoint has yet.
    pub(super) state: Done,
}

/// Calls that are answered when the run has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Callers {
    /// They wait for the session to be paused.
    pub(super) pausers: Vec<Call>,
    /// They wait for its successor, the first of them first.
    pub(super) rollers: VecDeque<(Call, Next)>,
}

impl Callers {
    pub(super) fn is_empty(&self) -> bool {
        self.pausers.is_empty() && self.rollers.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Doing {
    /// It begins.
    Starting,
    /// It waits for an input.
    Resting { since: Ms },
    /// It works, and gave its last sign then.
    Working { manner: Manner, until: Ms, sign: Ms },
    /// It waits for the end of a child.
    Child { child: Who },
    /// It has returned, and cleans up.
    Closing { until: Ms, end: End, retry: Retry },
}

/// What the session wants of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Intent {
    Run,
    Pause(PauseCause),
    RollOver,
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
            Doing::Starting | Doing::Child { .. } => {}
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
        self.launch(who, Callers::default());
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
            Some(Doing::Starting | Doing::Child { .. } | Doing::Closing { .. }) => {}
        }
        true
    }

    /// The run begins to work. Who waits for the end of the last one waits for that of this one.
    pub(super) fn launch(&mut self, who: Who, callers: Callers) {
        self.sessions[who].alive = Some(Alive {
            since: self.now,
            doing: Doing::Starting,
            intent: Intent::Run,
            asked: None,
            callers: Callers::default(),
            recalled: false,
            began_with: self.sessions[who].inbox.all.len() as u64,
            fresh: None,
            alarm: None,
            progressed: false,
            fenced: false,
            in_hand: None,
            interrupted: None,
            state: self.sessions[who].kept[0].done.clone(),
        });
        for call in callers.pausers {
            self.pause_run(who, call);
        }
        for (call, next) in callers.rollers {
            self.roll_over_run(who, call, next);
        }
        self.heed(who);
        self.inherit_words(who);
        if self.recovery.is_some() {
            self.begun.push(who);
        } else {
            self.next_input(who);
        }
    }

    /// The run of a session.
    pub(super) fn run(&mut self, who: Who) -> &mut Alive {
        self.sessions[who].alive.as_mut().expect("it has one")
    }

    /// The run asks for its next input: it yields if it must, and rests if there is none.
    pub(super) fn next_input(&mut self, who: Who) {
        let now = self.now;
        let session = &mut self.sessions[who];
        let Some(run) = session.alive.as_mut().filter(|run| run.doing == Doing::Starting) else {
            return;
        };
        if run.asked.is_some() || session.state != State::Active {
            return self.end(who, End::Yielded, Retry::ByPolicy);
        }
        let Some((input, attempt)) = session.inbox.give() else {
            run.doing = Doing::Resting { since: now };
            session.recoveries = 0;
            return;
        };
        run.in_hand = Some(input);
        run.state.seen.push(input);
        let work = session.inbox.input(input).work;
        self.work(who, work, attempt);
    }

    /// The turn ends: the state and the input that it covers are one checkpoint.
    pub(super) fn turn_over(&mut self, who: Who) {
        self.run(who).doing = Doing::Starting;
        self.consume(who);
        self.next_input(who);
    }

    /// An input whose turn is interrupted may have to be given out again.
    pub(super) fn consume(&mut self, who: Who) {
        let run = self.run(who);
        let input = run.in_hand.take();
        let again = run.interrupted.take() == Some(OnInterrupt::Redeliver);
        run.progressed |= input.is_some() && !again;
        if !again {
            self.sessions[who].inbox.end_turn(input);
        }
        self.checkpoint(who);
    }

    pub(super) fn checkpoint(&mut self, who: Who) {
        let state = self.run(who).state.clone();
        let session = &mut self.sessions[who];
        session.keep(state);
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
                Doing::Resting { .. }
                | Doing::Child { .. }
                | Doing::Working { manner: Manner::Polite, .. } => {
                    self.end(who, End::Yielded, Retry::ByPolicy);
                }
                Doing::Starting | Doing::Working { .. } | Doing::Closing { .. } => {}
            }
        }
    }

    pub(super) fn pause_run(&mut self, who: Who, call: Call) {
        let grace = self.sessions[who].care.pause_grace();
        let run = self.run(who);
        run.callers.pausers.push(call);
        let (cause, _) = paused_by(call);
        match run.intent {
            // A person's word stays.
            Intent::Pause(PauseCause::Asked) => {}
            Intent::Pause(_) => run.intent = Intent::Pause(cause),
            Intent::RollOver | Intent::Silence => {}
            Intent::Run => self.pause_for(who, cause, grace),
        }
    }

    pub(super) fn pause_for(&mut self, who: Who, cause: PauseCause, grace: Ms) {
        self.run(who).intent = Intent::Pause(cause);
        self.ask(who, grace);
    }

    /// The pause of a run is withdrawn. A rollover that waited behind it is next.
    pub(super) fn recall(&mut self, who: Who) {
        self.supersede_pausers(who, "resume");
        let run = self.run(who);
        run.intent = Intent::Run;
        run.recalled = true;
        run.asked = None;
        for (call, next) in std::mem::take(&mut run.callers.rollers) {
            self.roll_over_run(who, call, next);
        }
    }

    pub(super) fn supersede_pausers(&mut self, who: Who, by: &'static str) {
        let run = self.sessions[who].alive.as_mut();
        for call in run.map(|run| std::mem::take(&mut run.callers.pausers)).unwrap_or_default() {
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
                    self.ask_children();
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
                    self.ask_children();
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
