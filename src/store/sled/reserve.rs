//! Space that is kept back for the day the disk is full.
//!
//! To open again after a full disk sled needs room for about a segment. The reserve is given back
//! then, and made again once there is more room than it takes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::engine::SEGMENT;

#[cfg(all(test, unix))]
mod tests;

const BYTES: usize = SEGMENT + (1 << 20);

/// Makes the reserve unless it is there. `Ok(false)`: there is no room for it.
pub(super) fn make(path: &Path) -> io::Result<bool> {
    if fs::metadata(path).is_ok_and(|found| found.len() == BYTES as u64) {
        return Ok(true);
    }
    // Twice its size must fit, so that making it never takes the last room.
    match fill(path, 2 * BYTES) {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => {
            give_back(path)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives the space back.
pub(super) fn give_back(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fill(path: &Path, probe: usize) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    // A file system that compresses or leaves out zeros would reserve nothing.
    let mut noise = fastrand::Rng::with_seed(1);
    let mut block = vec![0; 64 << 10];
    for _ in 0..probe / block.len() {
        noise.fill(&mut block);
        file.write_all(&block)?;
    }
    file.set_len(BYTES as u64)?;
    file.sync_all()
}

/// Whether an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
