//! A disk whose power can be cut.
//!
//! It is an ext4 file system on a loop device, whose image lies in another ext4 file system on a
//! loop device. The cut is `EXT4_IOC_SHUTDOWN` of the outer one without a flush of its journal.
//! From that moment nothing more gets into the image, and what the system held in memory for it
//! is gone: that is everything that the inner one has not flushed. So the memory of the outer one
//! plays the volatile memory of a disk. With one file system alone, what was handed to the device
//! would count as written, and a store that never syncs would lose hardly anything.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Followed by the process that made it.
const PREFIX: &str = "sessionkeeper-disk-";
const BYTES: u64 = 256 << 20;

/// A mounted disk. It is unmounted where this is dropped; its image is kept if a test fails.
pub(crate) struct Disk {
    folder: Option<TempDir>,
    /// What has the power.
    outer: Volume,
    /// What is used.
    inner: Volume,
}

/// A file system in a file.
struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes one; says why not, where that is not possible.
    pub(crate) fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount a disk".to_owned());
        }
        remove_leftovers();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let outer = Volume { image: at("image"), mount: at("outer") };
        let inner = Volume { image: at("outer").join("image"), mount: at("inner") };
        run(Command::new("perl").args(["-e", ""]))?;
        let disk = Self { folder: Some(folder), outer, inner };
        disk.outer.make(BYTES + BYTES / 2)?;
        disk.inner.make(BYTES)?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.inner.mount
    }

    /// Cuts the power. Whoever works on it gets errors from now on.
    pub(crate) fn cut(&self) {
        // _IOR('X', 125, u32) with EXT4_GOING_FLAGS_NOLOGFLUSH.
        const CUT: &str = "open(my $disk, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); \
                           defined ioctl($disk, 0x8004587d, $how) or die $!";
        run(Command::new("perl").args(["-e", CUT]).arg(&self.inner.image)).unwrap();
    }

    /// Gives it power again, when nobody has it open any more.
    pub(crate) fn restore(&self) {
        self.inner.unmount().unwrap();
        // The system lets go of the image in it a moment later.
        let mut tries = 0;
        while let Err(error) = self.outer.unmount() {
            tries += 1;
            assert!(error.contains("busy") && tries < 5_000, "{error}");
        }
        self.outer.mount().unwrap();
        self.inner.mount().unwrap();
    }
}

impl Volume {
    fn make(&self, bytes: u64) -> Result<(), String> {
        fs::create_dir(&self.mount).unwrap();
        File::create(&self.image).and_then(|file| file.set_len(bytes)).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&self.image))?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-t", "ext4", "-o", "loop"])
            .args([&self.image, &self.mount]))
    }

    /// The loop device goes with the mount.
    fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.mount))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for volume in [&self.inner, &self.outer] {
            if volume.unmount().is_err() {
                // Somebody has it open, or it never came to be mounted.
                let _ = run(Command::new("umount").arg("--lazy").arg(&volume.mount));
            }
        }
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the image of the disk is kept in {}", folder.keep().display());
        }
    }
}

/// Unmounts what tests left that were killed.
fn remove_leftovers() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    // What was mounted last stands last.
    for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        let owner = mount.split(PREFIX).nth(1).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = run(Command::new("umount").arg(mount));
            if mount.ends_with("outer")
                && let Some(folder) = Path::new(mount).parent()
            {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&stderr).trim()))
        }
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
