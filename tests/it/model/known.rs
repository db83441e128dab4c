//! Lives that once went another way than the model: what was wrong is told in the name.

use sessionkeeper::{
    OnParent,
    RecoverWhat::{All, Nothing, ShutdownOnly},
    WhenParentPauses,
};

use super::{
    Driven,
    care::Care,
    reference::{Birth, Errand, Manner, Next, Reference, Setup, Work},
    steps::{Begin, Input, Step},
};

/// Lives a life.
fn live(places: Option<usize>, closing: u64, steps: impl IntoIterator<Item = Step>) {
    live_with(Setup { places, closing, newest: None }, steps);
}

fn live_with(setup: Setup, steps: impl IntoIterator<Item = Step>) {
    let (mut model, mut driven) = (Reference::new(setup), Driven::new(setup));
    for step in steps {
        model.step(&step);
        driven.step(&step, &model).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(model.vague, None, "the model can tell what comes first: {step:?}");
    }
    driven.end().unwrap_or_else(|wrong| panic!("{wrong}"));
}

fn start() -> Step {
    Step::Start { begin: Begin::default(), in_slot: false }
}

fn start_in(care: Care) -> Step {
    Step::Start { begin: Begin { care: Some(care), ..Begin::default() }, in_slot: false }
}

fn send(who: usize, work: Work) -> Step {
    Step::Send(who, Input::of(work))
}

/// A pause of a stopped session is refused, and a resume that waits for its place goes on waiting.
#[test]
fn a_refused_pause_withdrew_a_resume() {
    let pass = Step::Pass(1_000);
    live(
        Some(1),
        0,
        [
            start(),
            start(),
            Step::Stop(1, None),
            Step::Resume(1),
            Step::Pause(1),
            pass,
            Step::Stop(0, None),
        ],
    );
}

/// A resume waits for a place, and its session is ended by its limit, or woken by something else.
#[test]
fn a_resume_waited_for_a_place_that_it_could_not_use() {
    live(
        Some(1),
        0,
        [start_in(Care::Strict), Step::Pause(0), start(), Step::Resume(0), Step::Pass(120_000)],
    );
}

/// Quarantined sessions have no limit, also those that were paused before.
#[test]
fn a_paused_session_that_was_quarantined_expired() {
    let crash = |recover| Step::Crash { recover, away: 0 };
    live(
        None,
        0,
        [
            start_in(Care::Restless),
            send(0, Work::Last(Manner::Awaiting, 3_600_250)),
            crash(All),
            crash(All),
            crash(All),
            crash(ShutdownOnly),
            crash(All),
            Step::Pass(300_000),
        ],
    );
}

/// A session that waits out its backoff does not run, so its worker cannot have died of it.
#[test]
fn a_lost_worker_counted_against_a_session_that_was_not_running() {
    live(
        Some(1),
        0,
        [
            start(),
            Step::Pause(0),
            start(),
            Step::Replace { recover: Nothing, away: 0 },
            Step::Resume(0),
            send(0, Work::Last(Manner::Late, 8_250)),
            Step::Pass(4_000),
            Step::Crash { recover: All, away: 0 },
            Step::Pass(10_000),
            Step::Pause(1),
        ],
    );
}

fn rollover(who: usize, name: Option<u8>) -> Step {
    Step::Rollover(who, Next { name, ..Next::default() })
}

/// A rollover waits behind a pause, and the pause is withdrawn: nobody asks the run for its end any more.
#[test]
fn a_rollover_waited_for_an_end_that_nobody_asked_for() {
    live(
        None,
        0,
        [
            start(),
            send(0, Work::Last(Manner::Silent, 4_250)),
            Step::Pause(0),
            rollover(0, None),
            Step::Resume(0),
            Step::Pass(5_000),
        ],
    );
}

/// The name that a session had is its successor's.
#[test]
fn a_session_that_was_rolled_over_called_its_name_taken() {
    let begin = Begin { name: Some(0), ..Begin::default() };
    let start = Step::Start { begin, in_slot: false };
    live(None, 0, [start, rollover(0, None), rollover(0, Some(0))]);
}

/// A session of the last worker waits for a place that a child has, and the parent of that is stopped.
#[test]
fn a_stop_of_a_parent_waited_for_the_end_of_a_recovery() {
    let on_parent = OnParent { pause: WhenParentPauses::Leave, ..OnParent::default() };
    let child = Begin { parent: Some((1, on_parent)), ..Begin::default() };
    live(
        Some(1),
        2_290,
        [
            start(),
            Step::Replace { recover: Nothing, away: 0 },
            start(),
            Step::Start { begin: child, in_slot: false },
            Step::Pause(1),
            Step::Pass(5_000),
            Step::Replace { recover: All, away: 0 },
            Step::Stop(1, None),
            Step::Pass(5_000),
        ],
    );
}

/// The last worker may have died of a parent and its child; the recovery waits for the child, which is stopped with its parent.
#[test]
fn a_recovery_ended_when_the_suspect_was_stopped_that_it_waited_for() {
    let birth = Birth {
        key: 0,
        on_parent: OnParent::default(),
        errand: Errand::Last(Manner::Beating, 2_250),
        wait: true,
    };
    let parent = Begin { work: Some(Work::Bear(birth)), ..Begin::default() };
    let crash = Step::Crash { recover: All, away: 0 };
    live(
        None,
        0,
        [Step::Start { begin: parent, in_slot: false }, crash.clone(), crash, Step::Stop(0, None)],
    );
}

/// The older events of a session are removed before the recovery comes to it, and with that its stop is finished.
#[test]
fn a_recovery_did_not_tell_of_a_stop_that_was_finished_before_it_came() {
    let crash = Step::Crash { recover: All, away: 0 };
    let setup = Setup { places: Some(1), closing: 2_290, newest: Some(3) };
    let steps = [
        start(),
        Step::Label(0, None),
        Step::Pass(1_000),
        crash.clone(),
        Step::Pass(7_000),
        crash.clone(),
        Step::Stop(0, Some(1_930)),
        crash,
    ];
    live_with(setup, steps);
}
