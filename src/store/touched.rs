//! What a search touches: as many rows as it gives, however many there are.

use std::{cell::Cell, ops::RangeInclusive};

use chrono::DateTime;
use serde_json::json;
use uuid::Uuid;

use super::{
    Due, Key, LogEnd, LogItem, LogQuery, Order, Query, Related, StoreError,
    index::{self, Index, Lookup, Rows},
    journal::{self, Entry},
    runs,
};
use crate::model::{
    event::{Cause, Event, EventRecord, Fact, Lifecycle},
    event_type::EventType,
    ids::{RunId, SessionId, WorkerGeneration},
    labels::Labels,
    lineage::{Links, Relation},
    record::{Lane, SessionRecord},
    state::{PauseCause, Phase, State},
    time::{LaneTime, SupervisedTime, Timestamp},
};

/// How many sessions, or commits, there are.
const MANY: u128 = 5000;

/// Rows that count how often they are looked at.
struct Counting {
    rows: Rows,
    touched: Cell<usize>,
}

impl Counting {
    fn new(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        Self { rows: rows.into_iter().collect(), touched: Cell::new(0) }
    }

    fn touch(&self) {
        self.touched.set(self.touched.get() + 1);
    }

    /// What a search gives, which touches so many rows at most.
    fn within<T>(&self, most: usize, search: impl FnOnce(&Self) -> Result<T, StoreError>) -> T {
        self.touched.set(0);
        let found = search(self).expect("rows that make sense");
        let touched = self.touched.get();
        assert!(touched <= most, "{touched} rows were touched, of {most} at most");
        found
    }
}

impl Lookup for Counting {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.touch();
        self.rows.value(key)
    }
}

impl Index for Counting {
    fn below(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.touch();
        self.rows.below(bound)
    }

    fn above(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.touch();
        self.rows.above(bound)
    }

