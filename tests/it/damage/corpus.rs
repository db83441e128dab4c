//! Folders of real stores with sessions in many states, and everything that was acknowledged
//! about them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sessionkeeper::{
    Codec, Labels, PauseCause, Phase, SessionId, SessionRecord, SnapshotEnvelope, SnapshotHeader,
    StartRequest, StoredInput, StoredStep, Turn,
    store::{Commit, SledStore, Store},
};
use tempfile::TempDir;

use crate::store::fixture::{
    active, next, only, paused, put, record, session, with_events, with_inputs, with_snapshot,
    with_steps, worker,
};
use crate::support::{Do, Done};

/// The last of the sessions that are left alone after the first round. There are enough of them to
/// fill pages of the database that nothing else is on.
const OLD: u128 = 18;

/// The files of a store, by their place in its folder.
pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

/// The reserve is random bytes that nobody reads: its length stands for it.
const RESERVE: &str = "RESERVE";

/// Everything that was acknowledged about one session. Numbers are used once, so a part with a
/// number has one content for ever.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acknowledged {
    /// By version.
    pub(crate) records: BTreeMap<u64, SessionRecord>,
    pub(crate) snapshots: BTreeMap<u64, Vec<u8>>,
    pub(crate) inputs: BTreeMap<u64, StoredInput>,
    /// Each with the version that it came with; none is replaced.
    pub(crate) steps: Vec<(u64, StoredStep)>,
    pub(crate) events: BTreeMap<u64, sessionkeeper::EventRecord>,
}

impl Acknowledged {
    pub(crate) fn latest(&self) -> &SessionRecord {
        self.records.values().next_back().expect("a session has a record")
    }
}

/// A store as it was left, how it had been before, and what it holds.
pub(crate) struct Corpus {
    pub(crate) name: &'static str,
    pub(crate) image: Image,
    /// The same folder at earlier moments, the oldest first.
    pub(crate) earlier: Vec<Image>,
    pub(crate) sessions: BTreeMap<SessionId, Acknowledged>,
}

impl Corpus {
    /// A store that was closed, and has been opened several times.
    pub(crate) async fn closed() -> Self {
        let mut life = Life::new();
        for round in 0..3 {
            life.round(round, 6).await;
        }
        let image = life.earlier.pop().expect("one for each round");
        Self { name: "closed", image, earlier: life.earlier, sessions: life.sessions }
    }

    /// A store whose process was killed.
    pub(crate) async fn killed() -> Self {
        let mut life = Life::new();
        life.round(0, 6).await;
        let store = life.open().await;
        life.work(&store, 1, 6).await;
        let image = read(life.folder.path());
        drop(store);
        Self { name: "killed", image, earlier: life.earlier, sessions: life.sessions }
    }

    /// A store in the first process that used it, which was killed. With no turns it is small.
    pub(crate) async fn young(turns: u64) -> Self {
        let mut life = Life::new();
        let store = life.open().await;
        let earlier = vec![read(life.folder.path())];
        life.work(&store, 0, turns).await;
        let image = read(life.folder.path());
        drop(store);
        Self { name: "young", image, earlier, sessions: life.sessions }
    }
}

/// The folder for stores that need not survive this machine.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a folder")
}

/// The files in a folder.
pub(crate) fn read(folder: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let place = path.strip_prefix(folder).expect("below").to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if place == Path::new(RESERVE) {
                let length = fs::metadata(&path).expect("a file").len();
                image.insert(place, vec![0; usize::try_from(length).expect("small")]);
            } else {
                image.insert(place, fs::read(&path).expect("a file"));
            }
        }
    }
    image
}

/// Makes the files in an empty folder.
pub(crate) fn write(image: &Image, folder: &Path) -> io::Result<()> {
    // Sled makes it, also where it stays empty.
    fs::create_dir_all(folder.join("sled/blobs"))?;
    for (place, bytes) in image {
        let path = folder.join(place);
        fs::create_dir_all(path.parent().expect("below the folder"))?;
        if place == Path::new(RESERVE) && bytes.iter().all(|byte| *byte == 0) {
            fs::File::create(path)?.set_len(bytes.len() as u64)?;
        } else {
            fs::write(path, bytes)?;
        }
    }
    Ok(())
}

struct Life {
    folder: TempDir,
    sessions: BTreeMap<SessionId, Acknowledged>,
    earlier: Vec<Image>,
}

impl Life {
    fn new() -> Self {
        Self { folder: folder(), sessions: BTreeMap::new(), earlier: Vec::new() }
    }

    async fn open(&self) -> SledStore {
        let store = SledStore::open(self.folder.path()).expect("open");
        store.begin(worker(1)).await.expect("begin");
        store
    }

    async fn round(&mut self, round: u64, turns: u64) {
        let store = self.open().await;
        self.work(&store, round, turns).await;
        store.close().await.expect("close");
        drop(store);
        self.earlier.push(read(self.folder.path()));
    }

    /// Each session takes inputs and works some of them off; then the largest has more turns.
    async fn work(&mut self, store: &SledStore, round: u64, turns: u64) {
        // The last ones are left alone after the first round: what they are is old by then.
        for number in 1..=if round == 0 { OLD } else { 9 } {
            self.begin(store, number, round).await;
            let large = if number == 6 { 30_000 } else { 10 };
            self.accept(store, number, 2 + usize::from(number == 2), large).await;
            if matches!(number, 2 | 5 | 6) {
                self.take_steps(store, number).await;
            }
            self.log(store, number, if number == 4 { 120 } else { 5 }).await;
            let padding = match number {
                3 | 10.. => 40_000,
                6 => 80_000,
                _ => 3,
            };
            let waiting = u64::from(matches!(number, 2 | 3 | 6));
            self.checkpoint(store, number, waiting, padding).await;
        }
        for turn in 0..turns {
            self.accept(store, 9, 1, 10).await;
            self.checkpoint(store, 9, 0, 60_000 + usize::try_from(turn).expect("few")).await;
            // Small sessions change in between, so that every part of the log matters.
            let number = 1 + u128::from(turn % 8);
            self.log(store, number, 3).await;
        }
        self.settle(store).await;
    }

