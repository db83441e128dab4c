//! What is in the files after whatever happens between two calls.

use super::*;
use crate::{
    model::event::EventRecord,
    model::{
        event::{Event, Fact},
        ids::SessionId,
        log_cursor::LogCursor,
        time::Timestamp,
    },
};

fn item(number: u64) -> SinkItem {
    let event = Event::completion(format!("number {number}, and a line\nfeed"));
    SinkItem::Event {
        cursor: LogCursor::new(7, number),
        session: SessionId::from_uuid(uuid::Uuid::from_u128(1)),
        event: Arc::new(EventRecord {
            sequence: number,
            at: Timestamp::default(),
            run: None,
            input: None,
            fact: Fact::Work(event),
        }),
    }
}

fn batch(numbers: std::ops::RangeInclusive<u64>) -> SinkBatch {
    SinkBatch::new(numbers.map(item).collect())
}

fn write(sink: &JsonLines, numbers: std::ops::RangeInclusive<u64>) {
    let count = sink.folder.write(&batch(numbers.clone())).expect("it is written");
    assert_eq!(count, numbers.count());
}

/// What the files of a folder hold, in their order.
fn read(folder: &Path) -> Vec<Vec<SinkItem>> {
    let files = numbers(folder).expect("a folder").into_iter().map(|number| {
        let text = fs::read_to_string(path(folder, number)).expect("a file");
        text.lines().map(|line| serde_json::from_str(line).expect("an item")).collect()
    });
    files.collect()
}

fn items(numbers: std::ops::RangeInclusive<u64>) -> Vec<SinkItem> {
    numbers.map(item).collect()
}

#[test]
fn what_is_written_is_read_back_line_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = JsonLines::open(folder.path()).expect("a sink");
    write(&sink, 1..=3);
    write(&sink, 4..=4);
    assert_eq!(read(folder.path()), [items(1..=4)]);
}

#[test]
fn a_batch_that_comes_again_is_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let sink = JsonLines::open(folder.path()).expect("a sink");
    write(&sink, 1..=3);
    write(&sink, 1..=3);
    drop(sink);
    let sink = JsonLines::open(folder.path()).expect("a sink");
    write(&sink, 2..=5);
    assert_eq!(read(folder.path()), [items(1..=5)]);
}

#[test]
fn a_line_that_was_cut_short_is_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(JsonLines::open(folder.path()).map(|sink| write(&sink, 1..=3)));
    let file = path(folder.path(), 1);
    let whole = fs::read(&file).expect("a file");
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).expect("a shorter file");
        let sink = JsonLines::open(folder.path()).expect("a sink");
        write(&sink, 1..=3);
        drop(sink);
        assert_eq!(fs::read(&file).expect("a file"), whole, "cut after {length} bytes");
    }
}

#[test]
fn a_cut_line_of_any_length_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(JsonLines::open(folder.path()).map(|sink| write(&sink, 1..=1)));
    let mut file = OpenOptions::new().append(true).open(path(folder.path(), 1)).expect("a file");
    file.write_all(&vec![b'x'; TAIL as usize + 100]).expect("a long line");
    let sink = JsonLines::open(folder.path()).expect("a sink");
    write(&sink, 1..=2);
    assert_eq!(read(folder.path()), [items(1..=2)]);
}

#[test]
fn files_are_turned_and_the_oldest_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || JsonLines::options(folder.path()).file_bytes(1).keep(2);
    let sink = options().open().expect("a sink");
    for number in 1..=4 {
        write(&sink, number..=number);
    }
    assert_eq!(read(folder.path()), [items(3..=3), items(4..=4)]);
    drop(sink);
    write(&options().open().expect("a sink"), 5..=5);
    assert_eq!(read(folder.path()), [items(4..=4), items(5..=5)]);
}

#[test]
fn a_folder_has_one_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = JsonLines::open(folder.path()).expect("a sink");
    let refused = JsonLines::open(folder.path()).expect_err("it is taken");
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    assert!(refused.to_string().contains("another process writes to"), "{refused}");
    drop(first);
    JsonLines::open(folder.path()).expect("it is free");
}
