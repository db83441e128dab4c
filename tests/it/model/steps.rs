//! The steps of a life. A verb is one variant, and one line in each of [`step`] (how often it is
//! taken), [`Step::expect`] (what the model does) and [`Step::take`] (what the library is asked).

use proptest::{
    option::of,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::{select, subsequence},
};
use sessionkeeper::{RecoverWhat, State};

use super::{
    care::Care,
    player::external_id,
    reference::{Answer, Call, Manner, Ms, Reference, Session, Until, Who, Work},
    world::{Said, World, labels, note_of, send},
};

/// What can be asked of a worker and its sessions, and what can befall them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Start {
        begin: Begin,
        in_slot: bool,
    },
    Send(Who, Input),
    Pause(Who),
    Resume(Who),
    Stop(Who, Option<Ms>),
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
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) id: Option<u8>,
    pub(super) work: Work,
}

/// What a session is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Name(u8),
    External(u8),
    Key(u8),
}

/// At most so many sessions: a step that means a later one means nobody, until it exists.
const SESSIONS: Who = 4;
/// What every step takes at least.
const STEP: Ms = 1_000;

/// How often each step is taken.
pub(super) fn step(model: &Reference) -> impl Strategy<Value = Step> + use<> {
    let sessions = model.sessions.len();
    let who = || 0..sessions.clamp(1, SESSIONS);
    // A crash seldom comes alone.
    let is_suspected = |session: &Session| session.recoveries > 0;
    let crashes = if model.sessions.iter().any(is_suspected) { 25 } else { 6 };
    let few = || 0..3_u8;
    let starts = if sessions < SESSIONS { 8 } else { 2 };
    let away = || prop_oneof![2 => Just(0), 1 => Just(1_000_000)];
    let recover = || {
        use RecoverWhat::{All, Nothing, ShutdownOnly};
        prop_oneof![4 => Just(All), 1 => Just(ShutdownOnly), 1 => Just(Nothing)]
    };
    let states = || subsequence(&State::ALL[..], 0..4);
    let lasting = vec![State::Stopped, State::Completed, State::Failed, State::Expired];
    let span = prop_oneof![6 => 1..15_u64, 6 => 15..60_u64, 2 => 60..160_u64];
    prop_oneof![
        starts => (begin(), any::<bool>())
            .prop_map(|(begin, in_slot)| Step::Start { begin, in_slot }),
        24 => (who(), input()).prop_map(|(who, input)| Step::Send(who, input)),
        12 => who().prop_map(Step::Pause),
        14 => who().prop_map(Step::Resume),
        5 => who().prop_map(|who| Step::Stop(who, None)),
        2 => who().prop_map(|who| Step::Stop(who, Some(1_930))),
        2 => who().prop_map(|who| Step::Stop(who, Some(0))),
        1 => who().prop_map(Step::Complete),
        1 => who().prop_map(Step::Fail),
        1 => (who(), of(few())).prop_map(|(who, team)| Step::Label(who, team)),
        1 => (who(), few()).prop_map(|(who, note)| Step::Describe(who, note)),
        1 => (who(), few()).prop_map(|(who, external)| Step::SetExternal(who, external)),
        3 => who().prop_map(Step::Heartbeat),
        2 => (who(), subsequence(lasting, 1..3))
            .prop_map(|(who, states)| Step::WaitFor(who, states)),
        2 => who().prop_map(Step::Settled),
        3 => (0..3_u8, 0..3_u8).prop_map(|(kind, which)| Step::Find(match kind {
            0 => Named::Name(which),
            1 => Named::External(which),
            _ => Named::Key(which),
        })),
        3 => (states(), of(few()), 1..4_usize)
            .prop_map(|(states, team, page)| Step::List { states, team, page }),
        2 => Just(Step::Slot),
        2 => Just(Step::DropSlot),
        16 => span.prop_map(|seconds| Step::Pass(seconds * 1_000)),
        crashes => (recover(), away()).prop_map(|(recover, away)| Step::Crash { recover, away }),
        5 => (recover(), away()).prop_map(|(recover, away)| Step::Replace { recover, away }),
    ]
}

