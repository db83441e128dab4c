//! The steps of a life. A verb is one variant, and one line in each of [`draw::step`] (how often it
//! is taken), [`Step::expect`] (what the model does) and [`Step::take`] (what the library is asked).

mod draw;

use sessionkeeper::{OnInterrupt, OnParent, RecoverWhat, State};

pub(super) use self::draw::step;
use super::{
    care::Care,
    player::external_id,
    reference::{Answer, Branch, Call, Ms, Next, Reference, Together, Until, Who, Work},
    world::{World, labels, note_of, send},
};

/// What can be asked of a worker and its sessions, and what can befall them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Start {
        begin: Begin,
        in_slot: bool,
    },
    Send(Who, Input),
    /// It goes to the end of the chain.
    SendAlong(Who, Input),
    Pause(Who),
    Resume(Who),
    Stop(Who, Option<Ms>),
    Rollover(Who, Next),
    Fork {
        who: Who,
        /// How far the checkpoint is behind the newest, where one is named.
        back: Option<u64>,
        branch: Branch,
    },
    Latest(Who),
    /// Whether it may be stopped for that.
    Delete(Who, bool),
    /// A start with the id of that one.
    StartAs(Who),
    Interrupt(Who, OnInterrupt),
    /// The run that was so many before the last one.
    FindRun(Who, u32),
    StopRun(Who, u32),
    Complete(Who),
    Fail(Who),
    Label(Who, Option<u8>),
    Describe(Who, u8),
    SetExternal(Who, u8),
    Heartbeat(Who),
    WaitFor(Who, Vec<State>),
    Settled(Who),
    Find(Named),
    List {
        states: Vec<State>,
        team: Option<u8>,
        page: usize,
    },
    /// To all, or to those with a label.
    Together(Together, Option<u8>),
    Slot,
    DropSlot,
    /// Nothing happens for so long.
    Pass(Ms),
    /// The worker is lost, and after a while the next one begins.
    Crash {
        recover: RecoverWhat,
        away: Ms,
    },
    /// The worker shuts down, and after a while the next one begins.
    Replace {
        recover: RecoverWhat,
        away: Ms,
    },
}

/// What a session is started with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Begin {
    pub(super) key: Option<u8>,
    pub(super) name: Option<u8>,
    pub(super) external: Option<u8>,
    pub(super) team: Option<u8>,
    pub(super) care: Option<Care>,
    pub(super) work: Option<Work>,
    /// Whose child it is.
    pub(super) parent: Option<(Who, OnParent)>,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) id: Option<u8>,
    pub(super) urgent: bool,
    pub(super) work: Work,
}

impl Input {
    /// The first input of a session.
    pub(super) const fn of(work: Work) -> Self {
        Self { id: None, urgent: false, work }
    }
}

/// What a session is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Name(u8),
    External(u8),
    Key(u8),
}

/// What every step takes at least.
const STEP: Ms = 1_000;

impl Step {
    /// What the model answers. `None`: it will.
    pub(super) fn expect(&self, model: &mut Reference, call: Call) -> Option<Answer> {
        if self.who().is_some_and(|who| who >= model.sessions.len()) {
            return Some(Answer::Nobody);
        }
        let is_gone = self.who().is_some_and(|who| model.sessions[who].deleted.is_some());
        let may_know = matches!(
            self,
            Self::Start { .. }
                | Self::Delete(..)
                | Self::StartAs(_)
                | Self::Fork { .. }
                | Self::FindRun(..)
                | Self::StopRun(..)
        );
        if is_gone && !may_know {
            return Some(Answer::NotFound);
        }
        match self {
            Self::Start { begin, in_slot } => model.start(begin, *in_slot),
            Self::Send(who, input) => model.send(*who, *input),
            Self::SendAlong(who, input) => model.send_along(*who, *input),
            Self::Pause(who) => model.pause(*who, call),
            Self::Resume(who) => model.resume(*who, call),
            Self::Stop(who, grace) => model.stop(*who, *grace, call),
            Self::Rollover(who, next) => model.rollover(*who, next, call),
            Self::Fork { who, back, branch } => model.fork(*who, *back, branch),
            Self::Latest(who) => model.latest(*who),
            Self::Delete(who, stop_first) => model.delete(*who, *stop_first, call),
            Self::StartAs(who) => model.start_as(*who),
            Self::Interrupt(who, then) => model.interrupt(*who, *then),
            Self::FindRun(who, back) => model.find_run(*who, *back),
            Self::StopRun(who, back) => model.stop_run(*who, *back, call),
            Self::Complete(who) => model.complete(*who),
            Self::Fail(who) => model.fail(*who),
            Self::Label(who, team) => model.label(*who, *team),
            Self::Describe(who, note) => model.describe(*who, *note),
            Self::SetExternal(who, external) => model.set_external(*who, *external),
            Self::Heartbeat(who) => model.heartbeat(*who),
            Self::WaitFor(who, states) => model.wait_for(*who, Until::In(states.clone()), call),
            Self::Settled(who) => model.wait_for(*who, Until::Settled, call),
            Self::Find(named) => model.find(*named),
            Self::List { states, team, .. } => model.list(states, *team),
            Self::Together(what, team) => model.ask_all(*what, *team, call),
            Self::Slot => model.slot(call),
            Self::DropSlot => model.drop_slot(),
            Self::Pass(_) => Some(Answer::Done),
            Self::Crash { recover, away } => {
                model.crash();
                model.begin_worker(call, *recover, *away);
                None
            }
            Self::Replace { recover, away } => {
                model.shut_down();
                model.begin_worker(call, *recover, *away);
                None
            }
        }
    }

