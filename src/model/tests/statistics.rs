use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    counts::{Scope, StateCounts},
    event::{Cause, Event, EventRecord, Fact, Lifecycle},
    event_type::EventType,
    ids::Kind,
    labels::Labels,
    projection::{MOST_VALUES, OTHERS, Projection, Whose, Window},
    state::State,
    tally::Durations,
    time::Timestamp,
    usage::Usage,
};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_700_000_000 / HOUR * HOUR + seconds, 0).expect("a time")
}

fn event(seconds: i64, fact: Fact) -> EventRecord {
    EventRecord { sequence: 1, at: at(seconds), run: None, input: None, fact }
}

fn moved(seconds: i64, to: State) -> EventRecord {
    let (from, cause) = (State::Active, Cause::Workload);
    let moved = Lifecycle::StateChanged { from, to, cause, reason: None, begins: false };
    event(seconds, Fact::Lifecycle(moved))
}

fn work(seconds: i64) -> EventRecord {
    event(seconds, Fact::Work(Event::error("one")))
}

fn of(user: &str) -> Whose {
    Whose {
        kind: Kind::new("coder").expect("a kind"),
        labels: Labels::new([("user", user), ("secret", user)]).expect("labels"),
        created_at: at(-100),
    }
}

fn last(minutes: u64) -> Window {
    Window::Last(Duration::from_secs(minutes * 60))
}

/// How many events there were.
fn events(projection: &Projection, scope: &Scope, window: Window, now: i64) -> u64 {
    projection.tally(scope, window, at(now)).expect("counted").events_in_all()
}

proptest! {
    #[test]
    fn a_percentile_is_right_to_within_five_percent(
        mut millis in prop::collection::vec(prop_oneof![0..5_u64, 0..100_000_u64, 0..u64::MAX / 1024], 1..200),
        percent in prop_oneof![Just(0.0), Just(50.0), Just(100.0), 0.0..100.0_f64],
        cut in 0..200_usize,
    ) {
        // Added up from two parts, which makes no difference.
        let (mut took, mut rest) = (Durations::default(), Durations::default());
        for (number, millis) in millis.iter().enumerate() {
            let part = if number < cut { &mut took } else { &mut rest };
            part.add(Duration::from_millis(*millis));
        }
        took.merge(&rest);
        let json = serde_json::to_string(&took).expect("json");
        prop_assert_eq!(&serde_json::from_str::<Durations>(&json).expect("durations"), &took);

        millis.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
        let rank = ((millis.len() as f64 * (percent / 100.0)).ceil() as usize).clamp(1, millis.len());
        let exact = Duration::from_millis(millis[rank - 1]).as_secs_f64();
        let found = took.percentile(percent).expect("some").as_secs_f64();
        prop_assert!((found - exact).abs() <= exact * 0.05, "{found} where {exact} is right");
        prop_assert_eq!(took.count(), millis.len() as u64);
        prop_assert_eq!(took.sum(), Duration::from_millis(millis.iter().sum()));
        let mean = millis.iter().sum::<u64>() / millis.len() as u64;
        prop_assert_eq!(took.mean(), Some(Duration::from_millis(mean)));
    }

    /// Whatever is put together and forgotten in between, a window has what happened in it: by the minute within two hours, and
    /// else by the hour.
    #[test]
    fn a_window_has_what_happened_in_it(
        mut times in prop::collection::vec(0..HOUR * 30, 0..120),
        minutes in prop_oneof![1..=120_u64, 120..=1440_u64],
        later in 0..HOUR,
    ) {
        times.sort_unstable();
        let now = times.last().copied().unwrap_or(0) + later;
        let mut projection = Projection::default();
        for time in &times {
            projection.count(&work(*time), Some(&of("ada")), at(*time));
        }
        let json = serde_json::to_string(&projection).expect("json");
        let projection: Projection = serde_json::from_str(&json).expect("a projection");
        let first = now / MINUTE * MINUTE - i64::try_from(minutes).expect("few") * MINUTE;
        let since = |from: i64| times.iter().filter(|time| **time >= from).count() as u64;
        for scope in [Scope::All, Scope::Kind(of("ada").kind)] {
            let found = events(&projection, &scope, last(minutes), now);
            if minutes <= 60 {
                prop_assert_eq!(found, since(first));
            } else {
                let hour = first.div_euclid(HOUR) * HOUR;
                prop_assert!(since(first) <= found && found <= since(hour));
            }
            let all = events(&projection, &scope, Window::SinceTheBeginning, now);
            prop_assert_eq!(all, times.len() as u64);
        }
    }
}

