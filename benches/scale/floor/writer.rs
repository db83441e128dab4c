//! One thread that writes to sled for all: the cheapest way to commit durably from many tasks.

use std::{path::Path, sync::Arc, thread, time::Duration};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    sled::{Store, TRANSACTION, Write},
    template::Template,
};
use crate::workloads::by_many;

/// How many requests may wait, and how many make one group.
const GROUP: usize = 1024;

type Job = (Vec<Write>, oneshot::Sender<()>);

/// The thread, and the queue before it.
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: thread::JoinHandle<anyhow::Result<Store>>,
}

/// A way to the thread.
#[derive(Clone)]
pub(crate) struct Line(mpsc::Sender<Job>);

impl Writer {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::on(Store::open(path)?)
    }

    pub(crate) fn on(store: Store) -> anyhow::Result<Self> {
        let (jobs, queue) = mpsc::channel(GROUP);
        let thread = thread::Builder::new().name("floor-writer".to_owned());
        let thread = thread.spawn(move || run(store, queue))?;
        Ok(Self { jobs, thread })
    }

    pub(crate) fn line(&self) -> Line {
        Line(self.jobs.clone())
    }

    /// Writes an operation for so many sessions, from so many tasks, and says how long that took.
    pub(crate) async fn write_for_all(
        &self,
        what: &'static str,
        callers: usize,
        sessions: usize,
        template: Template,
    ) -> anyhow::Result<Duration> {
        let (template, line) = (Arc::new(template), self.line());
        let began = Instant::now();
        let writing = by_many(what, callers, sessions, move |session| {
            let (template, line) = (Arc::clone(&template), line.clone());
            async move { line.write(template.writes(session, 0)).await }
        });
        writing.await?;
        Ok(began.elapsed())
    }

    /// Ends the thread, which happens when all lines are gone too, and gives its store back.
    pub(crate) fn close(self) -> anyhow::Result<Store> {
        drop(self.jobs);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
    }
}

impl Line {
    /// Writes rows. They are durable on return.
    pub(crate) async fn write(&self, rows: Vec<Write>) -> anyhow::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.send((rows, reply)).await.ok().context("the writer is gone")?;
        answer.await.context("the writer failed")
    }
}

fn run(mut store: Store, mut queue: mpsc::Receiver<Job>) -> anyhow::Result<Store> {
    let mut replies = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some((writes, reply)) = next {
            for write in writes {
                bytes += write.key.len() + write.value.as_ref().map_or(0, Vec::len);
                rows.push(write);
            }
            replies.push(reply);
            if bytes >= TRANSACTION {
                store.apply(std::mem::take(&mut rows))?;
                bytes = 0;
            }
            next = if replies.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        if !rows.is_empty() {
            store.apply(rows)?;
        }
        store.sync()?;
        for reply in replies.drain(..) {
            // Nobody has to wait for the answer.
            let _ = reply.send(());
        }
    }
    Ok(store)
}
