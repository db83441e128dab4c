//! Places that refuse a store, and processes that stand in its way.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use tempfile::TempDir;

/// Says which folder a process is meant for; without it, its test has nothing to do.
const FOLDER: &str = "SESSIONKEEPER_CHILD_FOLDER";

/// One of the ignored tests of this binary, as a process of its own.
pub(crate) fn process(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder);
    command
}

/// The folder that this process is meant for.
pub(crate) fn folder_of_this_process() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Says that a test cannot run here.
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("skipped: {test}: {why}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A mounted folder. It is unmounted where this is dropped.
pub(crate) struct Mounted {
    folder: Folder,
}

enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Mounted {
    /// A small file system in memory, or why there is none.
    pub(crate) fn small(bytes: u64) -> Result<Self, String> {
        Self::on(Folder::Own(TempDir::new().expect("a folder")), bytes)
    }

    /// The same in a folder that is there.
    pub(crate) fn at(folder: &Path, bytes: u64) -> Result<Self, String> {
        Self::on(Folder::Given(folder.to_owned()), bytes)
    }

    fn on(folder: Folder, bytes: u64) -> Result<Self, String> {
        let size = std::ffi::CString::new(format!("size={bytes}")).expect("no zero byte");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), size.as_c_str())
            .map_err(|error| format!("mounting a tmpfs: {error}"))?;
        Ok(Self { folder })
    }

    /// A folder on a file system of its own, which can be made read-only.
    pub(crate) fn remount(&self, flags: MountFlags) {
        mount_remount(self.path(), flags, c"").expect("remounted");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(folder) => folder,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also where a failed test still has files open there.
        let _ = unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}
