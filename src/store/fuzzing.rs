//! The decoders of stored values and archives, and what holds of them for any bytes.

use std::io::BufRead;

use serde::Deserialize;
use uuid::Uuid;

pub(crate) use super::sled::fuzzing as sled;
use super::{
    Key, Query, Related,
    archive::{Archive, ArchiveError, Item, Lines},
    codec::{self, Frame, Reader},
    index::{self, Rows},
};
use crate::model::{
    ids::{Name, SessionId, StartKey, StepKey},
    record::{Lane, SessionRecord},
    step::Turn,
    time::LaneTime,
};

const FRAMES: [Frame; 13] = [
    Frame::Bookmark,
    Frame::Chunk,
    Frame::Events,
    Frame::Head,
    Frame::Input,
    Frame::InputId,
    Frame::Chunked,
    Frame::Meta,
    Frame::Piece,
    Frame::Record,
    Frame::Snapshot,
    Frame::Step,
    Frame::IndexRow,
];

/// A frame: as it is, and around the bytes as its body.
pub(crate) fn frame(bytes: &[u8]) {
    for kind in FRAMES {
        if let Ok(body) = codec::unseal(kind, bytes) {
            assert_eq!(sealed(kind, body), bytes);
        }
        let sealed = sealed(kind, bytes);
        assert!(codec::claims(kind, &sealed));
        assert_eq!(codec::unseal(kind, &sealed).expect("a sound frame"), bytes);
        for place in some_bits(&sealed) {
            codec::unseal(kind, &with_bit_flipped(&sealed, place)).expect_err("a changed bit");
        }
        for other in FRAMES.into_iter().filter(|other| *other != kind) {
            codec::unseal(other, &sealed).expect_err("another kind");
        }
    }
}

/// The body of a record. Its index rows must lead to it.
pub(crate) fn record(bytes: &[u8]) {
    #[derive(Deserialize)]
    struct Named {
        id: SessionId,
    }
    let nobody = SessionId::from_uuid(Uuid::nil());
    let session = serde_json::from_slice::<Named>(bytes).map_or(nobody, |named| named.id);
    let Ok(record) = codec::read_record(session, bytes) else {
        return;
    };
    assert_eq!(record.id, session);
    assert_sensible(&record);
    let again = codec::record(&record);
    assert_eq!(codec::read_record(session, &again).expect("what was encoded is decoded"), record);

    let rows = index::rows(&record);
    let load = |_| Ok(Some(record.clone()));
    let page = index::list(&rows, &Query::default(), load).expect("sound rows");
    assert_eq!(page.records, std::slice::from_ref(&record));
    assert_eq!(page.next, None);
    let queries = [
        Query { states: vec![record.state()], ..Query::default() },
        Query { kind: Some(record.kind.clone()), ..Query::default() },
    ];
    let sources = record
        .links()
        .sources()
        .map(|(_, to)| Query { related: Some(Related::all_of(to)), ..Query::default() });
    for query in queries.into_iter().chain(sources) {
        assert_eq!(index::list(&rows, &query, load).expect("sound rows").records.len(), 1);
    }
    let keys = [
        record.name.clone().map(Key::Name),
        record.external_id.clone().map(Key::ExternalId),
        record.start_key.clone().map(|start| Key::Start(start.key)),
    ];
    for key in keys.into_iter().flatten() {
        assert_eq!(index::find(&rows, &key).expect("sound rows"), Some(session));
    }
    for lane in Lane::ALL {
        let due = index::due(&rows, lane, LaneTime::from_millis(u64::MAX), 10);
        let due = due.expect("sound rows").into_iter().map(|due| (due.at, due.session));
        assert!(due.eq(record.due(lane).map(|at| (at, session))));
    }
}

/// What every record holds to that the library goes on with.
fn assert_sensible(record: &SessionRecord) {
    let inbox = &record.inbox;
    let counters = [record.version, record.last_event, inbox.accepted, inbox.waiting_bytes];
    let snapshots = record.snapshots.iter().map(|kept| kept.sequence);
    for count in counters.into_iter().chain(snapshots) {
        count.checked_add(u64::from(u32::MAX)).expect("a count that can be counted on");
    }
    assert!(inbox.consumed <= inbox.accepted);
    assert!(record.inputs_covered() <= inbox.accepted);
}

/// The number of an input and its body, which has one form only.
pub(crate) fn input(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let Ok(sequence) = reader.u64() else {
        return;
    };
    let body = reader.0;
    if let Ok(input) = codec::read_input(sequence, body) {
        assert_eq!(codec::input(&input), body);
        codec::read_input(sequence ^ 1, body).expect_err("another input");
    }
}

