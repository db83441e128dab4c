//! Opens a store that something happened to, and judges what it says about its sessions.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use sessionkeeper::{
    Kind, Phase, Session, SessionHandle, SessionId, SessionRecord, State, StepProgress, StoredStep,
    Supervisor, Turn,
    store::{ArchiveError, Damage, Key, Query, SledStore, Store, StoreError, export, repair},
};
use tempfile::TempDir;

use super::corpus::{self, Acknowledged, Corpus, Image, sum};
use crate::store::fixture::worker;
use crate::support::{Do, Scripted};

/// What became of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Every session is as it was acknowledged.
    Whole,
    /// Something is lost, and is reported.
    Reported,
    /// It opens, and says that it cannot be used.
    Unusable,
    /// It was not opened, and nothing was changed.
    Refused,
    /// It was not opened, and was set aside as it was.
    SetAside,
}

type Sessions = BTreeMap<SessionId, Acknowledged>;

/// Looks at the store in every way there is. A claim that does not hold is a panic.
pub(crate) async fn examine(corpus: &Corpus, image: &Image) -> Outcome {
    let folder = copy(image);
    let mut outcome = match SledStore::open(folder.path()) {
        Ok(store) => {
            let outcome = look(&store, &corpus.sessions).await;
            store.close().await.unwrap_or_else(|error| expect_failed(&error));
            drop(store);
            outcome
        }
        Err(error) => refused(&error, folder.path(), image),
    };
    if let Outcome::Whole | Outcome::Reported | Outcome::Unusable = outcome {
        let folder = copy(image);
        if !work(folder.path(), &corpus.sessions, outcome).await {
            outcome = Outcome::Unusable;
        }
    }
    salvage(corpus, image, outcome).await;
    outcome
}

fn copy(image: &Image) -> TempDir {
    let folder = corpus::folder();
    corpus::write(image, folder.path()).expect("written");
    folder
}

/// The error of a folder that was not opened: it names what it did, and the files are kept.
fn refused(error: &StoreError, path: &Path, image: &Image) -> Outcome {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "it names the folder: {text}");
    let (outcome, kept) = match error {
        StoreError::StoreDamaged { aside, .. } => {
            assert!(text.contains(&aside.display().to_string()), "it names the files: {text}");
            (Outcome::SetAside, aside.clone())
        }
        StoreError::Open { .. } => (Outcome::Refused, path.join("sled")),
        other => panic!("not an error of opening: {other:?}"),
    };
    let below = |place: &Path| place.strip_prefix("sled").map(Path::to_owned);
    let found = corpus::read(&kept);
    for (place, bytes) in image {
        let Ok(place) = below(place) else { continue };
        let kept = found.get(&place).unwrap_or_else(|| panic!("{} is gone", place.display()));
        let differs = kept.iter().zip(bytes).position(|(kept, byte)| kept != byte);
        assert!(
            kept == bytes,
            "{} was changed from {} to {} bytes, and from byte {differs:?} on: {text}",
            place.display(),
            bytes.len(),
            kept.len(),
        );
    }
    let again = SledStore::open(path).expect_err("it stays refused");
    assert_eq!(
        std::mem::discriminant(&again),
        std::mem::discriminant(error),
        "{again:?} after {error:?}"
    );
    outcome
}

fn expect_failed(error: &StoreError) {
    match error {
        StoreError::Unavailable { .. } | StoreError::Damaged { .. } => {}
        other => panic!("not an error of a damaged store: {other:?}"),
    }
}

/// Reads every session and compares it with what was acknowledged.
async fn look(store: &SledStore, sessions: &Sessions) -> Outcome {
    if let Err(error) = store.begin(worker(2)).await {
        expect_failed(&error);
        return Outcome::Unusable;
    }
    let mut findings = Vec::new();
    let mut losses = 0;
    for (id, known) in sessions {
        match read(store, *id, known).await {
            Ok(lost) => losses += usize::from(lost),
            Err(finding) => findings.push((*id, finding)),
        }
    }
    match listed(store, sessions).await {
        Ok(lost) => losses += usize::from(lost),
        Err(finding) => findings.push((SessionId::from_uuid(uuid::Uuid::nil()), finding)),
    }
    // Now that everything was read, everything damaged is known.
    let damaged = store.damaged().await.expect("a list");
    for damage in damaged.iter().filter(|damage| damage.session.is_some()) {
        assert!(!damage.bytes.is_empty(), "its bytes are kept: {}", damage.reason);
    }
    for (id, finding) in &findings {
        assert!(
            reports(&damaged, *id),
            "session {id}: {finding}, and nothing says so: {:?}",
            reasons(&damaged)
        );
    }
    if findings.is_empty() && losses == 0 { Outcome::Whole } else { Outcome::Reported }
}

fn reasons(damaged: &[Damage]) -> Vec<&str> {
    damaged.iter().map(|damage| damage.reason.as_str()).collect()
}

