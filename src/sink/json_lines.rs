//! A sink that writes files, one JSON object in each line.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Sink, SinkBatch, SinkItem};
use crate::store::BoxError;

#[cfg(test)]
mod tests;

/// How files are named: `000001.jsonl` and on.
const EXTENSION: &str = "jsonl";
const DIGITS: usize = 6;

/// How much of the last file is read to know what is in it already: more than one batch of the
/// events of sessions as they usually are.
const TAIL: u64 = 4 << 20;

/// A [`Sink`] that writes [JSON Lines](https://jsonlines.org): each [`SinkItem`] is a line in the newest of the files `000001.jsonl`,
/// `000002.jsonl` and so on of a folder. A batch is on disk before it counts as delivered.
///
/// After a crash a line that was cut short is removed, and what was written but not known to be so is not
/// written again where the last 4 MiB show it. One process at a time may have the folder.
#[derive(Debug)]
pub struct JsonLines {
    folder: Arc<Folder>,
}

/// How [`JsonLines`] writes its files.
#[derive(Debug, Clone)]
#[must_use = "the folder is not opened before `open` is called"]
pub struct JsonLinesOptions {
    folder: PathBuf,
    file_bytes: u64,
    keep: Option<usize>,
}

impl JsonLinesOptions {
    /// How large a file gets before the next is begun (default 64 MiB). A batch is in one file, so it may get somewhat
    /// larger.
    pub const fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// How many files are kept, at least one (default: all). The oldest is removed when a further one is
    /// begun.
    pub const fn keep(mut self, files: usize) -> Self {
        self.keep = Some(files);
        self
    }

    /// Opens the folder, or makes it. This call blocks.
    ///
    /// # Errors
    /// The folder cannot be made, read or written to, or another process has it.
    pub fn open(self) -> io::Result<JsonLines> {
        let folder = Folder::open(self)?;
        Ok(JsonLines { folder: Arc::new(folder) })
    }
}

impl JsonLines {
    /// Opens a folder, or makes one, with files of 64 MiB that are all kept. This call blocks.
    ///
    /// # Errors
    /// See [`JsonLinesOptions::open`].
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Self> {
        Self::options(folder).open()
    }

    /// Options to open a folder with.
    pub fn options(folder: impl AsRef<Path>) -> JsonLinesOptions {
        JsonLinesOptions { folder: folder.as_ref().to_owned(), file_bytes: 64 << 20, keep: None }
    }
}

impl Sink for JsonLines {
    async fn deliver(&self, batch: SinkBatch) -> Result<usize, BoxError> {
        let folder = Arc::clone(&self.folder);
        Ok(tokio::task::spawn_blocking(move || folder.write(&batch)).await??)
    }
}

/// The folder of the files.
struct Folder {
    options: JsonLinesOptions,
    last: Mutex<Last>,
    _lock: File,
}

/// The file that is written to.
struct Last {
    number: u64,
    file: File,
    length: u64,
    /// Lines at its end, by which a batch is known that comes again.
    known: HashSet<Vec<u8>>,
}

impl Folder {
    fn open(options: JsonLinesOptions) -> io::Result<Self> {
        fs::create_dir_all(&options.folder)?;
        let lock = File::create(options.folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("another process writes to {}", options.folder.display()),
            ),
            fs::TryLockError::Error(error) => error,
        })?;
        let number = numbers(&options.folder)?.last().copied().unwrap_or(1);
        let mut last = Last::open(&options.folder, number)?;
        last.mend()?;
        Ok(Self { options, last: Mutex::new(last), _lock: lock })
    }

    /// Writes what is not there yet, and gives back how much is there now: everything.
    fn write(&self, batch: &SinkBatch) -> io::Result<usize> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<Vec<u8>> = batch.items().iter().map(line).collect::<Result<_, _>>()?;
        if last.length >= self.options.file_bytes {
            last.turn(&self.options)?;
        }
        let new = lines.iter().filter(|line| !last.known.contains(*line));
        let bytes: Vec<u8> = new.flatten().copied().collect();
        last.append(&bytes)?;
        last.known = lines.into_iter().collect();
        Ok(batch.items().len())
    }
}

impl Last {
    fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let path = path(folder, number);
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        // The name of a new file is not durable before its folder is.
        File::open(folder)?.sync_all()?;
        let length = file.metadata()?.len();
        Ok(Self { number, file, length, known: HashSet::new() })
    }

    /// Removes a line that was cut short, and reads the ones before it.
    fn mend(&mut self) -> io::Result<()> {
        let mut tail = self.read_from(self.length.saturating_sub(TAIL))?;
        if !tail.contains(&b'\n') {
            tail = self.read_from(0)?;
        }
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < tail.len() {
            self.length -= (tail.len() - whole) as u64;
            self.file.set_len(self.length)?;
            self.file.sync_all()?;
        }
        tail.truncate(whole);
        self.known = tail.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        Ok(())
    }

    fn read_from(&mut self, from: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(from))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Begins the next file.
    fn turn(&mut self, options: &JsonLinesOptions) -> io::Result<()> {
        let known = std::mem::take(&mut self.known);
        *self = Self { known, ..Self::open(&options.folder, self.number + 1)? };
        let Some(keep) = options.keep else { return Ok(()) };
        let numbers = numbers(&options.folder)?;
        for number in numbers.iter().rev().skip(keep.max(1)) {
            fs::remove_file(path(&options.folder, *number))?;
        }
        Ok(())
    }

    /// Appends whole lines, or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a line must not stand before the next.
                self.file.set_len(self.length)?;
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("options", &self.options).finish_non_exhaustive()
    }
}

fn line(item: &SinkItem) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    Ok(line)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:0DIGITS$}.{EXTENSION}"))
}

/// The numbers of the files that are there, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let number = name.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if name.extension().is_some_and(|extension| extension == EXTENSION) {
            numbers.extend(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
