//! Folders that cannot be used: each is a typed error that names the folder and says what to do,
//! and once its cause is gone the store works, with all that it held.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Stdio,
};

use rustix::{
    mount::MountFlags,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use sessionkeeper::{
    SessionRecord,
    store::{SledStore, Store, StoreError},
};

use super::{
    corpus,
    place::{Mounted, folder_of_this_process, is_root, process, skipped},
};
use crate::store::fixture::{next, noise, only, put, record, session, with_snapshot, worker};

/// A user who owns nothing here.
const NOBODY: u32 = 65534;

/// Puts a session into the store in a folder, and leaves it.
async fn filled(folder: &Path) -> SessionRecord {
    let store = SledStore::open(folder).expect("open");
    store.begin(worker(1)).await.expect("begin");
    let stored = put(&store, with_snapshot(record(1), 0, &noise(1, 100_000))).await;
    store.close().await.expect("close");
    stored
}

/// Everything is as [`filled`] left it, nothing is damaged, and it goes on from there.
async fn is_whole(folder: &Path, stored: &SessionRecord) {
    let store = SledStore::open(folder).expect("it works again");
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(store.damaged().await.expect("a list"), []);
    assert_eq!(store.load(session(1)).await.expect("load").as_ref(), Some(stored));
    let snapshot = store.snapshot(session(1), 1).await.expect("snapshot").expect("kept");
    assert!(*snapshot == *noise(1, 100_000));
    put(&store, only(record(2))).await;
}

/// The error of opening a folder, which must name it and give this advice.
fn check_error(error: &StoreError, folder: &Path, advice: &str) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(text.contains(&folder.display().to_string()), "it names the folder: {text}");
    assert!(text.contains(advice), "it says what to do ({advice}): {text}");
}

#[tokio::test]
async fn a_folder_that_became_read_only_is_refused_and_not_changed() {
    const NAME: &str = "a_folder_that_became_read_only_is_refused_and_not_changed";
    let place = match Mounted::small(64 << 20) {
        Ok(place) => place,
        Err(why) => return skipped(NAME, &why),
    };
    let folder = place.path().join("data");
    let stored = filled(&folder).await;
    let before = corpus::read(&folder);
    place.remount(MountFlags::RDONLY);
    for path in [folder.clone(), place.path().join("new")] {
        let error = SledStore::open(&path).expect_err("read-only");
        check_error(&error, &path, "choose a folder on a file system for writing");
    }
    assert!(corpus::read(&folder) == before, "nothing was changed");
    place.remount(MountFlags::empty());
    is_whole(&folder, &stored).await;
}

#[tokio::test]
async fn a_damaged_store_that_cannot_be_moved_is_not_said_to_be_set_aside() {
    const NAME: &str = "a_damaged_store_that_cannot_be_moved_is_not_said_to_be_set_aside";
    let place = corpus::folder();
    let sled = place.path().join("sled");
    fs::create_dir(&sled).expect("a folder");
    // Nobody can move a folder that something is mounted on.
    let _mounted = match Mounted::at(&sled, 64 << 20) {
        Ok(mounted) => mounted,
        Err(why) => return skipped(NAME, &why),
    };
    filled(place.path()).await;
    let log = sled.join("db");
    fs::write(&log, "nonsense").expect("damaged");
    for _ in 0..2 {
        let error = SledStore::open(place.path()).expect_err("damaged");
        check_error(&error, place.path(), "set the damaged files aside");
        assert!(!place.path().join("damaged-1").exists(), "there is nothing in it");
        assert_eq!(fs::read_to_string(&log).expect("the log"), "nonsense");
    }
}

/// Opens a store as whoever runs this, and says on stdout what came of it.
#[test]
#[ignore = "executed by the test that follows, in a process of its own"]
fn open_and_tell() {
    let Some(folder) = folder_of_this_process() else { return };
    match SledStore::open(&folder) {
        Ok(_) => println!("answer: opened"),
        Err(error) => println!("answer: {error:?} {error}"),
    }
}