    fn sound(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.touch();
        self.rows.sound(key)
    }
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn at(seconds: u128) -> Timestamp {
    DateTime::from_timestamp(seconds.try_into().expect("a few"), 0).expect("a time")
}

/// Sessions in the order of their numbers. Every thousandth is another: of its own kind, paused, with a label, a name and a
/// parent, and due.
fn record(number: u128) -> SessionRecord {
    let of_interest = number.is_multiple_of(1000);
    let paused = Phase::Paused {
        cause: PauseCause::Asked,
        since: SupervisedTime::from_millis(7),
        until: Some(SupervisedTime::from_millis(9)),
    };
    let record = json!({
        "id": session(number),
        "kind": if of_interest { "rare" } else { "coder" },
        "version": 1,
        "writer": WorkerGeneration::from_uuid(Uuid::nil()),
        "created_at": at(number),
        "updated_at": at(number),
        "phase": if of_interest { paused } else { Phase::Completed },
        "last_event": 0,
    });
    let mut record: SessionRecord = serde_json::from_value(record).expect("a record");
    if of_interest {
        record.labels = Labels::new([("of", "interest")]).expect("a label");
        record.name = Some("known".parse().expect("a name"));
        record.lineage = Some(Box::new(Links { parent: Some(session(1)), ..Links::default() }));
    }
    record
}

#[test]
fn a_list_touches_what_it_gives() {
    let records: Vec<_> = (1..=MANY).map(record).collect();
    let rows = Counting::new(records.iter().flat_map(index::rows));
    let rare: Vec<SessionId> =
        (1..=MANY).rev().filter(|n| n.is_multiple_of(1000)).map(session).collect();
    let list = |query: Query| {
        let mut loaded = 0;
        let page = rows.within(rare.len() + 1, |rows| {
            index::list(rows, &query, |wanted| {
                loaded += 1;
                Ok(records.iter().find(|record| record.id == wanted).cloned())
            })
        });
        assert!(loaded <= rare.len(), "{loaded} records were read");
        page.records.iter().map(|record| record.id).collect::<Vec<_>>()
    };
    let any = Query { limit: 100, ..Query::default() };
    let children = Some(Related { to: session(1), relations: vec![Relation::Child] });
    assert_eq!(list(Query { kind: Some("rare".parse().expect("a kind")), ..any.clone() }), rare);
    assert_eq!(list(Query { states: vec![State::Paused], ..any.clone() }), rare);
    assert_eq!(list(Query { labels: vec![("of".into(), "interest".into())], ..any.clone() }), rare);
    assert_eq!(list(Query { related: children, ..any.clone() }), rare);
    let newest = list(Query { limit: 3, ..any });
    assert_eq!(newest, [session(MANY), session(MANY - 1), session(MANY - 2)]);
}

#[test]
fn what_is_found_by_a_key_or_is_due_is_not_searched_for() {
    let rows = Counting::new((1..=MANY).flat_map(|number| index::rows(&record(number))));
    let name = Key::Name("known".parse().expect("a name"));
    let found = rows.within(2, |rows| index::find(rows, &name));
    assert_eq!(found, Some(session(MANY)));

    let time = |millis| LaneTime::from(SupervisedTime::from_millis(millis));
    let due = |until| rows.within(6, |rows| index::due(rows, Lane::Timeout, time(until), 100));
    assert_eq!(due(8), []);
    let expected: Vec<_> =
        (1..=5).map(|n| Due { at: time(9), session: session(n * 1000) }).collect();
    assert_eq!(due(9), expected);

    let run = |number| RunId::from_uuid(Uuid::from_u128(number));
    let runs = (1..=MANY).flat_map(|number| {
        let begins = Lifecycle::StateChanged {
            from: State::Pending,
            to: State::Active,
            cause: Cause::SlotFree,
            reason: None,
            begins: false,
        };
        let begun = EventRecord {
            sequence: 2,
            at: at(number),
            run: Some(run(number)),
            input: None,
            fact: Fact::Lifecycle(begins),
        };
        runs::rows(session(number), &[begun]).collect::<Vec<_>>()
    });
    let runs = Counting::new(runs.map(|(key, value)| (key, value.unwrap_or_default())));
    let found = runs.within(2, |rows| runs::find(rows, run(77)));
    assert_eq!(found.map(|run| run.session), Some(session(77)));
}

/// The log of commits of one event each, of which every thousandth is an error.
fn event(sequence: u64) -> EventRecord {
    let fact = if sequence.is_multiple_of(1000) {
        Event::error("of interest")
    } else {
        Event::completion("x")
    };
    EventRecord { sequence, at: at(0), run: None, input: None, fact: Fact::Work(fact) }
}

#[test]
fn a_page_of_the_log_touches_what_it_gives() {
    let last = u64::try_from(MANY).expect("few");
    let groups = (1..=last).flat_map(|position| {
        let entry = Entry::of(session(1), &[event(position)]).expect("an event");
        journal::rows(position, &[entry])
    });
    let rows = Counting::new(groups);
    let read = |most: usize, query: LogQuery| -> Vec<u64> {
        let load = |_, wanted: RangeInclusive<u64>| Ok(wanted.map(event).collect());
        let end = LogEnd { log: 1, last };
        let page = rows.within(most, |rows| journal::page(rows, end, &query, load));
        let position = |item: &LogItem| match item {
            LogItem::Event(logged) => logged.position,
            LogItem::Gap { from, to } => panic!("a gap from {from} to {to}"),
        };
        page.items.iter().map(position).collect()
    };
    // A row of the walk and one of its group for each, and one at either end.
    let errors = LogQuery { types: EventType::Error.into(), ..LogQuery::default() };
    assert_eq!(read(12, errors), [5000, 4000, 3000, 2000, 1000]);
    let errors = LogQuery { from: 1, order: Order::OldestFirst, ..errors };
    assert_eq!(read(12, errors), [1000, 2000, 3000, 4000, 5000]);
    let newest = LogQuery { limit: 3, ..LogQuery::default() };
    assert_eq!(read(6, newest), [5000, 4999, 4998]);
    let some = LogQuery { from: 2500, order: Order::OldestFirst, limit: 3, ..LogQuery::default() };
    assert_eq!(read(7, some), [2500, 2501, 2502]);
}
