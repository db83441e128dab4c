//! A recorder that keeps everything it is told, by name and labels.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, LocalRecorderGuard,
    Metadata, Recorder, SharedString, Unit,
};

/// Keeps what this thread records.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

/// What a book has kept. A series is written `name{label=value,…}`.
#[derive(Clone, Default, Debug, PartialEq)]
pub(crate) struct Pages {
    /// Of each name its type, its unit and its meaning.
    pub(crate) described: BTreeMap<String, (&'static str, &'static str, String)>,
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) gauges: BTreeMap<String, f64>,
    pub(crate) histograms: BTreeMap<String, Vec<f64>>,
}

impl Book {
    pub(crate) fn install(&self) -> LocalRecorderGuard<'_> {
        ::metrics::set_default_local_recorder(self)
    }

    pub(crate) fn pages(&self) -> Pages {
        self.lock().clone()
    }

    pub(crate) fn counter(&self, series: &str) -> u64 {
        self.lock().counters.get(series).copied().unwrap_or_default()
    }

    pub(crate) fn histogram(&self, series: &str) -> Vec<f64> {
        self.lock().histograms.get(series).cloned().unwrap_or_default()
    }

    /// The sessions that are pending, active, paused and stopping.
    pub(crate) fn sessions(&self) -> [f64; 4] {
        ["pending", "active", "paused", "stopping"]
            .map(|state| self.lock().gauges[&format!("sessionkeeper_sessions{{state={state}}}")])
    }

    /// How often a session moved, by where to and why.
    pub(crate) fn moves(&self) -> BTreeMap<String, u64> {
        let name = "sessionkeeper_transitions_total";
        let counters = self.pages().counters.into_iter();
        counters
            .filter_map(|(series, count)| Some((series.strip_prefix(name)?.to_owned(), count)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    fn describe(
        &self,
        kind: &'static str,
        name: &KeyName,
        unit: Option<Unit>,
        meaning: &SharedString,
    ) {
        let unit = unit.map_or("", |unit| unit.as_str());
        let description = (kind, unit, meaning.to_string());
        let before = self.lock().described.insert(name.as_str().to_owned(), description.clone());
        // The next worker says the same again.
        assert!(before.is_none_or(|before| before == description), "{name:?} is described twice");
    }

    fn series(&self, key: &Key) -> Arc<Series> {
        let name = key.name().to_owned();
        let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        let of_name = key.labels().map(|label| label.key().to_owned());
        self.lock().labels.entry(name.clone()).or_default().extend(of_name);
        let name = if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) };
        Arc::new(Series { book: self.clone(), name })
    }
}

struct Series {
    book: Book,
    name: String,
}

impl Recorder for Book {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("counter", &name, unit, &meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("gauge", &name, unit, &meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.describe("histogram", &name, unit, &meaning);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let series = self.series(key);
        CounterFn::increment(&*series, 0);
        Counter::from_arc(series)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let series = self.series(key);
        GaugeFn::increment(&*series, 0.0);
        Gauge::from_arc(series)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.series(key))
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        *self.book.lock().counters.entry(self.name.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {
        panic!("{} is only ever added to", self.name);
    }
}

impl GaugeFn for Series {
    fn increment(&self, value: f64) {
        *self.book.lock().gauges.entry(self.name.clone()).or_default() += value;
    }

    fn decrement(&self, value: f64) {
        *self.book.lock().gauges.entry(self.name.clone()).or_default() -= value;
    }

    fn set(&self, _: f64) {
        panic!("{} is shared by all workers of a process", self.name);
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        self.book.lock().histograms.entry(self.name.clone()).or_default().push(value);
    }
}
