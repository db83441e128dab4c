//! One durable write at a time, by bare sled.

use std::{
    fs::File,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use anyhow::Context;
use tokio::sync::oneshot;

use super::sled::{CACHE, open};

/// A thread that writes one row, makes it durable and answers. It ends when this is dropped.
pub(crate) struct Committer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    key: [u8; 16],
    row: Vec<u8>,
    done: oneshot::Sender<anyhow::Result<()>>,
}

impl Committer {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let (db, log) = open(folder, CACHE)?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || {
            for Job { key, row, done } in inbox {
                // A caller that is gone hears nothing.
                let _ = done.send(write(&db, &log, key, row));
            }
        });
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Durable on return.
    pub(crate) async fn commit(&self, key: [u8; 16], row: Vec<u8>) -> anyhow::Result<()> {
        let (done, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().context("it is open until it is dropped")?;
        jobs.send(Job { key, row, done })?;
        answer.await?
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // What went wrong there was answered there.
            let _ = thread.join();
        }
    }
}

fn write(db: &sled::Db, log: &File, key: [u8; 16], row: Vec<u8>) -> anyhow::Result<()> {
    db.insert(key, row)?;
    db.flush()?;
    Ok(log.sync_data()?)
}