#[test]
fn a_tally_says_what_happened() {
    let mut projection = Projection::default();
    let ada = of("ada");
    let created = Lifecycle::Created { kind: ada.kind.clone() };
    let usage = Usage::tokens(5, 7).with_cost(3);
    for event in [
        event(0, Fact::Lifecycle(created)),
        event(1, Fact::Usage(usage)),
        event(2, Fact::Usage(usage)),
        work(3),
        moved(20, State::Completed),
        moved(40, State::Completed),
        moved(50, State::Failed),
        moved(50, State::Expired),
        // It has not ended.
        moved(60, State::Paused),
    ] {
        projection.count(&event, Some(&ada), at(60));
    }
    let tally = projection.tally(&Scope::All, last(10), at(60)).expect("counted");
    assert_eq!((tally.started(), tally.ended_in_all()), (1, 4));
    assert_eq!((tally.ended(State::Completed), tally.ended(State::Stopped)), (2, 0));
    assert_eq!(tally.expiration_rate(), Some(0.25));
    assert_eq!(tally.completed().mean(), Some(Duration::from_secs(130)));
    assert_eq!(tally.failed().count(), 1);
    assert_eq!(tally.usage(), usage.plus(&usage));
    let of_types = [EventType::Lifecycle, EventType::Usage, EventType::Error, EventType::Custom];
    assert_eq!(of_types.map(|of| tally.events(of)), [6, 2, 1, 0]);

    let nothing =
        projection.tally(&Scope::Kind(Kind::new("writer").expect("a kind")), last(10), at(60));
    let nothing = nothing.expect("counted");
    assert_eq!((nothing.expiration_rate(), nothing.completed().mean()), (None, None));
    assert_eq!(nothing.completed().percentile(50.0), None);
}

#[test]
fn only_declared_labels_are_counted_and_a_thousand_values_of_each() {
    let mut projection = Projection::default();
    projection.count(&work(0), Some(&of("early")), at(0));
    projection.count_labels(&["user".to_owned()]);
    for number in 0..MOST_VALUES + 5 {
        projection.count(&work(0), Some(&of(&format!("user {number}"))), at(0));
    }
    projection.count(&work(1), Some(&of("user 3")), at(1));
    projection.count(&work(1), None, at(1));
    let all = |scope: Scope| events(&projection, &scope, Window::SinceTheBeginning, 1);
    assert_eq!(all(Scope::All), MOST_VALUES as u64 + 8);
    assert_eq!(
        all(Scope::Kind(of("ada").kind)),
        MOST_VALUES as u64 + 7,
        "that of a session that is gone"
    );
    assert_eq!(all(Scope::label("user", "user 3")), 2);
    assert_eq!(all(Scope::label("user", OTHERS)), 5);
    assert_eq!(all(Scope::label("user", "early")), 0, "it was not asked for then");
    let not_declared = Scope::label("secret", "ada");
    assert_eq!(projection.tally(&not_declared, last(1), at(1)), None);
    projection.count_labels(&[]);
    assert_eq!(projection.tally(&Scope::label("user", "user 3"), last(1), at(1)), None);
}

/// What was recorded by a clock that was ahead happened now, and what was recorded long ago is in the sum alone.
#[test]
fn a_clock_that_jumps_loses_nothing() {
    let mut projection = Projection::default();
    let years = 10 * 365 * 24 * HOUR;
    projection.count(&work(years), Some(&of("ada")), at(years));
    for seconds in [0, 1, HOUR] {
        projection.count(&work(seconds), Some(&of("ada")), at(seconds));
    }
    projection.count(&work(-3 * 24 * HOUR), Some(&of("ada")), at(HOUR));
    assert_eq!(events(&projection, &Scope::All, last(1440), HOUR), 4);
    assert_eq!(events(&projection, &Scope::All, last(5), HOUR), 1);
    assert_eq!(events(&projection, &Scope::All, Window::SinceTheBeginning, HOUR), 5);
}

#[test]
fn counts_are_taken_back_no_further_than_to_nothing() {
    let mut counts = StateCounts::from_iter([State::Active, State::Active, State::Failed]);
    assert_eq!(counts.to_string(), "active 2, failed 1");
    counts.remove(State::Failed);
    counts.remove(State::Failed);
    assert_eq!((counts.total(), counts.of(State::Failed)), (2, 0));
    assert_eq!(StateCounts::default().to_string(), "none");
}