/// The body of a step, which has one form only.
pub(crate) fn step(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let (Ok(input), Ok(interlude)) = (reader.u64(), reader.u64()) else {
        return;
    };
    let turn = Turn { input, interlude };
    let key = reader
        .take(8 + 4 + 16)
        .and_then(|_| reader.array())
        .and_then(|length| reader.take(usize::from(u16::from_le_bytes(length))));
    let key = key.ok().and_then(|key| StepKey::new(str::from_utf8(key).ok()?).ok());
    let Some(key) = key else {
        return;
    };
    if let Ok(step) = codec::read_step(turn, &key, bytes) {
        assert_eq!(codec::step(&step), bytes);
        let other = Turn { input: input ^ 1, interlude };
        codec::read_step(other, &key, bytes).expect_err("another turn");
    }
}

/// The number of the first event of a chunk and the body of the chunk.
pub(crate) fn events(bytes: &[u8]) {
    let mut reader = Reader(bytes);
    let Ok(first) = reader.u64() else {
        return;
    };
    let body = reader.0;
    let after = codec::after_events(first, body);
    let none = codec::read_events(first, body, |_| false);
    assert_eq!(after.is_ok(), none.is_ok(), "both read the lengths alone");
    let Ok(events) = codec::read_events(first, body, |_| true) else {
        return;
    };
    assert_eq!(after.expect("it can be read") - first, events.len() as u64);
    let mut again = Vec::new();
    for (event, sequence) in events.iter().zip(first..) {
        assert_eq!(event.sequence, sequence);
        codec::push_event(&mut again, event);
        let one = codec::read_events(first, body, |wanted| wanted == sequence);
        assert_eq!(one.expect("it can be read"), std::slice::from_ref(event));
    }
    let read = codec::read_events(first, &again, |_| true);
    assert_eq!(read.expect("what was encoded is decoded"), events);
}

/// Index rows as they might be found in a damaged store: any search over them ends.
pub(crate) fn index(bytes: &[u8]) {
    let mut rows = Rows::new();
    let mut reader = Reader(bytes);
    while let Ok([key, value]) = reader.array()
        && let Ok(key) = reader.take(key.into())
        && let Ok(value) = reader.take(value.into())
    {
        if let Some(session) = index::session_of(key) {
            assert!(key.ends_with(&session.as_uuid().into_bytes()), "{}", key.escape_ascii());
        }
        rows.insert(key.to_vec(), value.to_vec());
    }
    let name = Name::new("n").expect("a name");
    let start = StartKey::new("n").expect("a key");
    for key in [Key::Name(name), Key::Start(start)] {
        let _ = index::find(&rows, &key);
    }
    let mut loaded = 0;
    let _ = index::list(&rows, &Query::default(), |_| {
        loaded += 1;
        assert!(loaded <= rows.len(), "more than there are");
        Ok(None)
    });
    for lane in Lane::ALL {
        let due = index::due(&rows, lane, LaneTime::from_millis(u64::MAX), rows.len() + 1);
        if let Ok(due) = due {
            assert!(due.len() <= rows.len());
            assert!(due.is_sorted());
        }
    }
}

/// The lines of an archive.
pub(crate) fn archive(bytes: &[u8]) {
    let Ok(items) = items(bytes) else {
        return;
    };
    for item in &items {
        if let Item::Record(record) = item {
            assert_sensible(record);
        }
    }
    let again = lines(items);
    let items = self::items(again.as_slice()).expect("what was encoded is decoded");
    assert_eq!(lines(items).escape_ascii().to_string(), again.escape_ascii().to_string());
}

fn items(reader: impl BufRead) -> Result<Vec<Item>, ArchiveError> {
    let mut items = Vec::new();
    Archive::begin(reader)?.items(&mut |item| {
        items.push(item);
        Ok(())
    })?;
    Ok(items)
}

fn lines(items: Vec<Item>) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut lines = Lines::begin(&mut archive).expect("memory takes everything");
    for item in items {
        lines.write(&item.into()).expect("memory takes everything");
    }
    lines.end().expect("memory takes everything");
    archive
}

fn sealed(kind: Frame, body: &[u8]) -> Vec<u8> {
    codec::seal(kind, body)
}

/// The bits that are looked at: one of each half, chosen by the content.
pub(crate) fn some_bits(bytes: &[u8]) -> [usize; 2] {
    let bits = bytes.len() * 8;
    let chosen = usize::try_from(crc32fast::hash(bytes)).unwrap_or(0) % bits.max(1);
    [chosen, bits - 1 - chosen]
}

pub(crate) fn with_bit_flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    if let Some(byte) = changed.get_mut(place / 8) {
        *byte ^= 1 << (place % 8);
    }
    changed
}
