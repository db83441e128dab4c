use std::sync::Arc;

use chrono::DateTime;
use uuid::Uuid;

use super::{
    Query, StoreError,
    codec::{self, Frame, Unreadable},
    index::{self, Rows},
};
use crate::model::{
    event::{Event, EventRecord, Fact, Lifecycle},
    ids::{InputId, RunId, SessionId},
    record::StoredInput,
    step::{StepProgress, StoredStep, Turn},
    usage::Usage,
};

fn input(id: Option<&str>, payload: &[u8]) -> StoredInput {
    StoredInput {
        sequence: 7,
        id: id.map(|id| InputId::new(id).expect("an id")),
        at: DateTime::from_timestamp(-5, 999_999_999).expect("a time"),
        state_version: 3,
        payload: payload.into(),
    }
}

fn event(sequence: u64) -> EventRecord {
    EventRecord {
        sequence,
        at: DateTime::from_timestamp(1_700_000_000, 5).expect("a time"),
        run: None,
        input: Some(4),
        fact: Fact::Work(Event::completion(format!("number {sequence}"))),
    }
}

/// Whatever stands before and within them.
#[test]
fn what_the_library_has_recorded_is_found_among_all_events() {
    let told = r#"{"fact":{"lifecycle":{}}}"#;
    let facts = [
        Fact::Work(Event::completion(told)),
        Fact::Lifecycle(Lifecycle::Created { kind: "k".parse().expect("a kind") }),
        Fact::Usage(Usage::tokens(1, 2)),
        Fact::Work(Event::completion("lifecycle".repeat(100))),
    ];
    let mut body = Vec::new();
    let first = u64::MAX - 8;
    let longest = EventRecord {
        at: DateTime::from_timestamp(-1, 999_999_999).expect("a time"),
        run: Some(RunId::from_uuid(Uuid::max())),
        input: Some(u64::MAX),
        ..event(first)
    };
    let all: Vec<_> = facts
        .into_iter()
        .cycle()
        .zip(first..u64::MAX)
        .map(|(fact, sequence)| match sequence % 2 {
            0 => EventRecord { fact, sequence, ..longest.clone() },
            _ => EventRecord { fact, ..event(sequence) },
        })
        .collect();
    all.iter().for_each(|event| codec::push_event(&mut body, event));
    let found = codec::read_lifecycle(first, &body).expect("sound");
    let of_library = |event: &EventRecord| matches!(event.fact, Fact::Lifecycle(_));
    assert_eq!(found, all.into_iter().filter(of_library).collect::<Vec<_>>());
}

#[test]
fn a_frame_gives_back_its_body() {
    for body in [&b""[..], b"x", &[0; 1000]] {
        let bytes = codec::seal(Frame::Input, body);
        assert_eq!(bytes.len(), body.len() + codec::OVERHEAD);
        assert_eq!(codec::unseal(Frame::Input, &bytes).expect("sound"), body);
    }
}

#[test]
fn every_changed_bit_of_a_frame_is_noticed() {
    let bytes = codec::seal(Frame::Record, b"body");
    for place in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[place / 8] ^= 1 << (place % 8);
        codec::unseal(Frame::Record, &changed).expect_err("changed");
    }
    for length in 0..bytes.len() {
        codec::unseal(Frame::Record, &bytes[..length]).expect_err("cut short");
    }
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let mut bytes = codec::seal(Frame::Record, b"");
    bytes[1] = codec::FORMAT + 1;
    let error = codec::unseal(Frame::Record, &bytes).expect_err("newer");
    assert!(matches!(error, Unreadable::NewerFormat { found: 2 }), "{error}");
}

#[test]
fn a_value_of_another_kind_is_not_taken() {
    let bytes = codec::seal(Frame::Input, b"");
    let error = codec::unseal(Frame::Record, &bytes).expect_err("misplaced");
    assert!(matches!(error, Unreadable::Misplaced), "{error}");
}

#[test]
fn inputs_come_back_as_they_were() {
    let long = "é".repeat(128);
    for id in [None, Some("a"), Some(long.as_str())] {
        for payload in [&b""[..], b"x", &[9; 500]] {
            let input = input(id, payload);
            let body = codec::input(&input);
            assert_eq!(codec::read_input(7, &body).expect("sound"), input);
            codec::read_input(8, &body).expect_err("misplaced");
        }
    }
}

/// These bytes are on the disks of users: a change of them is a new format.
#[test]
fn an_input_is_stored_in_these_bytes() {
    let body = codec::input(&input(Some("id"), b"payload"));
    let expected = [
        &7_u64.to_le_bytes()[..],
        &(-5_i64).to_le_bytes(),
        &999_999_999_u32.to_le_bytes(),
        &3_u32.to_le_bytes(),
        &[2, 0],
        b"id",
        b"payload",
    ];
    assert_eq!(body, expected.concat());
    let sealed = codec::seal(Frame::Input, b"body");
    assert_eq!(sealed, [b"I\x01body".as_slice(), &[0x19, 0x07, 0x19, 0x5e]].concat());
}

fn step(key: &str, progress: StepProgress) -> StoredStep {
    StoredStep {
        turn: Turn { input: 7, interlude: 2 },
        key: key.parse().expect("a step key"),
        run: RunId::from_uuid(Uuid::from_u128(5)),
        at: DateTime::from_timestamp(-5, 999_999_999).expect("a time"),
        progress,
    }
}