#[tokio::test]
async fn a_folder_without_permission_is_refused_whoever_asks() {
    const NAME: &str = "a_folder_without_permission_is_refused_whoever_asks";
    if !is_root() {
        return skipped(NAME, "only root can ask as somebody else");
    }
    let place = tempfile::TempDir::new().expect("a folder");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    mode(place.path(), 0o755);
    let folder = place.path().join("data");
    let stored = filled(&folder).await;
    let mut asked = 0;
    // Not even to look into it; to look but not to write; and to write, but not to the files.
    for (of_folder, of_lock) in [(0o700, 0o600), (0o755, 0o644), (0o777, 0o644), (0o777, 0o666)] {
        mode(&folder, of_folder);
        mode(&folder.join("LOCK"), of_lock);
        let before = corpus::read(&folder);
        let mut asking = process("damage::unusable::open_and_tell", &folder);
        let asking = asking.uid(NOBODY).gid(NOBODY).output();
        let output = match asking {
            Ok(output) => output,
            Err(error) => return skipped(NAME, &format!("this binary is not for others: {error}")),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let answer = text.lines().find(|line| line.contains("answer: "));
        let answer = answer.unwrap_or_else(|| panic!("no answer: {output:?}"));
        assert!(answer.contains("Open {"), "{of_folder:o}: {answer}");
        assert!(answer.contains(&folder.display().to_string()), "{of_folder:o}: {answer}");
        assert!(answer.contains("the right to read and write"), "{of_folder:o}: {answer}");
        assert!(corpus::read(&folder) == before, "{of_folder:o}: nothing was changed");
        asked += 1;
    }
    assert_eq!(asked, 4);
    mode(&folder, 0o755);
    is_whole(&folder, &stored).await;
}

/// Holds a store and commits to it until it is killed. Says how far it is on stdout.
#[test]
#[ignore = "executed by the test that follows, in a process of its own"]
fn hold_a_store() {
    let Some(folder) = folder_of_this_process() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = SledStore::open(folder).expect("open");
        store.begin(worker(1)).await.expect("begin");
        let mut stored = store.load(session(1)).await.expect("load").expect("there");
        println!("holds: {}", stored.version);
        loop {
            let bytes = noise(stored.version, 90_000);
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &bytes)).await;
            println!("holds: {}", stored.version);
            std::io::stdout().flush().expect("somebody listens");
        }
    });
}

#[tokio::test]
async fn a_store_is_in_use_until_its_process_is_killed_and_then_has_all_it_acknowledged() {
    let place = corpus::folder();
    let mut version = filled(place.path()).await.version;
    for round in 0..5 {
        let mut process = process("damage::unusable::hold_a_store", place.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        // Enough for new segments, and for used ones to be used again.
        let mut commits = 40;
        while commits > 0 {
            let line = lines.next().expect("it goes on").expect("a line");
            let Some((_, number)) = line.split_once("holds: ") else { continue };
            version = number.parse().expect("a version");
            commits -= 1;
        }
        let error = SledStore::open(place.path()).expect_err("in use");
        assert!(matches!(&error, StoreError::InUse { path } if path == place.path()), "{error:?}");
        assert!(error.to_string().contains("use one store per worker"), "{error}");
        process.kill().expect("killed");
        // What it said before it died was acknowledged, too.
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("holds: ") {
                version = number.parse().unwrap_or(version);
            }
        }
        process.wait().expect("gone");
        let store = SledStore::open(place.path()).expect("free again");
        store.begin(worker(1)).await.expect("begin");
        // A killed process is no damage.
        assert_eq!(store.damaged().await.expect("a list"), [], "round {round}");
        let found = store.load(session(1)).await.expect("load").expect("there");
        assert!(found.version >= version, "round {round}: {} of {version}", found.version);
        let kept = found.snapshot().expect("one").sequence;
        let snapshot = store.snapshot(session(1), kept).await.expect("read").expect("kept");
        assert!(*snapshot == *noise(found.version - 1, 90_000), "round {round}");
    }
}

/// Opens a store with every number of files that may still be opened, and tells what happened.
#[test]
#[ignore = "executed by the test that follows, in a process of its own"]
fn open_with_few_files() {
    let Some(folder) = folder_of_this_process() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let usual = getrlimit(Resource::Nofile);
    let mut refused = 0;
    for more in 0..20 {
        let open = fs::read_dir("/proc/self/fd").expect("our files").count() as u64 - 1;
        let few = Rlimit { current: Some(open + more), ..usual };
        setrlimit(Resource::Nofile, few).expect("a limit");
        let opened = SledStore::open(&folder);
        setrlimit(Resource::Nofile, usual).expect("a limit");
        match opened {
            Ok(store) => drop(store),
            Err(error @ StoreError::Open { .. }) => {
                check_error(&error, &folder, "");
                refused += 1;
                println!("{more} more files: {error}");
            }
            Err(error) => panic!("{more} more files: {error:?}"),
        }
        runtime.block_on(async {
            let store = SledStore::open(&folder).unwrap_or_else(|error| panic!("{more}: {error}"));
            store.begin(worker(1)).await.expect("begin");
            assert_eq!(store.damaged().await.expect("a list"), [], "{more} more files");
            assert!(store.load(session(1)).await.expect("load").is_some());
        });
    }
    println!("answer: refused {refused} times");
}

#[tokio::test]
async fn a_process_without_files_to_spare_opens_the_store_later() {
    const NAME: &str = "a_process_without_files_to_spare_opens_the_store_later";
    if !Path::new("/proc/self/fd").exists() {
        return skipped(NAME, "no /proc to count open files with");
    }
    let place = corpus::folder();
    let stored = filled(place.path()).await;
    let mut process = process("damage::unusable::open_with_few_files", place.path());
    let output = process.output().expect("it ran");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let refused = text.lines().find_map(|line| line.split_once("answer: refused "));
    let (_, refused) = refused.unwrap_or_else(|| panic!("no answer: {text}"));
    let refused: u32 = refused.trim_end_matches(" times").parse().expect("a number");
    assert!((3..20).contains(&refused), "refused {refused} times");
    is_whole(place.path(), &stored).await;
}
