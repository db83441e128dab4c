//! The open database: its trees, one write path and one read path.
//!
//! Sled can panic on damaged files. Every way into it goes through [`guarded`].

use std::{
    any::Any,
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use ::sled::{
    Batch, Config, Db, Error, IVec, Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError},
};

use super::{damage::Damages, layout, reserve, table::Table};
use crate::{
    faults::{self, Bug},
    store::{BoxError, StoreError},
};

#[cfg(test)]
mod tests;

/// The size of a segment of the log. A page above a quarter of it would become a blob file, which
/// sled never syncs: with 32 KiB values and at most some 20 of them on a page there is none.
pub(super) const SEGMENT: usize = 4 << 20;

/// After how many changes of a page sled writes it anew.
const CHANGES: u8 = 10;

/// The open database. It is closed where this is dropped: nothing else keeps a tree.
pub(super) struct Engine {
    trees: Vec<Tree>,
    db: Db,
    /// Our own handle to the log: `flush` alone does not survive a power cut.
    log: File,
    path: PathBuf,
    pub(super) damages: Arc<Damages>,
}

/// Why a database cannot be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The system refused something.
    Io(io::Error),
    /// Its configuration is in the way.
    System(BoxError),
    /// Its files are damaged.
    Damaged(String),
}

impl Engine {
    /// Opens the database in a folder, or makes one. What it then holds is on the device.
    pub(super) fn open(
        path: &Path,
        cache_capacity: u64,
        damages: Arc<Damages>,
    ) -> Result<Self, OpenError> {
        let mut engine = Self::open_meta(path, cache_capacity, damages)?;
        engine.open_rest()?;
        Ok(engine)
    }