#[test]
fn steps_come_back_as_they_were() {
    let long = "é".repeat(128);
    for key in ["a", &long] {
        let finished = [&b""[..], b"x", &[9; 500]].map(|it| StepProgress::Finished(it.into()));
        for progress in [StepProgress::Begun, StepProgress::Failed].into_iter().chain(finished) {
            let step = step(key, progress);
            let body = codec::step(&step);
            let read =
                |turn, key: &str| codec::read_step(turn, &key.parse().expect("a key"), &body);
            assert_eq!(read(step.turn, key).expect("sound"), step);
            read(Turn { interlude: 3, ..step.turn }, key).expect_err("misplaced");
            read(step.turn, "b").expect_err("misplaced");
        }
    }
    let mut odd = codec::step(&step("a", StepProgress::Begun));
    odd.push(1);
    let turn = Turn { input: 7, interlude: 2 };
    let key = "a".parse().expect("a key");
    codec::read_step(turn, &key, &odd).expect_err("a result of what was only begun");
    odd[47] = 3;
    codec::read_step(turn, &key, &odd).expect_err("no such progress");
}

/// These bytes are on the disks of users: a change of them is a new format.
#[test]
fn a_step_is_stored_in_these_bytes() {
    let body = codec::step(&step("key", StepProgress::Finished(b"result".as_slice().into())));
    let expected = [
        &7_u64.to_le_bytes()[..],
        &2_u64.to_le_bytes(),
        &(-5_i64).to_le_bytes(),
        &999_999_999_u32.to_le_bytes(),
        &5_u128.to_be_bytes(),
        &[3, 0],
        b"key",
        &[2],
        b"result",
    ];
    assert_eq!(body, expected.concat());
}

#[test]
fn events_come_back_by_their_numbers() {
    let mut body = Vec::new();
    for sequence in 5..9 {
        codec::push_event(&mut body, &event(sequence));
    }
    assert_eq!(codec::after_events(5, &body).expect("sound"), 9);
    let all = codec::read_events(5, &body, |_| true).expect("sound");
    assert_eq!(all, (5..9).map(event).collect::<Vec<_>>());
    let some = codec::read_events(5, &body, |sequence| sequence == 7).expect("sound");
    assert_eq!(some, [event(7)]);
    codec::read_events(6, &body, |_| true).expect_err("misplaced");
    codec::read_events(5, &body[..body.len() - 1], |_| true).expect_err("cut short");
}

#[test]
fn a_record_belongs_to_its_session() {
    let body = br#"{"id":"00000000-0000-0000-0000-000000000001","kind":"k","version":1,
        "writer":"00000000-0000-0000-0000-000000000002","created_at":"2024-01-01T00:00:00Z",
        "updated_at":"2024-01-01T00:00:00.5Z","phase":{"state":"stopped"},"last_event":0}"#;
    let session = |number| SessionId::from_uuid(Uuid::from_u128(number));
    let record = codec::read_record(session(1), body).expect("sound");
    let again = codec::record(&record);
    assert_eq!(codec::read_record(session(1), &again).expect("sound"), record);
    codec::read_record(session(2), body).expect_err("misplaced");
    codec::read_record(session(1), b"{}").expect_err("nonsense");
}

#[test]
fn a_record_that_nothing_can_be_counted_on_from_is_refused() {
    let refused = [
        (r#""version":18446744073709551615"#, "a count"),
        (r#""version":1,"last_event":18446744073709551615"#, "a count"),
        (r#""version":1,"inbox":{"accepted":18446744073709551615}"#, "a count"),
        (r#""version":1,"inbox":{"waiting_bytes":18446744073709551615}"#, "a count"),
        (r#""version":1,"inbox":{"accepted":1,"consumed":2}"#, "consumed more"),
        (
            r#""version":1,"snapshots":[{"sequence":1,"consumed":3,"bytes":1,
                "at":"2024-01-01T00:00:00Z"}]"#,
            "a snapshot of more",
        ),
        (
            r#""version":1,"snapshots":[{"sequence":18446744073709551615,"consumed":0,"bytes":1,
                "at":"2024-01-01T00:00:00Z"}]"#,
            "a snapshot that nothing reaches",
        ),
    ];
    for (fields, words) in refused {
        let last_event = if fields.contains("last_event") { "" } else { r#","last_event":0"# };
        let body = format!(
            r#"{{"id":"00000000-0000-0000-0000-000000000001","kind":"k",{fields}{last_event},
                "writer":"00000000-0000-0000-0000-000000000002",
                "created_at":"2024-01-01T00:00:00Z","updated_at":"2024-01-01T00:00:00Z",
                "phase":{{"state":"stopped"}}}}"#
        );
        let session = SessionId::from_uuid(Uuid::from_u128(1));
        let error = codec::read_record(session, body.as_bytes()).expect_err(fields);
        assert!(error.to_string().contains(words), "{fields}: {error}");
    }
}

#[test]
fn what_is_known_of_an_input_id_comes_back() {
    let body = codec::input_id(3, 0xdead_beef);
    assert_eq!(codec::read_input_id(&body).expect("sound"), (3, 0xdead_beef));
    codec::read_input_id(&body[..11]).expect_err("cut short");
}

#[test]
fn an_index_row_that_makes_no_sense_is_an_error() {
    let list = |row: &[u8]| {
        let rows = Rows::from([(row.to_vec(), Vec::new())]);
        index::list(&rows, &Query::default(), |_| Ok(None))
    };
    // The first second of 1970.
    let mut place = [0; 28];
    place[0] = 1 << 7;
    list(&[index::ALL, &place].concat()).expect("a place");
    for length in [0, 27] {
        let row = [index::ALL, &place[..length]].concat();
        let error = list(&row).expect_err("too short");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    let error = list(&[index::ALL, &place, b"more"].concat()).expect_err("too long");
    assert!(error.to_string().contains("33 bytes"), "{error}");
}

#[test]
fn a_store_can_be_an_object() {
    fn check(_: Arc<dyn super::Store>) {}
    check(Arc::new(super::MemoryStore::new()));
}
