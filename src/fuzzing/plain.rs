//! The decoders of the ground floor.

use std::{fmt::Debug, str::FromStr, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    model::{
        event::RunEnd,
        ids::{ExternalId, InputId, InvalidName, Kind, Name, RunId, SessionId, StartKey},
        labels::Labels,
        record::Failures,
        snapshot::{SnapshotEnvelope, SnapshotError},
        time::SupervisedTime,
    },
    policy::{
        Limit, Policy,
        restart::{Retry, Verdict, on_failure},
    },
    store::fuzzing::{some_bits, with_bit_flipped},
};

/// The envelope of a snapshot: as it is, and with its checksum put right.
pub(super) fn snapshot(bytes: &[u8]) {
    read_snapshot(bytes);
    if let Some((covered, _)) = bytes.split_last_chunk::<4>() {
        let checksum = crc32fast::hash(covered).to_le_bytes();
        read_snapshot(&[covered, &checksum].concat());
    }
}

fn read_snapshot(bytes: &[u8]) {
    let Ok(envelope) = SnapshotEnvelope::decode(bytes) else {
        return;
    };
    let again = SnapshotEnvelope::encode(&envelope.header, &envelope.payload);
    let read = SnapshotEnvelope::decode(&again).expect("what was encoded is decoded");
    assert_eq!(read, envelope);
    for place in some_bits(&again) {
        let error = SnapshotEnvelope::decode(&with_bit_flipped(&again, place))
            .expect_err("a changed bit is noticed");
        assert!(
            matches!(error, SnapshotError::Checksum | SnapshotError::NotASnapshot),
            "bit {place}: {error}"
        );
    }
}

/// A policy, and what it decides about a failure.
pub(super) fn policy(bytes: &[u8]) {
    if let Ok(limit) = serde_json::from_slice::<Limit>(bytes) {
        assert_comes_back(&limit);
    }
    let Ok(policy) = serde_json::from_slice::<Policy>(bytes) else {
        return;
    };
    assert_comes_back(&policy);
    assert_eq!(policy.to_builder().build().as_ref(), Ok(&policy));
    for in_a_row in [0, 1, 63, 1_100, u32::MAX] {
        let mut failures = Failures { in_a_row, ..Failures::default() };
        let verdict = on_failure(
            policy.restart(),
            &mut failures,
            RunEnd::Cancelled,
            Retry::ByPolicy,
            SupervisedTime::from_millis(7),
            Duration::ZERO,
            0.5,
        );
        match verdict {
            Verdict::Restart { delay, .. } => assert!(delay <= policy.restart().backoff.max),
            Verdict::Quarantine { why } => assert!(why.len() < 200, "{why}"),
            Verdict::Fail => {}
        }
    }
}

/// Ids, names and labels.
pub(super) fn names(bytes: &[u8]) {
    if let Ok(labels) = serde_json::from_slice::<Labels>(bytes) {
        assert_comes_back(&labels);
        assert!(labels.iter().count() <= Labels::MAX);
        for (key, value) in labels.iter() {
            assert!(!key.is_empty() && key.len() <= Labels::MAX_KEY);
            assert!(value.len() <= Labels::MAX_VALUE);
            assert!(!key.chars().chain(value.chars()).any(char::is_control));
        }
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    id::<SessionId>(text);
    id::<RunId>(text);
    name::<Kind>(text, Kind::MAX_LEN);
    name::<Name>(text, Name::MAX_LEN);
    name::<ExternalId>(text, ExternalId::MAX_LEN);
    name::<StartKey>(text, StartKey::MAX_LEN);
    name::<InputId>(text, InputId::MAX_LEN);
}

fn id<T: Stored + FromStr<Err = InvalidName> + ToString>(text: &str) {
    match T::from_str(text) {
        Ok(id) => {
            assert_comes_back(&id);
            assert_eq!(T::from_str(&id.to_string()).as_ref(), Ok(&id));
        }
        Err(error) => assert_short(&error),
    }
}

fn name<T: Stored + FromStr<Err = InvalidName> + ToString>(text: &str, max: usize) {
    let allowed = (1..=max).contains(&text.len()) && !text.chars().any(char::is_control);
    let json = serde_json::to_vec(text).expect("a text");
    match T::from_str(text) {
        Ok(name) => {
            assert!(allowed, "{text:?} was taken");
            assert_eq!(name.to_string(), text);
            assert_comes_back(&name);
            assert_eq!(serde_json::from_slice::<T>(&json).expect("as text and as JSON"), name);
        }
        Err(error) => {
            assert!(!allowed, "{text:?}: {error}");
            assert_short(&error);
            serde_json::from_slice::<T>(&json).expect_err("as text and as JSON");
        }
    }
}

/// What is kept as JSON.
trait Stored: Serialize + DeserializeOwned + PartialEq + Debug {}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Stored for T {}

fn assert_comes_back<T: Stored>(value: &T) {
    let json = serde_json::to_vec(value).expect("what was decoded can be encoded");
    let again: T = serde_json::from_slice(&json).expect("what was encoded is decoded");
    assert_eq!(&again, value, "{}", String::from_utf8_lossy(&json));
}

/// An error goes into logs: a hostile text must not fill them.
fn assert_short(error: &InvalidName) {
    // Forty characters, each written as an escape of up to ten.
    assert!(error.to_string().len() < 600, "{error}");
}
