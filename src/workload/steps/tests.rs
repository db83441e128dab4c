//! The book of steps.

use std::sync::Arc;

use super::{
    IdempotencyKey,
    book::{Found, KnownResult, OnInterrupted, StepBook, StepRefused},
};
use crate::model::{
    ids::{RunId, StepKey},
    step::{StepProgress, StoredStep, Turn},
    time::Timestamp,
};
use uuid::Uuid;

const LIMIT: u64 = 1_000;
const TURN: Turn = Turn::of_input(3);

fn key(text: &str) -> StepKey {
    text.parse().expect("a key")
}

fn stored(turn: Turn, text: &str, progress: StepProgress) -> StoredStep {
    let run = RunId::from_uuid(Uuid::nil());
    StoredStep { turn, key: key(text), run, at: Timestamp::default(), progress }
}

fn result(text: &str, is_durable: bool) -> Found {
    Found::Result(KnownResult { bytes: text.as_bytes().into(), is_durable })
}

#[test]
fn what_was_stored_decides_what_a_call_finds() {
    let book = || {
        StepBook::of(vec![
            stored(TURN, "begun", StepProgress::Begun),
            stored(TURN, "failed", StepProgress::Failed),
            stored(TURN, "finished", StepProgress::Finished(b"1".as_slice().into())),
            stored(Turn::of_input(4), "later", StepProgress::Begun),
        ])
        .expect("some")
    };
    let open = |text, how| book().open(TURN, &key(text), how, LIMIT);
    let interrupted = Err(StepRefused::Interrupted { turn: TURN });
    for (text, told, begun) in [
        ("begun", interrupted, Ok(Found::New)),
        ("failed", Ok(Found::New), Ok(Found::New)),
        ("finished", Ok(result("1", true)), Ok(result("1", true))),
        ("later", Ok(Found::New), Ok(Found::New)),
        ("never", Ok(Found::New), Ok(Found::New)),
    ] {
        assert_eq!(open(text, OnInterrupted::Tell), told, "{text}");
        assert_eq!(open(text, OnInterrupted::Begin), begun, "{text}");
    }
}

#[test]
fn a_step_is_in_one_hand_at_a_time_and_its_end_decides_what_the_next_call_finds() {
    let mut book = StepBook::default();
    let a = key("a");
    let open = |book: &mut StepBook| book.open(TURN, &a, OnInterrupted::Tell, LIMIT);
    assert_eq!(open(&mut book), Ok(Found::New));
    assert_eq!(open(&mut book), Err(StepRefused::InHand));
    book.close(TURN, &a);
    assert_eq!(open(&mut book), Err(StepRefused::Interrupted { turn: TURN }));
    assert_eq!(book.open(TURN, &a, OnInterrupted::Begin, LIMIT), Ok(Found::New));
    book.failed(TURN, &a);
    book.close(TURN, &a);
    assert_eq!(open(&mut book), Ok(Found::New));
    let bytes: Arc<[u8]> = b"7".as_slice().into();
    book.returned(TURN, &a, &bytes, LIMIT).expect("small");
    book.close(TURN, &a);
    assert_eq!(open(&mut book), Ok(result("7", false)));
    book.finished(TURN, &a, bytes);
    book.close(TURN, &a);
    assert_eq!(open(&mut book), Ok(result("7", true)));
}

#[test]
fn steps_have_a_limit_together_and_what_is_forgotten_counts_no_more() {
    let mut book = StepBook::default();
    let large: Arc<[u8]> = vec![b'1'; 800].into();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(key);
    let open = |book: &mut StepBook, turn, key| book.open(turn, key, OnInterrupted::Tell, LIMIT);
    assert_eq!(open(&mut book, TURN, &a), Ok(Found::New));
    assert_eq!(book.returned(TURN, &a, &large, LIMIT), Ok(()));
    book.finished(TURN, &a, Arc::clone(&large));
    assert_eq!(open(&mut book, TURN, &b), Ok(Found::New));
    assert_eq!(book.returned(TURN, &b, &large, LIMIT), Err(2 * 865));
    assert_eq!(open(&mut book, TURN, &c), Ok(Found::New));
    let refused = open(&mut book, TURN, &d);
    assert_eq!(refused, Err(StepRefused::TooLarge { bytes: 865 + 65 * 3 }));

    // Those in hand stay until they are put down.
    book.close(TURN, &a);
    book.close(TURN, &b);
    book.forget(|turn| turn <= TURN);
    assert!(book.asked_in(TURN));
    book.close(TURN, &c);
    book.forget(|turn| turn <= TURN);
    assert!(book.is_empty());
    let next = Turn::of_input(4);
    assert_eq!(open(&mut book, next, &a), Ok(Found::New));
    assert_eq!(book.returned(next, &a, &large, LIMIT), Ok(()));
}

#[test]
fn an_idempotency_key_is_its_text() {
    let known_as = IdempotencyKey::new("a/7+1/charge".to_owned());
    assert_eq!(known_as.to_string(), "a/7+1/charge");
    assert_eq!(known_as.as_ref(), known_as.as_str());
    assert_eq!(format!("{known_as:?}"), r#""a/7+1/charge""#);
}
