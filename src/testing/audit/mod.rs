//! What must hold of everything in a store, whatever happened before.

use std::{collections::BTreeMap, fmt};

use crate::{
    model::{event::EventRecord, ids::SessionId, record::SessionRecord},
    store::{Query, Store, StoreError},
};

mod behind;
mod deleted;
mod log;
mod stored;

pub use self::log::audit_log;

/// What an [`audit`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Everything can be read, and is listed.
    Readable,
    /// Events are numbered without gaps, from 1 or from one up to which the record says that they are gone; and it knows the last of
    /// them.
    Numbering,
    /// Every move is in the table of states, and goes on where the one before it ended.
    Moves,
    /// A session has at most one run at a time, and each run ends once.
    OneRun,
    /// A run records something only while it is the current one.
    Fencing,
    /// The record says what the log says.
    Record,
    /// Inputs have no gaps, and exactly those are kept that a snapshot may still need.
    Inputs,
    /// Exactly the steps are kept that a snapshot may still need, each once.
    Steps,
    /// Exactly the snapshots are kept that the record names, and they can be read.
    Snapshots,
    /// What was deleted is found by nobody, and nothing is left of it where its tombstone says so.
    Deleted,
    /// Listings, counters, keys and due times say what the records say.
    Index,
}

/// Something that must not be in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The session that it is about, if it is about one.
    pub session: Option<SessionId>,
    /// What it breaks.
    pub rule: Rule,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(session) = self.session {
            write!(f, "session {session}: ")?;
        }
        write!(f, "{:?}: {}", self.rule, self.found)
    }
}

/// Reads a whole store and says everything that must not be: gaps in a log, a record that is not
/// what its log says, two runs of one session at once, inputs or snapshots that are missing, and
/// so on. An empty answer means that nothing is wrong.
///
/// It changes nothing and keeps nothing but one session in memory at a time, besides the records.
/// The store must be open and nobody may use it meanwhile: shut the supervisor down or drop it,
/// and open the store again. What is found in a store whose bytes were damaged is reported as any
/// other violation.
///
/// Use it at the end of a test of your own workload, store or faults:
///
/// ```
/// # async fn example() {
/// use sessionkeeper::{store::MemoryStore, testing::audit};
///
/// let store = MemoryStore::new();
/// // ... some workers on clones of the store, and what befell them ...
/// assert_eq!(audit(&store).await, []);
/// # }
/// # tokio_test::block_on(example());
/// ```
pub async fn audit<S: Store + ?Sized>(store: &S) -> Vec<Violation> {
    let mut findings = Findings::default();
    let records = match all_records(store, &mut findings).await {
        Ok(records) => records,
        Err(error) => {
            findings.add(Rule::Readable, format!("sessions cannot be listed: {error}"));
            return findings.0;
        }
    };
    match store.damaged().await {
        Ok(damaged) => {
            for damage in damaged {
                findings.about(damage.session).add(Rule::Readable, damage.reason);
            }
        }
        Err(error) => findings.add(Rule::Readable, format!("damage cannot be listed: {error}")),
    }
    for record in records.values() {
        if let Err(error) = stored::audit_session(store, record, &mut findings).await {
            let found = format!("it cannot be read: {error}");
            findings.about(Some(record.id)).add(Rule::Readable, found);
        }
    }
    let tombstones = match deleted::audit_deleted(store, &records, &mut findings).await {
        Ok(tombstones) => tombstones,
        Err(error) => {
            findings.add(Rule::Readable, format!("what was deleted cannot be read: {error}"));
            return findings.0;
        }
    };
    stored::audit_chains(&records, &mut findings);
    if let Err(error) = stored::audit_index(store, &records, &tombstones, &mut findings).await {
        findings.add(Rule::Readable, format!("the index cannot be read: {error}"));
    }
    findings.0
}

/// How much is read at a time.
const PAGE: usize = 256;

async fn all_records<S: Store + ?Sized>(
    store: &S,
    findings: &mut Findings,
) -> Result<BTreeMap<SessionId, SessionRecord>, StoreError> {
    let mut records = BTreeMap::new();
    let mut last = None;
    let mut query = Query { limit: PAGE, ..Query::default() };
    loop {
        let page = store.list(query.clone()).await?;
        for record in page.records {
            let place = (record.created_at, record.id);
            if last.is_some_and(|last| place >= last) {
                let found = "it is listed out of order, or twice".to_owned();
                findings.about(Some(record.id)).add(Rule::Index, found);
            }
            last = Some(place);
            records.insert(record.id, record);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(records);
        }
    }
}

/// The whole log of a session, a page at a time.
async fn whole_log<S: Store + ?Sized>(
    store: &S,
    session: SessionId,
) -> Result<Vec<EventRecord>, StoreError> {
    let mut log: Vec<EventRecord> = Vec::new();
    loop {
        let next = log.last().map_or(0, |last| last.sequence) + 1;
        let page = store.events(session, next..=u64::MAX, PAGE).await?;
        if page.is_empty() {
            return Ok(log);
        }
        log.extend(page);
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: Rule, found: String) {
        self.about(None).add(rule, found);
    }

    fn about(&mut self, session: Option<SessionId>) -> About<'_> {
        About { session, findings: self }
    }
}

/// Findings about one session.
struct About<'a> {
    session: Option<SessionId>,
    findings: &'a mut Findings,
}

impl About<'_> {
    fn add(&mut self, rule: Rule, found: String) {
        self.findings.0.push(Violation { session: self.session, rule, found });
    }

    /// Adds what is found where something does not hold.
    fn check(&mut self, holds: bool, rule: Rule, found: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, found());
        }
    }

    /// Adds that two things differ which should be the same.
    fn same<T: PartialEq + fmt::Debug>(&mut self, rule: Rule, what: &str, is: &T, should: &T) {
        self.check(is == should, rule, || format!("{what}: {is:?}, where {should:?} is right"));
    }
}