/// Whether a list of damage covers a session: by its id, or because it speaks of the store as a
/// whole.
fn reports(damaged: &[Damage], id: SessionId) -> bool {
    let covers = |damage: &Damage| match damage.session {
        Some(session) => session == id,
        None => !damage.reason.contains("mark"),
    };
    damaged.iter().any(covers)
}

/// Reads a session. `Ok(true)`: something of it is an error; `Err`: something is not what it
/// should be, though nothing is an error.
async fn read(store: &SledStore, id: SessionId, known: &Acknowledged) -> Result<bool, String> {
    let record = match store.load(id).await {
        Ok(Some(record)) => record,
        Ok(None) => return Err("it is gone".to_owned()),
        Err(error) => {
            expect_failed(&error);
            return Ok(true);
        }
    };
    let version = record.version;
    assert_eq!(known.records.get(&version), Some(&record), "session {id}: never acknowledged");
    if record != *known.latest() {
        return Err(format!("it is in version {version} of {}", known.latest().version));
    }
    let lost = parts(store, &record, known).await?;
    let keys = [
        record.name.clone().map(Key::Name),
        record.external_id.clone().map(Key::ExternalId),
        record.start_key.clone().map(|start| Key::Start(start.key)),
    ];
    let mut lost = lost;
    for key in keys.into_iter().flatten() {
        match store.find(key.clone()).await {
            Ok(found) if found == Some(id) => {}
            Ok(found) => return Err(format!("{key:?} finds {found:?}")),
            Err(error) => {
                expect_failed(&error);
                lost = true;
            }
        }
    }
    Ok(lost)
}

async fn parts(
    store: &SledStore,
    record: &SessionRecord,
    known: &Acknowledged,
) -> Result<bool, String> {
    let id = record.id;
    let mut lost = false;
    let mut failed = |error: StoreError| {
        expect_failed(&error);
        lost = true;
    };
    for kept in &record.snapshots {
        match store.snapshot(id, kept.sequence).await {
            Ok(Some(bytes)) if *bytes == known.snapshots[&kept.sequence] => {}
            Ok(Some(_)) => panic!("session {id}: snapshot {} is another", kept.sequence),
            Ok(None) => return Err(format!("snapshot {} is gone", kept.sequence)),
            Err(error) => failed(error),
        }
    }
    let wanted = record.inputs_covered() + 1..=record.inbox.accepted;
    match store.inputs(id, record.inputs_covered(), 999).await {
        Ok(found) => {
            for input in &found {
                assert_eq!(Some(input), known.inputs.get(&input.sequence), "session {id}");
            }
            let found: Vec<_> = found.iter().map(|input| input.sequence).collect();
            if found != wanted.clone().collect::<Vec<_>>() {
                return Err(format!("of inputs {wanted:?} there are {found:?}"));
            }
        }
        Err(error) => failed(error),
    }
    match store.steps(id, Turn::default()).await {
        Ok(found) => {
            let covered = record.steps_covered();
            let kept = |(version, step): &&(u64, StoredStep)| {
                *version <= record.version && step.turn > covered
            };
            let mut wanted: Vec<_> =
                known.steps.iter().filter(kept).map(|(_, step)| step).collect();
            wanted.sort_by(|a, b| (a.turn, &a.key).cmp(&(b.turn, &b.key)));
            for step in &found {
                // Of what a repair could not read it knows that it was begun.
                let is_known = wanted.contains(&step) || step.progress == StepProgress::Begun;
                assert!(is_known, "session {id}: {step:?}");
            }
            if found.iter().ne(wanted.iter().copied()) {
                return Err(format!("of {} steps there are {}", wanted.len(), found.len()));
            }
        }
        Err(error) => failed(error),
    }
    match store.events(id, 1..=u64::MAX, usize::MAX).await {
        Ok(found) => {
            for event in &found {
                assert_eq!(Some(event), known.events.get(&event.sequence), "session {id}");
            }
            let found: Vec<_> = found.iter().map(|event| event.sequence).collect();
            if found != (1..=record.last_event).collect::<Vec<_>>() {
                return Err(format!("of {} events there are {}", record.last_event, found.len()));
            }
        }
        Err(error) => failed(error),
    }
    for input in known.inputs.values().filter(|input| input.sequence <= record.inbox.accepted) {
        let Some(input_id) = &input.id else { continue };
        match store.accepted(id, input_id.clone()).await {
            Ok(Some(found)) => assert_eq!(found.sequence, input.sequence, "session {id}"),
            Ok(None) => return Err(format!("input id {input_id} is forgotten")),
            Err(error) => failed(error),
        }
    }
    Ok(lost)
}

