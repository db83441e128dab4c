//! How often each step is taken, and what it is taken with.

use proptest::{
    option::of,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::{select, subsequence},
};
use sessionkeeper::{OnInterrupt, OnParent, RecoverWhat, State, WhenParentEnds, WhenParentPauses};

use super::{Begin, Input, Named, Step};
use crate::model::{
    care::Care,
    reference::{
        Birth, Branch, Errand, Fresh, Manner, Ms, Next, Reference, Session, Together, Who, Work,
    },
};

/// When there are so many sessions, hardly any new one is made.
const SESSIONS: Who = 4;

/// How often each step is taken.
pub(in crate::model) fn step(model: &Reference) -> impl Strategy<Value = Step> + use<> {
    let sessions = model.sessions.len();
    let who = || 0..sessions.max(1);
    // A crash seldom comes alone.
    let is_suspected = |session: &Session| session.recoveries > 0;
    let crashes = if model.sessions.iter().any(is_suspected) { 25 } else { 6 };
    let back = prop_oneof![2 => Just(None), 3 => (0..3_u64).prop_map(Some)];
    let few = || 0..3_u8;
    let starts = if sessions < SESSIONS { 8 } else { 2 };
    let successors = if sessions < 2 * SESSIONS { 6 } else { 2 };
    let away = || prop_oneof![2 => Just(0), 1 => Just(1_000_000)];
    let recover = || {
        use RecoverWhat::{All, Nothing, ShutdownOnly};
        prop_oneof![4 => Just(All), 1 => Just(ShutdownOnly), 1 => Just(Nothing)]
    };
    let states = || subsequence(&State::ALL[..], 0..4);
    // Few are as these, so they are sought: else hardly any life would come upon them.
    let sought = |those: Vec<Who>| {
        if those.is_empty() { (1, (0..sessions.max(1)).collect()) } else { (8, those) }
    };
    let (deletes, deleted) = sought(model.who_waits_for_a_resume());
    let (wakes, woken) = sought(model.who_sleeps());
    let (presses, pressed) = sought(model.who_has_urgent_inputs());
    let lasting = vec![State::Stopped, State::Completed, State::Failed, State::Expired];
    let span = prop_oneof![
        48 => 1..15_u64,
        48 => 15..60_u64,
        16 => 60..160_u64,
        // What was deleted is forgotten.
        1 => Just(90_000),
    ];
    // Most sessions have no label.
    let group = prop_oneof![3 => Just(None), 2 => (0..3_u8).prop_map(Some)];
    prop_oneof![
        starts => (begin(sessions), any::<bool>())
            .prop_map(|(begin, in_slot)| Step::Start { begin, in_slot }),
        24 => (who(), input()).prop_map(|(who, input)| Step::Send(who, input)),
        12 => who().prop_map(Step::Pause),
        14 => who().prop_map(Step::Resume),
        5 => who().prop_map(|who| Step::Stop(who, None)),
        2 => who().prop_map(|who| Step::Stop(who, Some(1_930))),
        2 => who().prop_map(|who| Step::Stop(who, Some(0))),
        3 => (who(), input()).prop_map(|(who, input)| Step::SendAlong(who, input)),
        successors => (who(), next()).prop_map(|(who, next)| Step::Rollover(who, next)),
        successors / 2 => (who(), back, branch())
            .prop_map(|(who, back, branch)| Step::Fork { who, back, branch }),
        1 => who().prop_map(Step::Latest),
        4 => (who(), any::<bool>()).prop_map(|(who, stop)| Step::Delete(who, stop)),
        deletes => (select(deleted), any::<bool>())
            .prop_map(|(who, stop)| Step::Delete(who, stop)),
        wakes => select(woken).prop_map(Step::Pause),
        presses => (select(pressed), input())
            .prop_map(|(who, input)| Step::Send(who, Input { urgent: true, ..input })),
        1 => who().prop_map(Step::StartAs),
        6 => (who(), select(&[OnInterrupt::Drop, OnInterrupt::Redeliver][..]))
            .prop_map(|(who, then)| Step::Interrupt(who, then)),
        2 => (who(), 0..3_u32).prop_map(|(who, back)| Step::FindRun(who, back)),
        2 => (who(), 0..2_u32).prop_map(|(who, back)| Step::StopRun(who, back)),
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
        4 => (select(&[Together::Pause, Together::Resume, Together::Stop][..]), group)
            .prop_map(|(what, team)| Step::Together(what, team)),
        2 => Just(Step::Slot),
        2 => Just(Step::DropSlot),
        16 => span.prop_map(|seconds| Step::Pass(seconds * 1_000)),
        crashes => (recover(), away()).prop_map(|(recover, away)| Step::Crash { recover, away }),
        5 => (recover(), away()).prop_map(|(recover, away)| Step::Replace { recover, away }),
    ]
}

