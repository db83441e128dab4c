//! Bare sled, configured as the library configures it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use sled::{
    Batch, Config, Db, Error, Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError},
};
use tempfile::TempDir;

/// The trees of a store, in the order of [`Write::tree`].
pub(crate) const TREES: [&str; 10] = [
    "meta",
    "records",
    "slots",
    "snapshots",
    "inputs",
    "input_ids",
    "events",
    "index",
    "pieces",
    "chunks",
];

/// How many bytes of pages it keeps in memory, unless it is told otherwise.
const CACHE: u64 = 32 << 20;

/// How much one transaction writes, unless a single request is larger.
pub(crate) const TRANSACTION: usize = 4 << 20;

/// A row that is written, or removed where there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) tree: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Write {
    /// How many bytes of key and value.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Rows by their tree and key.
pub(crate) type Rows = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// An open database.
pub(crate) struct Store {
    trees: Vec<Tree>,
    db: Db,
    /// `flush` alone does not survive a power cut.
    log: File,
    groups: u64,
}

/// Opens the database in a folder as the library does, or makes one, with a handle to its log:
/// what sled flushes survives the process, and only what is synced the machine.
pub(crate) fn open(path: &Path, cache: u64) -> anyhow::Result<(Db, File)> {
    let config =
        Config::new().path(path).segment_size(4 << 20).cache_capacity(cache).flush_every_ms(None);
    let db = loop {
        match config.open() {
            // A thread of one that was just closed still has its file.
            Err(Error::Io(error)) if error.to_string().contains("acquire lock") => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            opened => break opened?,
        }
    };
    Ok((db, File::options().read(true).write(true).open(path.join("db"))?))
}

impl Store {
    /// Opens the database in a folder, or makes one.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let (db, log) = open(path, CACHE)?;
        let trees = TREES.into_iter().map(|name| db.open_tree(name)).collect::<Result<_, _>>()?;
        db.flush()?;
        Ok(Self { trees, db, log, groups: 0 })
    }

    pub(crate) fn tree(&self, name: &str) -> anyhow::Result<&Tree> {
        let place = TREES.iter().position(|other| *other == name);
        place.and_then(|place| self.trees.get(place)).with_context(|| format!("no tree {name}"))
    }

    /// Writes rows, all of them or nothing. With each group of them ours writes which one it is.
    pub(crate) fn apply(&mut self, writes: Vec<Write>) -> anyhow::Result<()> {
        self.groups += 1;
        let mut group = [0; 38];
        if let Some(number) = group.first_chunk_mut() {
            *number = self.groups.to_le_bytes();
        }
        let mut batches: BTreeMap<usize, Batch> = BTreeMap::new();
        batches.entry(0).or_default().insert(b"state", group.as_slice());
        for Write { tree, key, value } in writes {
            let batch = batches.entry(tree).or_default();
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let trees: Option<Vec<&Tree>> = batches.keys().map(|tree| self.trees.get(*tree)).collect();
        let trees = trees.context("no such tree")?;
        let done = trees.as_slice().transaction(|views| {
            for (view, batch) in views.iter().zip(batches.values()) {
                view.apply_batch(batch)?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        done.map_err(|error| match error {
            TransactionError::Abort(()) => anyhow::anyhow!("no write aborts"),
            TransactionError::Storage(error) => error.into(),
        })
    }

    /// Waits until everything that was written is on the device.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        self.db.flush()?;
        Ok(self.log.sync_data()?)
    }

    /// Writes many rows, in transactions of a good size.
    pub(crate) fn fill(&mut self, rows: impl Iterator<Item = Write>) -> anyhow::Result<()> {
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        for write in rows {
            bytes += write.bytes();
            waiting.push(write);
            if bytes >= TRANSACTION {
                self.apply(std::mem::take(&mut waiting))?;
                bytes = 0;
            }
        }
        self.apply(waiting)?;
        self.sync()
    }

    /// Checks that a tree has so many rows that begin with a prefix.
    pub(crate) fn expect(&self, tree: &str, prefix: &[u8], count: usize) -> anyhow::Result<()> {
        let mut found = 0;
        for row in self.tree(tree)?.scan_prefix(prefix) {
            row?;
            found += 1;
        }
        ensure!(found == count, "{tree}: {found} rows with {prefix:?}, and not {count}");
        Ok(())
    }

    /// All rows but the one that names the last group.
    fn rows(&self) -> anyhow::Result<Rows> {
        let mut rows = Rows::new();
        for (place, tree) in self.trees.iter().enumerate().skip(1) {
            for row in tree {
                let (key, value) = row?;
                rows.insert((place, key.to_vec()), value.to_vec());
            }
        }
        Ok(rows)
    }
}

/// The folder of the database in that of a store of ours.
pub(crate) fn inside(store: &Path) -> PathBuf {
    store.join("sled")
}

/// The rows of a database, read in a copy of it.
pub(crate) fn rows_of(folder: &Path) -> anyhow::Result<Rows> {
    let copy = copy_of(folder)?;
    Store::open(copy.path())?.rows()
}

/// A copy of a database that may be open. Nothing may be written to it meanwhile.
pub(crate) fn copy_of(folder: &Path) -> anyhow::Result<TempDir> {
    let copy = tempfile::tempdir_in(folder.parent().context("a folder is somewhere")?)?;
    copy_folder(folder, copy.path())?;
    Ok(copy)
}

/// What is in a row: it is framed by two bytes before and a checksum after it.
pub(crate) fn unseal(row: &[u8]) -> anyhow::Result<&[u8]> {
    let (covered, checksum) = row.split_last_chunk().context("a row has a checksum")?;
    ensure!(crc32fast::hash(covered) == u32::from_le_bytes(*checksum), "a row is damaged");
    covered.get(2..).context("a row says what it is")
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
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
