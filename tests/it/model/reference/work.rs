//! What inputs make a workload do, as far as the model knows.

use serde::{Deserialize, Serialize};

use super::{
    Birth, End, Fresh, Line, Ms, Reference, Who,
    run::{Doing, Retry},
    sleep::Alarm,
};

/// What a session has done: its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::model) struct Done {
    pub(in crate::model) sum: i64,
    /// The inputs that it saw, each as often as its effects were kept.
    pub(in crate::model) seen: Vec<u64>,
    /// The ends of children that it waited for.
    pub(in crate::model) ends: Vec<String>,
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
    /// Sleep for so long, at the first attempt; whether an input wakes it.
    Sleep(Ms, bool),
    /// The same, once this input is over.
    Doze(Ms, bool),
    /// Start a child.
    Bear(Birth),
    /// Complete, and have a successor go on.
    RollOver(Fresh),
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

impl Reference {
    /// A turn: what the input that was given out makes of the run.
    pub(super) fn work(&mut self, who: Who, work: Work, attempt: u32) {
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
            Work::Sleep(span, woken_by_input) if attempt == 1 => {
                let at = self.wall_now() + span;
                self.run(who).alarm = Some(Alarm { at, woken_by_input });
                return self.end(who, End::Yielded, Retry::ByPolicy);
            }
            Work::Doze(span, woken_by_input) => {
                let at = self.wall_now() + span;
                self.run(who).alarm = Some(Alarm { at, woken_by_input });
                self.consume(who);
                return self.end(who, End::Yielded, Retry::ByPolicy);
            }
            Work::Fail(_) | Work::Panic(_) | Work::RetryAfter(_) | Work::Yield(_) => {}
            Work::Save(_) | Work::Sleep(..) => {}
            Work::Tell { events, external } => {
                let session = &mut self.sessions[who];
                session.log.extend((0..events).map(|_| Line::Event));
                session.log.push(Line::Usage);
                if external.is_some() {
                    session.external = external;
                }
                session.log.extend(external.map(Line::External));
            }
            Work::Bear(birth) => match self.bear(who, birth) {
                Ok(child) if birth.wait => {
                    self.run(who).doing = Doing::Child { child };
                    return;
                }
                Ok(_) => {}
                Err(_) => return self.end(who, End::Failed, Retry::ByPolicy),
            },
            Work::RollOver(fresh) => {
                self.run(who).fresh = Some(fresh);
                return self.end(who, End::Completed, Retry::ByPolicy);
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
}
