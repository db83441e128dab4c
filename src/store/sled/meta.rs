//! What the store knows about itself: one row, written with every group of commits.

use super::{
    counted::BY_NUMBER,
    engine::Engine,
    table::{META, Table},
    value,
};
use crate::{
    model::{footprint::StateBytes, ids::WorkerGeneration, time::SupervisedTime},
    store::{
        LogEnd, StoreError,
        codec::{self, FORMAT, Frame, Reader, Unreadable},
    },
};

/// Says that all runs are found by their ids.
const RUNS: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    /// Counts the groups of commits, from 1.
    pub(super) commit: u64,
    /// The supervised time up to now.
    pub(super) supervised: SupervisedTime,
    /// The worker that began last.
    pub(super) generation: Option<WorkerGeneration>,
    /// Where the log of all sessions ends. `None`: it was not kept yet when this was written.
    pub(super) log: Option<LogEnd>,
    /// Whether all runs are found by their ids. They were not when the first stores were written.
    pub(super) runs: bool,
    /// What all sessions hold. `None`: it was not counted yet when this was written.
    pub(super) held: Option<StateBytes>,
}

impl Meta {
    /// Reads the row; a new store has none.
    pub(super) fn read(engine: &Engine) -> Result<Option<Self>, StoreError> {
        let Some(body) = value::read(engine, Table::Meta, META)? else {
            return Ok(None);
        };
        let meta = Self::decode(&body)
            .map_err(|why| engine.damages.value(Table::Meta, META, &why, &body))?;
        Ok(Some(meta))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let generation = self.generation.map_or([0; 16], |id| id.as_uuid().into_bytes());
        let mut body = self.commit.to_le_bytes().to_vec();
        body.extend_from_slice(&self.supervised.as_millis().to_le_bytes());
        body.extend_from_slice(&generation);
        if let Some(LogEnd { log, last }) = self.log {
            body.extend_from_slice(&log.to_le_bytes());
            body.extend_from_slice(&last.to_le_bytes());
            if self.runs {
                body.push(RUNS);
                let held = self.held.iter();
                let held = held.flat_map(|held| BY_NUMBER.map(|state| held.of(state)));
                held.for_each(|bytes| body.extend_from_slice(&bytes.to_le_bytes()));
            }
        }
        body
    }

    /// How long its row is; and was before it had the sum of bytes, before it spoke of runs, and before it had the end of the log.
    const LENGTHS: [usize; 4] = [
        codec::OVERHEAD + 49 + 8 * BY_NUMBER.len(),
        codec::OVERHEAD + 49,
        codec::OVERHEAD + 48,
        codec::OVERHEAD + 32,
    ];

    pub(super) fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(body);
        let commit = reader.u64()?;
        let supervised = SupervisedTime::from_millis(reader.u64()?);
        let generation = uuid::Uuid::from_bytes(reader.array()?);
        let log = match reader.0.is_empty() {
            true => None,
            false => Some(LogEnd { log: reader.u64()?, last: reader.u64()? }),
        };
        let runs = reader.0.first() == Some(&RUNS);
        let held = match runs && reader.0.len() > 1 {
            true => Some(Self::read_held(&mut reader)?),
            false => None,
        };
        Ok(Self {
            commit,
            supervised,
            generation: Some(generation).filter(|id| !id.is_nil()).map(WorkerGeneration::from_uuid),
            log,
            runs,
            held,
        })
    }

    fn read_held(reader: &mut Reader<'_>) -> Result<StateBytes, Unreadable> {
        let [_] = reader.array()?;
        let mut held = StateBytes::default();
        for state in BY_NUMBER {
            held.set(state, reader.u64()?);
        }
        Ok(held)
    }
}

/// The numbers of the commits whose row is somewhere in these bytes.
pub(super) fn commits_in(bytes: &[u8]) -> impl Iterator<Item = u64> {
    // Whole logs are searched so, hence not byte by byte.
    memchr::memmem::find_iter(bytes, &[Frame::Meta as u8, FORMAT])
        .filter_map(|at| {
            let rows = Meta::LENGTHS.into_iter().filter_map(|length| bytes.get(at..at + length));
            let mut read =
                rows.filter_map(|row| Meta::decode(codec::unseal(Frame::Meta, row).ok()?).ok());
            read.next()
        })
        .map(|meta| meta.commit)
}