    /// Opens a database as far as to tell whether it is ours: nothing but its meta row may be read.
    /// To a database that is there it adds nothing.
    pub(super) fn open_meta(
        path: &Path,
        cache_capacity: u64,
        damages: Arc<Damages>,
    ) -> Result<Self, OpenError> {
        layout::wait_for_release(&path.join("db"));
        layout::remove_unfinished(path).map_err(OpenError::Io)?;
        let opened = guarded(|| {
            let db = Config::new()
                .path(path)
                .segment_size(SEGMENT)
                .cache_capacity(cache_capacity)
                .flush_every_ms(None)
                .open()?;
            let meta = db.open_tree(Table::Meta.name())?;
            Ok((db, meta))
        });
        let (db, meta) = opened.map_err(OpenError::Damaged)?.map_err(classify)?;
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.join("db"))
            .map_err(OpenError::Io)?;
        Ok(Self { trees: vec![meta], db, log, path: path.to_owned(), damages })
    }

    /// Opens the rest of a database that is ours. Tables that an older version did not have are made.
    pub(super) fn open_rest(&mut self) -> Result<(), OpenError> {
        let opened = guarded(|| {
            let tree = |table: Table| self.db.open_tree(table.name());
            let trees = Table::ALL.into_iter().map(tree).collect::<Result<Vec<_>, _>>()?;
            self.db.flush()?;
            Ok(trees)
        });
        self.trees = opened.map_err(OpenError::Damaged)?.map_err(classify)?;
        // Another process may have been killed between its write and its sync.
        layout::sync_files(&self.path).map_err(OpenError::Io)
    }

    pub(super) fn tree(&self, table: Table) -> &Tree {
        let place = Table::ALL.iter().position(|other| *other == table);
        place.and_then(|place| self.trees.get(place)).expect("every table has a tree")
    }

    /// What is stored at a key, as it is.
    pub(super) fn raw(&self, table: Table, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        reading(|| self.tree(table).get(key))
    }

    /// Writes batches to tables, all of them or nothing.
    pub(super) fn apply(&self, writes: Vec<(Table, Batch)>) -> Result<(), StoreError> {
        let trees: Vec<&Tree> = writes.iter().map(|(table, _)| self.tree(*table)).collect();
        let transaction = || {
            trees.as_slice().transaction(|views| {
                for (view, (_, batch)) in views.iter().zip(&writes) {
                    view.apply_batch(batch)?;
                }
                Ok::<(), ConflictableTransactionError<()>>(())
            })
        };
        during("writing", || {
            transaction().map_err(|error| match error {
                TransactionError::Storage(error) => error,
                TransactionError::Abort(()) => unreachable!("no write aborts"),
            })
        })
    }

    /// Makes sled move at most so many pages out of segments of its log that are half dead or more,
    /// for as long as it may go on. Says how many.
    ///
    /// Sled moves one whenever it writes a page anew, the ones at the beginning of the file first,
    /// which are those that it has just filled. So segments stay for the few pages in them that
    /// never change, and the file grows to ten times what is live. Here a page that nobody needs is
    /// written anew.
    pub(super) fn collect(
        &self,
        pages: usize,
        go_on: impl Fn() -> bool,
    ) -> Result<usize, StoreError> {
        let unused: &Tree = &self.db;
        during("collecting", || {
            let mut done = 0;
            while done < pages && go_on() {
                for change in 0..CHANGES {
                    unused.insert(b"", &[change])?;
                }
                done += 1;
            }
            Ok(done)
        })
    }

    /// Gives everything that was written to the system: it survives the process.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        during("flushing", || self.db.flush().map(drop))
    }

    /// Waits until everything that was flushed is on the device: it survives the machine.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        if faults::planted(Bug::SkipSync) {
            return Ok(());
        }
        self.log
            .sync_data()
            .map_err(|error| StoreError::unavailable("syncing failed", SyncFailed(error)))
    }

    /// How long the log is; 0 if the system does not say.
    pub(super) fn length(&self) -> u64 {
        self.log.metadata().map_or(0, |log| log.len())
    }

    /// From now on the device takes nothing.
    #[cfg(test)]
    pub(super) fn break_device(&mut self) {
        self.log = File::open("/dev/null").expect("a file that cannot be synced");
    }

    /// From now on reading and writing panic, as sled does where it meets what it does not expect.
    #[cfg(test)]
    pub(super) fn break_trees(&mut self) {
        self.trees.clear();
    }

    /// How many values became blob files. There must be none: sled does not sync them.
    pub(super) fn blobs(&self) -> usize {
        fs::read_dir(self.path.join("blobs")).map_or(0, Iterator::count)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The device did not take what the system had taken.
#[derive(Debug, thiserror::Error)]
#[error("the device did not take what was written")]
struct SyncFailed(#[source] io::Error);

/// Whether after this error of a write nobody knows what is on the device.
///
/// Where a device fails to take what was written, the system forgets that it was to be written:
/// to ask again would only seem to help. A full disk is different, it refuses before.
pub(super) fn leaves_doubt(error: &StoreError) -> bool {
    let source = std::error::Error::source(error);
    let synced = source.and_then(|source| source.downcast_ref::<SyncFailed>());
    let flushed = source.and_then(|source| match source.downcast_ref::<Error>()? {
        Error::Io(error) => Some(error),
        Error::CollectionNotFound(_)
        | Error::Unsupported(_)
        | Error::ReportableBug(_)
        | Error::Corruption { .. } => None,
    });
    synced.is_some() || flushed.is_some_and(|error| !reserve::is_full(error))
}

/// Runs a read, which on damaged files can panic.
pub(super) fn reading<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<T, StoreError> {
    during("reading", read)
}

/// Runs what the database does, and says what that was where it fails.
fn during<T>(what: &str, action: impl FnOnce() -> Result<T, Error>) -> Result<T, StoreError> {
    match guarded(action) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(StoreError::unavailable(format!("{what} failed"), error)),
        Err(panic) => Err(StoreError::unavailable(format!("{what} panicked"), panic)),
    }
}

/// Runs what may panic, and gives the message where it does.
pub(super) fn guarded<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    // What is shared with the action is either dropped after a panic or belongs to sled, whose
    // structures are lock-free and whose errors are sticky.
    catch_unwind(AssertUnwindSafe(action)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}

fn classify(error: Error) -> OpenError {
    use std::io::ErrorKind;
    match error {
        // A file that ends too early or makes no sense.
        Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput
            ) =>
        {
            OpenError::Damaged(error.to_string())
        }
        Error::Io(error) => OpenError::Io(error),
        Error::Unsupported(_) => OpenError::System(error.into()),
        Error::Corruption { .. } | Error::CollectionNotFound(_) | Error::ReportableBug(_) => {
            OpenError::Damaged(error.to_string())
        }
    }
}
