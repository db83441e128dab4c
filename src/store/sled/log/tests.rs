use std::fs;

use tempfile::TempDir;

use super::*;
use crate::store::{codec, sled::meta::Meta};

const PUT: u8 = 5;

/// A segment of the log: its place in the order of all, and its messages.
fn segment(number: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let lsn = i64::try_from(number * SEGMENT as u64).expect("small");
    let mut covered = (lsn ^ i64::MAX).to_le_bytes().to_vec();
    covered.extend_from_slice(&i64::MAX.to_le_bytes());
    let mut bytes = (!crc32fast::hash(&covered)).to_le_bytes().to_vec();
    bytes.append(&mut covered);
    bytes.extend(messages.iter().flatten());
    bytes.resize(SEGMENT, 0);
    bytes
}

/// A message in the segment with this number.
fn message(segment: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let header = [kind, u8::try_from(body.len()).expect("short"), segment, 0];
    let mut hash = crc32fast::Hasher::new();
    hash.update(body);
    hash.update(&header);
    let checksum = (!hash.finalize()).to_le_bytes();
    [&checksum, header.as_slice(), body].concat()
}

fn commit(segment: u8, commit: u64) -> Vec<u8> {
    let meta = Meta { commit, ..Meta::default() };
    let row = codec::seal(codec::Frame::Meta, &meta.encode());
    message(segment, PUT, &row)
}

/// Ends a segment before it is full.
fn cap(segment: u8) -> Vec<u8> {
    message(segment, CAP, b"")
}

/// Two segments that are full, and the newest, which ends somewhere; each with a commit.
fn three() -> [Vec<u8>; 3] {
    [
        segment(0, &[commit(0, 1), cap(0)]),
        segment(1, &[commit(1, 2), cap(1)]),
        segment(2, &[commit(2, 3)]),
    ]
}

fn spoiled(mut segment: Vec<u8>, at: usize) -> Vec<u8> {
    segment[at] ^= 1;
    segment
}

fn blank() -> Vec<u8> {
    vec![0; SEGMENT]
}

/// A database with this log.
fn database(log: &[Vec<u8>]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("db"), log.concat()).expect("written");
    folder
}

/// What is found in a log by a mark that knows of a commit.
fn found(log: &[Vec<u8>], commit: u64) -> Log {
    check(database(log).path(), &knows_of(commit))
}

fn knows_of(commit: u64) -> Mark {
    let mut mark = Mark::default();
    mark.commit = commit;
    mark
}

#[test]
fn a_log_is_whole_where_it_holds_what_the_mark_knows_of() {
    for (known, log) in [(2, Log::Whole), (3, Log::Whole), (4, Log::Short)] {
        assert_eq!(found(&three(), known), log, "the mark knows of commit {known}");
    }
    let [first, second, third] = three();
    assert_eq!(found(&[third, first, second], 3), Log::Whole, "in another order");
    let [first, second, _] = three();
    let without = segment(2, &[message(2, PUT, b"something else")]);
    assert_eq!(found(&[first, second, without], 2), Log::Whole, "the newest has no commit");
    assert_eq!(found(&[], 0), Log::Whole);
    assert_eq!(found(&[], 1), Log::Short);
}

#[test]
fn a_log_that_became_shorter_is_in_doubt() {
    let folder = database(&three());
    let length = 3 * SEGMENT as u64;
    for (known, log) in [(length - 1, Log::Whole), (length, Log::Whole), (length + 1, Log::Short)] {
        let mut mark = knows_of(3);
        mark.length = known;
        assert_eq!(check(folder.path(), &mark), log, "the mark knows of {known} bytes");
    }
}

#[test]
fn a_log_that_ends_early_is_torn_unless_it_is_the_newest_segment_that_does() {
    for (place, log) in [(0, Log::Torn), (1, Log::Torn), (2, Log::Short)] {
        let mut segments = three();
        let segment = std::mem::take(&mut segments[place]);
        segments[place] = spoiled(segment, SEGMENT_HEADER + 10);
        assert_eq!(found(&segments, 3), log, "segment {place}");
    }
}

#[test]
fn a_segment_that_is_missing_is_a_tear_only_if_one_cannot_be_read() {
    let [first, second, third] = three();
    let unreadable = spoiled(first, 4);
    // It was used anew, or is free.
    assert_eq!(found(&[second.clone(), third.clone()], 3), Log::Whole);
    assert_eq!(found(&[blank(), second.clone(), third.clone()], 3), Log::Whole);
    // It may be the one that is missing.
    assert_eq!(found(&[unreadable.clone(), second.clone(), third.clone()], 3), Log::Torn);
    assert_eq!(found(&[unreadable.clone(), blank(), second, third], 3), Log::Torn);
    // Nothing is missing.
    let [first, second, third] = three();
    assert_eq!(found(&[first, unreadable, second, third], 3), Log::Whole);
}

