use super::*;

/// The threads of a database that was closed can have its file for a moment.
#[cfg(target_os = "linux")]
#[test]
fn the_last_owner_of_a_database_is_waited_for() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().canonicalize().expect("its path").join("db");
    let owner = fs::File::create(&path).expect("a file");
    owner.lock().expect("locked");
    let [let_go, done] = [const { AtomicBool::new(false) }; 2];
    let opened = || {
        let files = fs::read_dir("/proc/self/fd").expect("our files").flatten();
        files.filter(|file| fs::read_link(file.path()).is_ok_and(|file| file == path)).count()
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while opened() < 2 && !done.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let_go.store(true, Ordering::SeqCst);
            owner.unlock().expect("unlocked");
        });
        wait_for_release(&path);
        let waited = let_go.load(Ordering::SeqCst);
        done.store(true, Ordering::SeqCst);
        assert!(waited, "it is still in use");
    });
}

#[test]
fn what_the_system_refuses_is_told_with_advice() {
    use io::ErrorKind;

    let layout = Layout::new(Path::new("here"));
    for (kind, advice) in [
        (ErrorKind::PermissionDenied, "the right to read and write"),
        (ErrorKind::ReadOnlyFilesystem, "a file system for writing"),
        (ErrorKind::NotADirectory, "choose a path"),
        (ErrorKind::AlreadyExists, "choose a path"),
        (ErrorKind::StorageFull, "make room"),
        (ErrorKind::QuotaExceeded, "make room"),
        (ErrorKind::Unsupported, "choose a local file system"),
        (ErrorKind::Other, "see what the system says"),
    ] {
        let error = layout.refused("do it", kind.into());
        let text = error.to_string();
        assert!(text.contains(advice), "{kind}: {text}");
        assert!(text.contains("here") && text.contains("could not do it"), "{kind}: {text}");
    }
}
