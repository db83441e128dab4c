//! What the store knows about itself: one row, written with every group of commits.

use super::{
    engine::Engine,
    table::{META, Table},
    value,
};
use crate::{
    model::{ids::WorkerGeneration, time::SupervisedTime},
    store::{
        StoreError,
        codec::{self, FORMAT, Frame, Reader, Unreadable},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    /// Counts the groups of commits, from 1.
    pub(super) commit: u64,
    /// The supervised time up to now.
    pub(super) supervised: SupervisedTime,
    /// The worker that began last.
    pub(super) generation: Option<WorkerGeneration>,
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
        body
    }

    const LENGTH: usize = codec::OVERHEAD + 8 + 8 + 16;

    pub(super) fn decode(body: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(body);
        let commit = reader.u64()?;
        let supervised = SupervisedTime::from_millis(reader.u64()?);
        let generation = uuid::Uuid::from_bytes(reader.array()?);
        Ok(Self {
            commit,
            supervised,
            generation: Some(generation).filter(|id| !id.is_nil()).map(WorkerGeneration::from_uuid),
        })
    }
}

/// The numbers of the commits whose row is somewhere in these bytes.
pub(super) fn commits_in(bytes: &[u8]) -> impl Iterator<Item = u64> {
    // Whole logs are searched so, hence not byte by byte.
    memchr::memmem::find_iter(bytes, &[Frame::Meta as u8, FORMAT])
        .filter_map(|at| bytes.get(at..at + Meta::LENGTH))
        .filter_map(|row| Meta::decode(codec::unseal(Frame::Meta, row).ok()?).ok())
        .map(|meta| meta.commit)
}
