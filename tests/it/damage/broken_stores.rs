//! Whatever happens to the files of a store, it never panics, never hangs, and never gives out a
//! state that was not acknowledged, or an older one as the latest.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use sessionkeeper::store::{SledStore, Store};

use super::{
    corpus::{self, Corpus},
    examine::{Outcome, examine},
    mutation::{Kind, mutate},
};
use crate::support::number;

/// How often each kind of mutation came to each outcome.
type Seen = BTreeMap<(Kind, Outcome), u32>;

/// How long one mutation may take before it counts as a hang. It takes less than a second.
const HANG: Duration = Duration::from_secs(120);

/// How many mutations are tried: `SESSIONKEEPER_MUTATIONS`.
fn mutations() -> u64 {
    number("SESSIONKEEPER_MUTATIONS").unwrap_or(11)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn corpora() -> Vec<Arc<Corpus>> {
    runtime().block_on(async {
        let corpora = [
            Corpus::closed().await,
            Corpus::killed().await,
            Corpus::young(0).await,
            Corpus::young(12).await,
        ];
        corpora.into_iter().map(Arc::new).collect()
    })
}

/// Examines one mutation on a thread of its own, which may hang.
fn attempt(corpora: &[Arc<Corpus>], seed: u64) -> Result<(Kind, Outcome, String), String> {
    let place = usize::try_from(seed / Kind::ALL.len() as u64).expect("small") % corpora.len();
    let corpus = Arc::clone(&corpora[place]);
    let (image, mutation) = mutate(&corpus, seed);
    let text = format!("{} store, {mutation}", corpus.name);
    let (done, ended) = mpsc::channel();
    let examining = thread::spawn(move || {
        let runtime = runtime();
        let outcome = runtime.block_on(examine(&corpus, &image));
        runtime.shutdown_background();
        let _ = done.send(outcome);
    });
    match ended.recv_timeout(HANG) {
        Ok(outcome) => Ok((mutation.kind, outcome, text)),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("{text}: it hangs")),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = examining.join().expect_err("it panicked");
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("{text}: {}", message.unwrap_or_default()))
        }
    }
}

/// Examines mutations on several threads, since most of the time is spent with waiting.
fn attempt_all(corpora: &[Arc<Corpus>], seeds: &[u64]) -> (Seen, Vec<u64>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Seen::new(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let attempted = attempt(corpora, *seed);
                    let mut results = results.lock().expect("no panic while it is held");
                    match attempted {
                        Ok((kind, outcome, text)) => {
                            println!("{seed}: {outcome:?}: {text}");
                            *results.0.entry((kind, outcome)).or_default() += 1;
                        }
                        Err(failure) => {
                            println!("seed {seed}: {failure}");
                            results.1.push(*seed);
                        }
                    }
                }
            });
        }
    });
    results.into_inner().expect("no panic while it was held")
}

/// With `SESSIONKEEPER_MUTATION` set to a seed, only that one is tried.
#[test]
fn a_broken_store_loses_nothing_in_silence() {
    let corpora = corpora();
    let one = number("SESSIONKEEPER_MUTATION");
    let seeds = one.map_or_else(|| (0..mutations()).collect(), |seed| vec![seed]);
    let (seen, failures) = attempt_all(&corpora, &seeds);
    for ((kind, outcome), count) in &seen {
        println!("{count:6} × {kind:?}: {outcome:?}");
    }
    assert!(
        failures.is_empty(),
        "{} of {} mutations; replay one with\n  \
         SESSIONKEEPER_MUTATION={} cargo test --test it a_broken_store_loses_nothing -- --nocapture",
        failures.len(),
        seeds.len(),
        failures[0],
    );
    let alone = |kind: &Kind| matches!(kind, Kind::Row);
    let stopped = seen.keys().find(|(kind, outcome)| alone(kind) && *outcome > Outcome::Reported);
    assert_eq!(stopped, None, "a bad value stops the sessions beside it");
    if one.is_none() {
        let tried = |kind: &Kind| seen.keys().any(|(seen, _)| seen == kind);
        let missing: Vec<_> = Kind::ALL.into_iter().filter(|kind| !tried(kind)).collect();
        assert!(missing.is_empty(), "never tried: {missing:?}; raise SESSIONKEEPER_MUTATIONS");
    }
}

/// Sled passes over a tear in the middle of its log without a word, and overwrites what it passed
/// over. So a store that opens all the same is copied before, and says so.
#[tokio::test]
async fn a_tear_in_the_middle_of_the_log_is_told_and_the_files_are_kept() {
    let corpus = Corpus::young(30).await;
    let log = PathBuf::from("sled/db");
    let length = corpus.image[&log].len();
    let mut told = 0;
    for place in (0..length).step_by(700_000) {
        let mut image = corpus.image.clone();
        image.get_mut(&log).expect("the log")[place] ^= 1;
        let folder = corpus::folder();
        corpus::write(&image, folder.path()).expect("written");
        let Ok(store) = SledStore::open(folder.path()) else { continue };
        let damaged = store.damaged().await.expect("a list");
        let Some(damage) = damaged.iter().find(|damage| damage.reason.contains("log")) else {
            continue;
        };
        let aside = folder.path().join("damaged-1");
        assert!(damage.reason.contains(&aside.display().to_string()), "{}", damage.reason);
        assert!(fs::read(aside.join("db")).expect("kept") == image[&log], "as they were");
        drop(store);
        // It is told once: what sled made of it is sound.
        let store = SledStore::open(folder.path()).expect("open");
        assert_eq!(store.damaged().await.expect("a list"), []);
        told += 1;
    }
    assert!(told > 0, "no tear was passed over");
}

/// Sled writes its snapshots under another name first, and takes what a killed process left of
/// one for the newest of them.
#[tokio::test]
async fn a_process_that_is_killed_while_it_opens_its_store_harms_nothing() {
    let corpus = Corpus::closed().await;
    let mut image = corpus.image.clone();
    let newest = image.keys().filter(|place| place.to_string_lossy().contains("snap."));
    let newest = newest.max().expect("a snapshot").clone();
    let cut_short = image[&newest].split_at(image[&newest].len() / 2).0.to_vec();
    for bytes in [Vec::new(), cut_short, image[&newest].clone()] {
        image.insert(PathBuf::from("sled/snap.7FFFFFFFFFFFFFF0.generating"), bytes);
        assert_eq!(examine(&corpus, &image).await, Outcome::Whole);
    }
}