#[test]
fn two_segments_at_one_place_of_the_log_are_a_tear() {
    let [first, second, third] = three();
    assert_eq!(found(&[first, second.clone(), second, third], 3), Log::Torn);
}

#[test]
fn what_was_to_be_written_at_once_is_there_to_its_end_or_in_doubt() {
    let batch = |last: u64| {
        let first = segment(0, &[message(0, BATCH, &last.to_le_bytes()), commit(0, 1), cap(0)]);
        let [_, second, third] = three();
        [first, second, third]
    };
    let end = 2 * SEGMENT + SEGMENT_HEADER + commit(2, 3).len();
    assert_eq!(found(&batch(end as u64 - 1), 3), Log::Whole);
    assert_eq!(found(&batch(end as u64), 3), Log::Short);
}

#[test]
fn what_is_older_than_the_newest_snapshot_does_not_matter() {
    for (place, log) in [(0, Log::Whole), (1, Log::Torn)] {
        let mut segments = three();
        let segment = std::mem::take(&mut segments[place]);
        segments[place] = spoiled(segment, SEGMENT_HEADER + 10);
        let folder = database(&segments);
        // Taken in the middle of the second segment, which is replayed from its begin.
        for lsn in [100, SEGMENT + 100] {
            fs::write(folder.path().join(format!("snap.{lsn:016X}")), b"").expect("written");
        }
        assert_eq!(check(folder.path(), &knows_of(3)), log, "segment {place}");
    }
    // Nor does it matter which of the older ones that is.
    let [first, second, third] = three();
    let folder = database(&[spoiled(first, 4), second, third]);
    fs::write(folder.path().join(format!("snap.{:016X}", SEGMENT + 100)), b"").expect("written");
    assert_eq!(check(folder.path(), &knows_of(3)), Log::Whole);
}

/// The forms that sled writes numbers in.
#[test]
fn numbers_are_read_in_all_their_lengths() {
    let numbers: [(u64, &[u8]); 9] = [
        (0, &[0]),
        (240, &[240]),
        (241, &[241, 1]),
        (2287, &[248, 255]),
        (2288, &[249, 0, 0]),
        (67_823, &[249, 255, 255]),
        (67_824, &[250, 0xf0, 0x08, 0x01]),
        (1 << 24, &[251, 0, 0, 0, 1]),
        (u64::MAX, &[255; 9]),
    ];
    for (number, bytes) in numbers {
        let followed = [bytes, b"rest"].concat();
        assert_eq!(varint(&followed), Some((number, b"rest".as_slice())), "{number}");
        for length in 0..bytes.len() {
            assert_eq!(varint(&bytes[..length]), None, "{number} cut short");
        }
    }
}

#[test]
fn a_segment_that_has_no_room_for_another_message_is_whole() {
    let filler = message(0, PUT, &[7; 240]);
    for room in [0, LARGEST_MESSAGE_HEADER - 1] {
        let last = commit(0, 1);
        let mut left = SEGMENT - SEGMENT_HEADER - room - last.len();
        let mut messages = Vec::new();
        while left > filler.len() + 100 {
            messages.push(filler.clone());
            left -= filler.len();
        }
        for part in [left / 2, left - left / 2] {
            messages.push(message(0, PUT, &vec![7; part - 8]));
        }
        messages.push(last);
        let full = segment(0, &messages);
        assert_eq!(found(std::slice::from_ref(&full), 1), Log::Whole, "{room}");
        let [_, second, third] = three();
        assert_eq!(found(&[full, second, third], 3), Log::Whole, "{room}");
    }
}

#[test]
fn a_message_that_was_given_up_or_is_of_another_segment_ends_the_log() {
    for odd in [message(2, CORRUPTED, b"given up"), message(1, PUT, b"of another segment")] {
        let [first, second, _] = three();
        let newest = segment(2, &[commit(2, 3), odd.clone(), commit(2, 4)]);
        assert_eq!(found(&[first.clone(), second, newest], 3), Log::Whole);
        let newest = segment(2, &[odd, commit(2, 3)]);
        let [_, second, _] = three();
        assert_eq!(found(&[first, second, newest], 3), Log::Short);
    }
}