fn begin(sessions: Who) -> impl Strategy<Value = Begin> {
    let rare = || prop_oneof![3 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let care = of(select(&Care::ALL[..]));
    let parent =
        (0..sessions.max(1), on_parent()).prop_map(move |parent| (sessions > 0).then_some(parent));
    let parent = prop_oneof![2 => Just(None), 1 => parent];
    (rare(), rare(), rare(), rare(), care, of(work()), parent).prop_map(
        |(key, name, external, team, care, work, parent)| Begin {
            key,
            name,
            external,
            team,
            care,
            work,
            parent,
        },
    )
}

fn next() -> impl Strategy<Value = Next> {
    let rare = || prop_oneof![3 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let within = of(prop_oneof![Just(0), Just(1_930), Just(25_930)]);
    let seldom = prop_oneof![3 => Just(false), 1 => Just(true)];
    let care = of(select(&Care::ALL[..]));
    (rare(), rare(), rare(), care, any::<i8>(), of(work()), seldom, within).prop_map(
        |(key, name, team, care, sum, work, leave, within)| Next {
            key,
            name,
            team,
            care,
            sum,
            work,
            leave,
            within,
        },
    )
}

fn branch() -> impl Strategy<Value = Branch> {
    let rare = || prop_oneof![3 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let care = of(select(&Care::ALL[..]));
    (rare(), rare(), rare(), care, of(work()), any::<bool>()).prop_map(
        |(key, name, team, care, work, copy_inputs)| Branch {
            key,
            name,
            team,
            care,
            work,
            copy_inputs,
        },
    )
}

fn fresh() -> impl Strategy<Value = Fresh> {
    let name = prop_oneof![3 => Just(None), 2 => (0..3_u8).prop_map(Some)];
    let fresh = (any::<i8>(), name, any::<bool>(), any::<bool>());
    fresh.prop_map(|(sum, name, leave, works)| Fresh { sum, name, leave, works })
}

fn birth() -> impl Strategy<Value = Birth> {
    let seconds = (1..60_u64).prop_map(|seconds| seconds * 1_000 + 250);
    let errand = prop_oneof![
        2 => Just(Errand::Nothing),
        1 => Just(Errand::Finish),
        1 => Just(Errand::GiveUp),
        3 => (select(&[Manner::Beating, Manner::Polite][..]), seconds)
            .prop_map(|(manner, span)| Errand::Last(manner, span)),
        1 => Just(Errand::Bear),
    ];
    let wait = any::<bool>();
    (0..3_u8, on_parent(), errand, wait).prop_map(|(key, on_parent, errand, wait)| Birth {
        key,
        on_parent,
        errand,
        wait,
    })
}

fn on_parent() -> impl Strategy<Value = OnParent> {
    use WhenParentEnds::{Leave, Stop};
    let pause = select(&[WhenParentPauses::Pause, WhenParentPauses::Leave][..]);
    let ends = || select(&[Stop, Stop, Leave][..]);
    (pause, ends(), ends()).prop_map(|(pause, stop, end)| OnParent { pause, stop, end })
}

fn input() -> impl Strategy<Value = Input> {
    let id = prop_oneof![4 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let urgent = prop_oneof![4 => Just(false), 1 => Just(true)];
    (id, urgent, work()).prop_map(|(id, urgent, work)| Input { id, urgent, work })
}

/// Until a time that has passed, or for a while; or beyond the absence of a worker.
fn slumber() -> impl Strategy<Value = Ms> {
    let seconds = prop_oneof![1 => Just(0), 8 => 1..120_u64, 1 => 990..1_100_u64];
    seconds.prop_map(|seconds| if seconds == 0 { 0 } else { seconds * 1_000 + 830 })
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
        2 => (slumber(), any::<bool>()).prop_map(|(span, wake)| Work::Sleep(span, wake)),
        1 => (slumber(), any::<bool>()).prop_map(|(span, wake)| Work::Doze(span, wake)),
        3 => birth().prop_map(Work::Bear),
        2 => fresh().prop_map(Work::RollOver),
        1 => Just(Work::GiveUp),
        1 => Just(Work::Finish),
        10 => (manner, 1..60_u64).prop_map(|(how, seconds)| Work::Last(how, seconds * 1_000 + 250)),
    ]
}