/// Lists all sessions, and those in each state. Every session whose record can be read must be
/// there.
async fn listed(store: &SledStore, sessions: &Sessions) -> Result<bool, String> {
    let mut readable = Vec::new();
    for id in sessions.keys() {
        if let Ok(Some(record)) = store.load(*id).await {
            readable.push(record);
        }
    }
    let kind: Kind = "scripted".parse().expect("a kind");
    let all = |states| Query { states, limit: 99, ..Query::default() };
    let by_kind = Query { kind: Some(kind), limit: 99, ..Query::default() };
    let mut queries = vec![all(Vec::new()), by_kind];
    queries.extend(readable.iter().map(|record| all(vec![record.state()])));
    for query in queries {
        match store.list(query.clone()).await {
            Ok(page) => {
                let found: Vec<_> = page.records.iter().map(|record| record.id).collect();
                for record in readable.iter().filter(|record| query.matches(record)) {
                    if !found.contains(&record.id) {
                        return Err(format!("{} is not in the list of {query:?}", record.id));
                    }
                }
            }
            Err(error) => {
                expect_failed(&error);
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Starts a worker on the store, and gives whether it did. Sessions that are whole work as if
/// nothing had happened.
async fn work(path: &Path, sessions: &Sessions, outcome: Outcome) -> bool {
    let Ok(store) = SledStore::open(path) else {
        panic!("it was opened before");
    };
    let builder = Supervisor::builder(store).workload(Scripted::default()).seed(7);
    let supervisor = match builder.start().await {
        Ok(supervisor) => supervisor,
        Err(error) => {
            assert_ne!(outcome, Outcome::Whole, "{error}");
            return false;
        }
    };
    let recovered = supervisor.recovered().await.expect("it goes on");
    for (id, known) in sessions {
        let worked = turn(&supervisor, *id, known).await;
        if let Err(trouble) = worked {
            let damaged = !recovered.damaged.is_empty()
                || recovered.failed.iter().any(|(failed, _)| failed == id);
            assert!(
                outcome != Outcome::Whole || damaged,
                "session {id} of a whole store: {trouble}"
            );
        }
    }
    supervisor.shutdown(Duration::from_secs(10)).await;
    true
}

/// Has a session do one more turn, if it can.
async fn turn(supervisor: &Supervisor, id: SessionId, known: &Acknowledged) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let session: Session = supervisor.session(id).await.map_err(|error| text(&error))?;
    let session: SessionHandle<Scripted> = session.typed().expect("of this kind");
    let _ = session.events(1..=u64::MAX, 9999).await;
    session.snapshot().await.map_err(|error| text(&error))?;
    let accepted = known.latest().inbox.accepted;
    let state = session.status().await.map_err(|error| text(&error))?.state();
    if matches!(known.latest().phase, Phase::Completed) {
        assert_eq!(state, State::Completed, "session {id}");
        return Ok(());
    }
    session.resume().await.map_err(|error| text(&error))?;
    let next = i64::try_from(accepted + 1).expect("few");
    let sent = session.send(Do::Add(next)).await.map_err(|error| text(&error))?;
    if sent.sequence != accepted + 1 {
        return Err(format!("input {} was sent as {}", accepted + 1, sent.sequence));
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let status = session.status().await.map_err(|error| text(&error))?;
        if status.record().inbox.waiting() == 0 {
            break;
        }
        if status.state() != State::Active {
            return Err(format!("it is {}", status.state()));
        }
        assert!(tokio::time::Instant::now() < deadline, "session {id} does not work it off");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let done = session.snapshot().await.map_err(|error| text(&error))?.state;
    if done.sum != sum(accepted + 1) {
        return Err(format!("its sum is {} and not {}", done.sum, sum(accepted + 1)));
    }
    Ok(())
}

/// Exports and repairs copies of the store. What they keep is as it was acknowledged, and what
/// they lose is in their reports.
async fn salvage(corpus: &Corpus, image: &Image, outcome: Outcome) {
    let folder = copy(image);
    match export(folder.path(), Vec::new()) {
        Ok(_) => {}
        Err(ArchiveError::Store(_)) => {
            let log = Path::new("sled/db");
            assert!(corpus::read(folder.path()).get(log) == image.get(log), "export changes it");
        }
        Err(error) => panic!("export: {error:?}"),
    }
    drop(folder);
    let folder = copy(image);
    let report = match repair(folder.path()) {
        Ok(report) => report,
        Err(ArchiveError::Store(error)) => {
            assert_ne!(outcome, Outcome::Whole, "repair: {error:?}");
            return;
        }
        Err(error) => panic!("repair: {error:?}"),
    };
    let aside = report.aside.clone().expect("it says where the files are");
    let log = Path::new("sled/db");
    if let Some(bytes) = image.get(log) {
        assert!(fs::read(aside.join("db")).expect("kept") == *bytes, "the files are kept");
    }
    let store = SledStore::open(folder.path()).expect("a repaired store");
    store.begin(worker(3)).await.expect("begin");
    for (id, known) in &corpus.sessions {
        match read(&store, *id, known).await {
            Ok(false) => {}
            Ok(true) => panic!("session {id} is damaged after a repair"),
            Err(finding) => assert!(
                reports(&report.lost, *id),
                "session {id} after a repair: {finding}, and it says {:?}",
                reasons(&report.lost)
            ),
        }
    }
}