fn begin() -> impl Strategy<Value = Begin> {
    let rare = || prop_oneof![3 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let care = of(select(&Care::ALL[..]));
    (rare(), rare(), rare(), rare(), care, of(work())).prop_map(
        |(key, name, external, team, care, work)| Begin { key, name, external, team, care, work },
    )
}

fn input() -> impl Strategy<Value = Input> {
    let id = prop_oneof![4 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    (id, work()).prop_map(|(id, work)| Input { id, work })
}

fn work() -> impl Strategy<Value = Work> {
    use Manner::{Awaiting, Beating, Busy, Late, Polite, Silent};
    let manner = prop_oneof![
        4 => Just(Silent),
        2 => Just(Beating),
        1 => Just(Busy),
        1 => Just(Late),
        1 => Just(Awaiting),
        2 => Just(Polite),
    ];
    prop_oneof![
        8 => any::<i8>().prop_map(Work::Add),
        4 => (1..4_u32).prop_map(Work::Fail),
        1 => (1..4_u32).prop_map(Work::Panic),
        1 => (1..30_u64).prop_map(|seconds| Work::RetryAfter(seconds * 1_000 + 710)),
        2 => (1..3_u32).prop_map(Work::Yield),
        1 => any::<i8>().prop_map(Work::Save),
        2 => (0..3_u8, of(0..3_u8)).prop_map(|(events, external)| Work::Tell { events, external }),
        1 => Just(Work::GiveUp),
        1 => Just(Work::Finish),
        10 => (manner, 1..60_u64).prop_map(|(how, seconds)| Work::Last(how, seconds * 1_000 + 250)),
    ]
}

impl Step {
    /// What the model answers. `None`: it will.
    pub(super) fn expect(&self, model: &mut Reference, call: Call) -> Option<Answer> {
        if self.who().is_some_and(|who| who >= model.sessions.len()) {
            return Some(Answer::Nobody);
        }
        match self {
            Self::Start { begin, in_slot } => model.start(begin, *in_slot),
            Self::Send(who, input) => model.send(*who, *input),
            Self::Pause(who) => model.pause(*who, call),
            Self::Resume(who) => model.resume(*who, call),
            Self::Stop(who, grace) => model.stop(*who, *grace, call),
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
            Self::Slot => model.slot(call),
            Self::DropSlot => model.drop_slot(),
            Self::Pass(_) => Some(Answer::Done),
            Self::Crash { recover, .. } => {
                model.crash();
                model.begin_worker(call, *recover);
                None
            }
            Self::Replace { recover, .. } => {
                model.shut_down();
                model.begin_worker(call, *recover);
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
                world.ask(call, who, async move |s| send(&s, input).await.said()).await;
            }
            Self::Pause(who) => world.ask(call, who, async |s| s.pause().await.said()).await,
            Self::Resume(who) => world.ask(call, who, async |s| s.resume().await.said()).await,
            Self::Stop(who, grace) => world.stop(call, who, grace).await,
            Self::Complete(who) => world.ask(call, who, async |s| s.complete().await.said()).await,
            Self::Fail(who) => world.ask(call, who, async |s| s.fail("enough").await.said()).await,
            Self::Label(who, team) => {
                world.ask(call, who, async move |s| s.set_labels(labels(team)).await.said()).await;
            }
            Self::Describe(who, note) => {
                world
                    .ask(call, who, async move |s| s.set_metadata(note_of(note)).await.said())
                    .await;
            }
            Self::SetExternal(who, number) => {
                let id = external_id(number);
                world.ask(call, who, async move |s| s.set_external_id(id).await.said()).await;
            }
            Self::Heartbeat(who) => world.ask(call, who, async |s| s.heartbeat().said()).await,
            Self::WaitFor(who, states) => {
                world.ask(call, who, async move |s| s.wait_for(&states).await.said()).await;
            }
            Self::Settled(who) => world.ask(call, who, async |s| s.settled().await.said()).await,
            Self::Find(named) => world.find(call, named).await,
            Self::List { states, team, page } => world.list(call, states, team, page).await,
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
            Self::Send(who, _)
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
            Self::Start { .. }
            | Self::Find(_)
            | Self::List { .. }
            | Self::Slot
            | Self::DropSlot
            | Self::Pass(_)
            | Self::Crash { .. }
            | Self::Replace { .. } => None,
        }
    }
}