    /// Asks the library for the same.
    pub(super) async fn take(&self, world: &mut World, call: Call) {
        if self.who().is_some_and(|who| who >= world.sessions()) {
            return world.hear(call, Answer::Nobody);
        }
        match self.clone() {
            Self::Start { begin, in_slot } => world.start(call, &begin, in_slot),
            Self::Send(who, input) => {
                world.ask(call, who, async move |s| send(&s, input).await).await;
            }
            Self::SendAlong(who, input) => {
                world.ask(call, who, async move |s| send(&s.following(), input).await).await;
            }
            Self::Rollover(who, next) => world.rollover(call, who, next).await,
            Self::Fork { who, back, branch } => world.fork(call, who, back, &branch).await,
            Self::Latest(who) => world.ask(call, who, async |s| s.latest().await).await,
            Self::Pause(who) => world.ask(call, who, async |s| s.pause().await).await,
            Self::Resume(who) => world.ask(call, who, async |s| s.resume().await).await,
            Self::Stop(who, grace) => world.stop(call, who, grace).await,
            Self::Delete(who, stop_first) => world.delete(call, who, stop_first).await,
            Self::StartAs(who) => world.start_as(call, who).await,
            Self::Interrupt(who, then) => {
                world.ask(call, who, async move |s| s.interrupt(then).await).await;
            }
            Self::FindRun(who, back) => world.find_run(call, who, back),
            Self::StopRun(who, back) => world.stop_run(call, who, back).await,
            Self::Complete(who) => world.ask(call, who, async |s| s.complete().await).await,
            Self::Fail(who) => world.ask(call, who, async |s| s.fail("enough").await).await,
            Self::Label(who, team) => {
                world.ask(call, who, async move |s| s.set_labels(labels(team)).await).await;
            }
            Self::Describe(who, note) => {
                world.ask(call, who, async move |s| s.set_metadata(note_of(note)).await).await;
            }
            Self::SetExternal(who, number) => {
                let id = external_id(number);
                world.ask(call, who, async move |s| s.set_external_id(id).await).await;
            }
            Self::Heartbeat(who) => world.heartbeat(call, who).await,
            Self::WaitFor(who, states) => {
                world.ask(call, who, async move |s| s.wait_for(&states).await).await;
            }
            Self::Settled(who) => world.ask(call, who, async |s| s.settled().await).await,
            Self::Find(named) => world.find(call, named).await,
            Self::List { states, team, page } => world.list(call, states, team, page).await,
            Self::Together(what, team) => world.ask_all(call, what, team),
            Self::Slot => world.slot(call),
            Self::DropSlot => world.drop_slot(call),
            Self::Pass(_) => world.hear(call, Answer::Done),
            Self::Crash { recover, away } => {
                world.crash().await;
                world.begin(call, recover, away).await;
            }
            Self::Replace { recover, away } => {
                world.shut_down().await;
                world.begin(call, recover, away).await;
            }
        }
    }

    /// How long it takes, at least.
    pub(super) fn lasts(&self) -> Ms {
        if let Self::Pass(span) = self { *span } else { STEP }
    }

    /// The session that is meant.
    fn who(&self) -> Option<Who> {
        match self {
            Self::Start { begin: Begin { parent: Some((who, _)), .. }, .. }
            | Self::Send(who, _)
            | Self::SendAlong(who, _)
            | Self::Rollover(who, _)
            | Self::Fork { who, .. }
            | Self::Latest(who)
            | Self::Delete(who, _)
            | Self::FindRun(who, _)
            | Self::StopRun(who, _)
            | Self::Interrupt(who, _)
            | Self::StartAs(who)
            | Self::Pause(who)
            | Self::Resume(who)
            | Self::Stop(who, _)
            | Self::Complete(who)
            | Self::Fail(who)
            | Self::Label(who, _)
            | Self::Describe(who, _)
            | Self::SetExternal(who, _)
            | Self::Heartbeat(who)
            | Self::WaitFor(who, _)
            | Self::Settled(who) => Some(*who),
            Self::Start { begin: Begin { parent: None, .. }, .. }
            | Self::Find(_)
            | Self::List { .. }
            | Self::Together(..)
            | Self::Slot
            | Self::DropSlot
            | Self::Pass(_)
            | Self::Crash { .. }
            | Self::Replace { .. } => None,
        }
    }
}