    async fn commit(&mut self, store: &SledStore, commit: Commit) {
        let known = self.sessions.entry(commit.record.id).or_default();
        known.records.insert(commit.record.version, SessionRecord::clone(&commit.record));
        if let (Some(bytes), Some(kept)) = (&commit.snapshot, commit.record.snapshot()) {
            known.snapshots.insert(kept.sequence, bytes.to_vec());
        }
        known.inputs.extend(commit.inputs.iter().map(|input| (input.sequence, input.clone())));
        let version = commit.record.version;
        known.steps.extend(commit.steps.iter().map(|step| (version, step.clone())));
        known.events.extend(commit.events.iter().map(|event| (event.sequence, event.clone())));
        put(store, commit).await;
    }

    /// What follows the latest record of a session.
    fn successor(&self, number: u128) -> SessionRecord {
        next(self.sessions[&session(number)].latest(), |_| ())
    }

    async fn begin(&mut self, store: &SledStore, number: u128, round: u64) {
        let mut first = if round == 0 { record(number) } else { self.successor(number) };
        first.kind = "scripted".parse().expect("a kind");
        first.phase = active(1);
        first.name = Some(format!("name {number}").parse().expect("a name"));
        first.external_id = Some(format!("external {number}").parse().expect("an id"));
        first.labels = Labels::new([("round", round.to_string())]).expect("labels");
        let key = format!("start {number}").parse().expect("a key");
        first.start_key = Some(StartRequest { key, digest: 7 });
        if first.snapshot().is_some() {
            return self.commit(store, only(first)).await;
        }
        let bytes = envelope(number, 1, 0, 3);
        self.commit(store, with_snapshot(first, 0, &bytes)).await;
    }

    async fn accept(&mut self, store: &SledStore, number: u128, count: usize, large: usize) {
        for _ in 0..count {
            let record = self.successor(number);
            let sequence = record.inbox.accepted + 1;
            let number = i64::try_from(sequence).expect("few");
            let mut payload = serde_json::to_vec(&Do::Add(number)).expect("an input");
            // JSON may have white space around it.
            payload.resize(payload.len() + large, b' ');
            let id = format!("input {sequence}");
            let id = (sequence % 2 == 1).then_some(id.as_str());
            let mut commit = with_inputs(record, &[(id, &payload)]);
            for input in &mut commit.inputs {
                input.state_version = 1;
            }
            self.commit(store, commit).await;
        }
    }

    /// Takes two steps in the turn of the last input, one with a large result.
    async fn take_steps(&mut self, store: &SledStore, number: u128) {
        let record = self.successor(number);
        let turn = Turn::of_input(record.inbox.accepted);
        let large = vec![b' '; 50_000];
        let steps = [(turn, "small", Some(b"1".as_slice())), (turn, "large", Some(&large))];
        self.commit(store, with_steps(record, &steps)).await;
    }

    async fn log(&mut self, store: &SledStore, number: u128, count: usize) {
        let texts: Vec<_> = (0..count).map(|event| format!("{number}: event {event}")).collect();
        let commit = with_events(self.successor(number), texts.iter().map(String::as_str));
        self.commit(store, commit).await;
    }

    async fn checkpoint(&mut self, store: &SledStore, number: u128, waiting: u64, padding: usize) {
        let record = self.successor(number);
        let sequence = record.snapshot().map_or(1, |newest| newest.sequence + 1);
        let consumed = record.inbox.accepted - waiting;
        let bytes = envelope(number, sequence, consumed, padding);
        self.commit(store, with_snapshot(record, consumed, &bytes)).await;
    }

    /// Leaves each session in a state of its own.
    async fn settle(&mut self, store: &SledStore) {
        let last = if self.earlier.is_empty() { OLD } else { 9 };
        for number in 1..=last {
            let mut record = self.successor(number);
            record.phase = match number {
                1 => paused(PauseCause::Asked, 10, Some(90_000_000)),
                3 => paused(PauseCause::Idle, 10, None),
                4 => Phase::Stopped,
                5 => Phase::Completed,
                8 => paused(PauseCause::Shutdown, 10, None),
                _ => active(1),
            };
            self.commit(store, only(record)).await;
        }
    }
}

/// The sum of the inputs up to this one, as [`Do::Add`] adds them.
pub(crate) fn sum(inputs: u64) -> i64 {
    i64::try_from(inputs * (inputs + 1) / 2).expect("a small number")
}

/// A snapshot of a session that has worked off inputs up to `consumed`.
fn envelope(number: u128, sequence: u64, consumed: u64, padding: usize) -> Vec<u8> {
    let header = SnapshotHeader {
        kind: "scripted".parse().expect("a kind"),
        state_version: 1,
        session: session(number),
        run: None,
        sequence,
        codec: Codec::Json,
    };
    // Digits without an order: what is large is in many chunks, and no two are the same.
    let digit = |place: u64| place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    let seen = (0..padding as u64).map(|place| digit(place) % 10).collect();
    let state = serde_json::to_vec(&Done { sum: sum(consumed), seen }).expect("a state");
    SnapshotEnvelope::encode(&header, &state)
}
