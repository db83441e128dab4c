//! The folder of a store, and what the system may say when it is used.
//!
//! ```text
//! LOCK        held by the process that has the store open
//! MARK        the high-water mark, see `mark`
//! RESERVE     space that is given back when the disk is full, see `reserve`
//! sled/       the database
//! damaged-N/  databases that were set aside
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::mark::{Found, MarkFile};
use crate::store::{StoreError, codec::Unreadable};

#[cfg(test)]
mod tests;

/// Where the parts of a store are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn sled(&self) -> PathBuf {
        self.root.join("sled")
    }

    pub(super) fn mark(&self) -> PathBuf {
        self.root.join("MARK")
    }

    pub(super) fn reserve(&self) -> PathBuf {
        self.root.join("RESERVE")
    }

    pub(super) fn aside(&self, number: u32) -> PathBuf {
        self.root.join(format!("damaged-{number}"))
    }

    /// Where a database is put together before it takes the place of `sled/`.
    pub(super) fn rebuilding(&self) -> PathBuf {
        self.root.join("rebuilding")
    }

    /// Where a copy of a damaged database is read, so that itself stays as it is.
    pub(super) fn reading(&self) -> PathBuf {
        self.root.join("reading")
    }

    /// The first number that no damaged database has yet.
    pub(super) fn free_aside(&self) -> u32 {
        (1..).find(|number| !self.aside(*number).exists()).unwrap_or(u32::MAX)
    }

    /// Makes the folder, if it is not there, and takes its lock.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        let is_new = !self.root.exists();
        fs::create_dir_all(&self.root).map_err(|error| self.refused("make the folder", error))?;
        if is_new && let Some(parent) = self.root.parent() {
            // A parent that cannot be opened is not ours to insist on.
            let _ = sync_folder(parent);
        }
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.root.join("LOCK"))
            .map_err(|error| self.refused("write in the folder", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: self.root.clone() }),
            Err(TryLockError::Error(error)) => Err(self.refused("lock the folder", error)),
        }
    }

    /// Opens the mark.
    pub(super) fn open_mark(&self) -> Result<(MarkFile, Found), StoreError> {
        let opened = MarkFile::open(&self.mark())
            .map_err(|error| self.refused("read the mark of the store", error))?;
        opened.map_err(|newer| self.newer("its mark", &newer))
    }

    /// The error of a store that a newer version wrote. It is not damaged, it is not ours to read.
    pub(super) fn newer(&self, part: &str, why: &Unreadable) -> StoreError {
        StoreError::Open {
            path: self.root.clone(),
            what: format!(
                "{part} cannot be read: {why}; use the version of the library that wrote it"
            ),
            source: None,
        }
    }

    /// The error of something that the system refused, with what to do about it.
    pub(super) fn refused(&self, tried: &str, error: io::Error) -> StoreError {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the system has many more")]
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "give this user the right to read and write there",
            io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a file system for writing",
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "choose a path where a folder is or can be made"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on the disk and open it again"
            }
            io::ErrorKind::Unsupported => "choose a local file system",
            _ => "see what the system says",
        };
        StoreError::open(&self.root, format!("could not {tried}; {advice}"), error)
    }
}

/// Makes the entries of a folder survive a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened as a file, and its entries are durable with the file.
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Makes the files in a folder, and the folder, survive a power cut. Sled does not sync the small
/// ones that it writes when it opens.
pub(super) fn sync_files(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            // For writing, because some systems sync no other file.
            let file = OpenOptions::new().write(true).open(entry.path())?;
            file.sync_all()?;
        }
    }
    sync_folder(path)
}

/// Removes what sled was about to write when its process ended. It would take such a file for the
/// newest of its snapshots, and refuse to open because that is cut short.
pub(super) fn remove_unfinished(sled: &Path) -> io::Result<()> {
    if !sled.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(sled)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().ends_with(b".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until the last owner of a database in this process has let go of it.
///
/// The threads of sled can hold its file for a moment after it was dropped. We hold our own lock,
/// so nobody else can have it; after two seconds it is left to sled to say what is wrong.
pub(super) fn wait_for_release(db: &Path) {
    let Ok(file) = File::open(db) else { return };
    for _ in 0..400 {
        match file.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => break,
            Err(TryLockError::WouldBlock) => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

/// Copies a folder with all that is in it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Removes a folder if it is there.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
