//! The snapshot envelope: what was written is read, and nothing else.

use proptest::prelude::*;
use uuid::Uuid;

use crate::model::{
    ids::{Kind, RunId, SessionId},
    snapshot::{Codec, SNAPSHOT_FORMAT, SnapshotEnvelope, SnapshotError, SnapshotHeader},
};

fn header() -> SnapshotHeader {
    SnapshotHeader {
        kind: Kind::new("coder").unwrap(),
        state_version: 3,
        session: SessionId::from_uuid(Uuid::from_u128(1)),
        run: Some(RunId::from_uuid(Uuid::from_u128(2))),
        sequence: 9,
        codec: Codec::Json,
    }
}

fn written() -> Vec<u8> {
    SnapshotEnvelope::encode(&header(), br#"{"turns":["hello"]}"#)
}

/// The same bytes with a checksum that fits them.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// An envelope of another format, undamaged.
fn of_format(format: u16) -> Vec<u8> {
    let mut bytes = written();
    bytes[4..6].copy_from_slice(&format.to_le_bytes());
    resealed(bytes)
}

fn name(result: &Result<SnapshotEnvelope, SnapshotError>) -> &'static str {
    match result {
        Ok(_) => "read",
        Err(SnapshotError::NotASnapshot) => "not a snapshot",
        Err(SnapshotError::Truncated) => "truncated",
        Err(SnapshotError::Checksum) => "checksum",
        Err(SnapshotError::NewerFormat { .. }) => "newer format",
        Err(SnapshotError::Header(_)) => "header",
    }
}

fn check(bytes: &[u8], expected: &str) {
    assert_eq!(name(&SnapshotEnvelope::decode(bytes)), expected, "{bytes:02x?}");
}

#[test]
fn what_was_written_is_read() {
    let envelope = SnapshotEnvelope::decode(&written()).unwrap();
    assert_eq!(envelope.header, header());
    assert_eq!(&*envelope.payload, br#"{"turns":["hello"]}"#);
}

#[test]
fn the_bytes_are_laid_out_as_documented() {
    let bytes = written();
    let json = serde_json::to_vec(&header()).unwrap();
    let mut expected = b"SKSN".to_vec();
    expected.extend_from_slice(&[1, 0]);
    expected.extend_from_slice(&u32::try_from(json.len()).unwrap().to_le_bytes());
    expected.extend_from_slice(&json);
    expected.extend_from_slice(br#"{"turns":["hello"]}"#);
    let sum = crc32fast::hash(&expected);
    expected.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn every_flip_of_a_single_byte_is_refused() {
    let original = written();
    for index in 0..original.len() {
        for flip in 1..=255 {
            let mut bytes = original.clone();
            bytes[index] ^= flip;
            let expected = if index < 4 { "not a snapshot" } else { "checksum" };
            let found = name(&SnapshotEnvelope::decode(&bytes));
            assert_eq!(found, expected, "byte {index} flipped by {flip:#04x}");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let original = written();
    for length in 0..original.len() {
        let expected = if length < 10 { "truncated" } else { "checksum" };
        let found = name(&SnapshotEnvelope::decode(&original[..length]));
        assert_eq!(found, expected, "cut to {length} bytes");
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    for extra in [&[0][..], &[0, 0, 0, 0], b"SKSN"] {
        let mut bytes = written();
        bytes.extend_from_slice(extra);
        check(&bytes, "checksum");
    }
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    for format in [SNAPSHOT_FORMAT + 1, 256, u16::MAX] {
        let intact = of_format(format);
        assert!(
            matches!(
                SnapshotEnvelope::decode(&intact),
                Err(SnapshotError::NewerFormat { found }) if found == format
            ),
            "format {format}"
        );
        let mut damaged = intact;
        *damaged.last_mut().unwrap() ^= 1;
        check(&damaged, "checksum");
    }
}

#[test]
fn a_newer_format_need_not_have_our_header() {
    let mut bytes = b"SKSN".to_vec();
    bytes.extend_from_slice(&(SNAPSHOT_FORMAT + 1).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    check(&resealed(bytes), "newer format");
}

#[test]
fn format_zero_was_never_written() {
    check(&of_format(0), "not a snapshot");
}

#[test]
fn a_header_length_that_points_past_the_end_is_refused() {
    for length in [10_000, u32::MAX] {
        let mut bytes = written();
        bytes[6..10].copy_from_slice(&length.to_le_bytes());
        check(&resealed(bytes), "truncated");
    }
}

#[test]
fn a_header_that_cannot_be_read_is_refused_with_its_reason() {
    let mut bytes = written();
    let codec = bytes.windows(6).position(|window| window == b"\"json\"").unwrap();
    bytes[codec + 1] = b'x';
    let error = SnapshotEnvelope::decode(&resealed(bytes)).unwrap_err();
    assert_eq!(error.to_string(), "the header of the snapshot cannot be read");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("xson"), "{source}");
}

#[test]
fn other_files_are_not_snapshots() {
    check(b"{\"turns\": []}", "not a snapshot");
    check(b"SKS", "truncated");
    check(b"", "truncated");
}

proptest! {
    #[test]
    fn any_header_and_payload_round_trip(
        kind in "[a-z0-9äöü./_-]{1,16}",
        state_version: u32,
        session: u128,
        run: Option<u128>,
        sequence: u64,
        payload: Vec<u8>,
    ) {
        let header = SnapshotHeader {
            kind: Kind::new(kind).unwrap(),
            state_version,
            session: SessionId::from_uuid(Uuid::from_u128(session)),
            run: run.map(|run| RunId::from_uuid(Uuid::from_u128(run))),
            sequence,
            codec: Codec::Json,
        };
        let bytes = SnapshotEnvelope::encode(&header, &payload);
        let envelope = SnapshotEnvelope::decode(&bytes).unwrap();
        prop_assert_eq!(envelope.header, header);
        prop_assert_eq!(&*envelope.payload, &payload[..]);
    }

    #[test]
    fn hostile_bytes_never_panic(head in 0..3_usize, mut tail: Vec<u8>, sealed: bool) {
        let mut bytes = [&b""[..], b"SKSN", b"SKSN\x01\x00"][head].to_vec();
        bytes.append(&mut tail);
        bytes.extend_from_slice(&[0; 4]);
        if sealed {
            bytes = resealed(bytes);
        }
        prop_assert_ne!(name(&SnapshotEnvelope::decode(&bytes)), "read");
    }
}
