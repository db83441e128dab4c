//! Running times and usage: sums stay at the end of the scale instead of wrapping around.

use std::time::Duration;

use proptest::prelude::*;

use crate::model::{
    record::Runs,
    time::{SupervisedTime, Timestamp, WorkerTime, serialize_timestamp},
    usage::Usage,
};

const END: u64 = u64::MAX;

#[test]
fn time_stays_at_its_end_rather_than_overflow() {
    let table = [
        (0, Duration::ZERO, 0),
        (5, Duration::from_millis(7), 12),
        (END, Duration::from_millis(1), END),
        (END - 1, Duration::from_millis(1), END),
        (0, Duration::MAX, END),
        (END, Duration::MAX, END),
    ];
    for (from, span, expected) in table {
        let worker = WorkerTime::from_millis(from).after(span);
        assert_eq!(worker.as_millis(), expected, "{from} and {span:?}");
        let supervised = SupervisedTime::from_millis(from).after(span);
        assert_eq!(supervised.as_millis(), expected, "{from} and {span:?}");
    }
}

#[test]
fn a_span_that_is_not_zero_moves_time() {
    for nanos in [1, 999_999, 1_000_000] {
        let later = WorkerTime::default().after(Duration::from_nanos(nanos));
        assert_eq!(later.as_millis(), 1, "{nanos} ns");
    }
    let later = WorkerTime::default().after(Duration::from_nanos(1_000_001));
    assert_eq!(later.as_millis(), 2);
}

#[test]
fn what_lies_ahead_was_no_time_ago() {
    let early = SupervisedTime::from_millis(10);
    let late = SupervisedTime::from_millis(25);
    assert_eq!(late.since(early), Duration::from_millis(15));
    assert_eq!(early.since(late), Duration::ZERO);
    assert_eq!(
        SupervisedTime::from_millis(END).since(SupervisedTime::default()),
        Duration::from_millis(END)
    );
}

#[test]
fn a_time_is_stored_as_its_milliseconds() {
    let time = SupervisedTime::from_millis(1_234);
    assert_eq!(serde_json::to_string(&time).unwrap(), "1234");
    assert_eq!(serde_json::from_str::<SupervisedTime>("1234").unwrap(), time);
    for wrong in ["-1", "1.5", "\"1234\"", "18446744073709551616"] {
        assert!(serde_json::from_str::<SupervisedTime>(wrong).is_err(), "{wrong} was taken");
    }
}

#[test]
fn the_active_time_includes_the_present_run() {
    let now = SupervisedTime::from_millis(500);
    let ended = Runs { active_ms: 40, ..Runs::default() };
    let running = Runs { since: Some(SupervisedTime::from_millis(200)), ..ended.clone() };
    let at_the_end =
        Runs { active_ms: END, since: Some(SupervisedTime::default()), ..Runs::default() };
    assert_eq!(ended.active(now), Duration::from_millis(40));
    assert_eq!(running.active(now), Duration::from_millis(340));
    assert!(at_the_end.active(SupervisedTime::from_millis(END)) > Duration::from_millis(END));
}

#[test]
fn every_field_of_usage_is_summed_for_itself() {
    let one = Usage::tokens(1, 2).with_tool_calls(3).with_iterations(4).with_cost(5);
    let other = Usage::tokens(10, 20).with_tool_calls(30).with_iterations(40).with_cost(50);
    let sum = one.plus(&other);
    let fields =
        [sum.input_tokens(), sum.output_tokens(), sum.tool_calls(), sum.iterations(), sum.cost()];
    assert_eq!(fields, [11, 22, 33, 44, 55]);
}

#[test]
fn a_sum_of_usage_stays_at_the_largest_number() {
    let most = Usage::tokens(END, END).with_tool_calls(END).with_iterations(END).with_cost(END);
    let one = Usage::tokens(1, 1).with_tool_calls(1).with_iterations(1).with_cost(1);
    assert_eq!(most.plus(&one), most);
    assert_eq!(one.plus(&most), most);
    assert_eq!(most.plus(&most), most);
}

fn any_usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 5]>().prop_map(|[input, output, tools, rounds, cost]| {
        Usage::tokens(input, output).with_tool_calls(tools).with_iterations(rounds).with_cost(cost)
    })
}

proptest! {
    #[test]
    fn usage_sums_in_any_order(one in any_usage(), two in any_usage(), three in any_usage()) {
        prop_assert_eq!(one.plus(&two), two.plus(&one));
        prop_assert_eq!(one.plus(&two).plus(&three), one.plus(&two.plus(&three)));
        prop_assert_eq!(one.plus(&Usage::default()), one);
    }

    #[test]
    fn time_never_runs_backwards(from: u64, span: Duration) {
        let start = WorkerTime::from_millis(from);
        let end = start.after(span);
        prop_assert!(end >= start);
        if end.as_millis() < END {
            prop_assert!(end.since(start) >= span);
            prop_assert!(end.since(start) - span < Duration::from_millis(1));
        }
    }
}

#[test]
fn a_timestamp_is_serialized_as_chrono_does() {
    #[derive(serde::Serialize)]
    struct Ours(#[serde(serialize_with = "serialize_timestamp")] Timestamp);

    let millis = [-62_167_219_200_001, -62_135_596_800_000, -1, 0, 1, 999, 1_000, 951_782_399_999];
    let later = [1_709_210_096_789, 1_735_689_600_100, 253_402_300_799_999, 253_402_300_800_001];
    let nanos = [0, 1, 999_999, 1_000_000, 1_000_000_000, 1_999_000_000];
    let mut number = 1_u64;
    let random = std::iter::repeat_with(|| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 18) as i64 % 253_402_300_800_000
    });
    for at in millis.into_iter().chain(later).chain(random.take(2_000)) {
        let at = Timestamp::from_timestamp_millis(at).expect("a time");
        for nanos in nanos {
            // A leap second is only where there can be one.
            let other = chrono::Timelike::with_nanosecond(&at, nanos).unwrap_or(at);
            for at in [at, other] {
                let expected = serde_json::to_string(&at).expect("JSON");
                assert_eq!(serde_json::to_string(&Ours(at)).expect("JSON"), expected);
            }
        }
    }
}
