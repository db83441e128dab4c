//! Values of any size in rows of at most 32 KiB.
//!
//! A larger value would put its page above the size where sled moves it into a file that it never
//! syncs. So it is split into pieces, which lie in a table of their own, and its row holds a head:
//!
//! ```text
//! head   kind: u8 | generation: u64 | length: u64 | pieces: u32 | CRC-32 of the whole: u32
//! piece  generation: u64 | number: u32 | bytes
//! ```
//!
//! The generation is the number of the commit that wrote them. It rules out that the pieces of
//! two values are taken for one.
//!
//! A large snapshot is in [`chunks`] instead.

use super::{
    chunks::{self, Address},
    engine::Engine,
    table::{Table, chunk_key},
};
use crate::{
    model::ids::SessionId,
    store::{
        StoreError,
        codec::{self, Frame, Reader, Unreadable},
    },
};

/// The largest row.
pub(super) const ROW: usize = 32 << 10;

/// How many bytes are in a head.
const HEAD: usize = 1 + 8 + 8 + 4 + 4;

/// How many bytes of a value are in a piece.
const PIECE: usize = ROW - codec::OVERHEAD - 8 - 4;

/// A value, as far as it can be made ready without the number of its commit.
#[derive(Debug)]
pub(super) enum Value {
    /// All of it.
    Row(Vec<u8>),
    /// The body of one that is to be split.
    InPieces(Vec<u8>),
}

impl Value {
    pub(super) fn new(table: Table, body: Vec<u8>) -> Self {
        if is_in_pieces(&body) {
            Self::InPieces(body)
        } else {
            Self::Row(codec::seal(table.frame(), &body))
        }
    }
}

/// The rows that hold a value: its own first, then its pieces with their keys.
pub(super) struct Encoded {
    pub(super) row: Vec<u8>,
    pub(super) pieces: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Whether a value with this body takes more than its own row.
pub(super) const fn is_in_pieces(body: &[u8]) -> bool {
    body.len() + codec::OVERHEAD > ROW
}

/// Puts the body of a value into rows.
pub(super) fn encode(table: Table, key: &[u8], generation: u64, body: &[u8]) -> Encoded {
    if !is_in_pieces(body) {
        return Encoded { row: codec::seal(table.frame(), body), pieces: Vec::new() };
    }
    let numbered = (0_u32..).zip(body.chunks(PIECE));
    let pieces: Vec<_> = numbered
        .map(|(number, bytes)| {
            let piece = codec::seal_with(Frame::Piece, 8 + 4 + bytes.len(), |piece| {
                piece.extend_from_slice(&generation.to_le_bytes());
                piece.extend_from_slice(&number.to_le_bytes());
                piece.extend_from_slice(bytes);
            });
            (piece_key(table, key, number), piece)
        })
        .collect();
    let count = u32::try_from(pieces.len()).expect("a value has fewer than 4 billion pieces");
    let row = codec::seal_with(Frame::Head, HEAD, |row| {
        row.push(table.frame() as u8);
        row.extend_from_slice(&generation.to_le_bytes());
        row.extend_from_slice(&(body.len() as u64).to_le_bytes());
        row.extend_from_slice(&count.to_le_bytes());
        row.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    });
    Encoded { row, pieces }
}

/// The body of the value at a key.
pub(super) fn read(
    engine: &Engine,
    table: Table,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut raw = engine.raw(table, key)?;
    while let Some(row) = raw {
        match assemble(engine, table, key, &row)? {
            Ok(body) => return Ok(Some(body)),
            Err(why) => {
                // The writer may have removed it meanwhile, or replaced it, with the rest of its rows.
                raw = engine.raw(table, key)?;
                if raw.as_ref() == Some(&row) {
                    return Err(engine.damages.value(table, key, &why, &row));
                }
            }
        }
    }
    Ok(None)
}

/// The body of a value whose row was read already. Damage is noted.
pub(super) fn check(
    engine: &Engine,
    table: Table,
    key: &[u8],
    raw: &[u8],
) -> Result<Vec<u8>, StoreError> {
    assemble(engine, table, key, raw)?.map_err(|why| engine.damages.value(table, key, &why, raw))
}

fn assemble(
    engine: &Engine,
    table: Table,
    key: &[u8],
    raw: &[u8],
) -> Result<Result<Vec<u8>, Unreadable>, StoreError> {
    if is_head(raw) {
        return join(table, raw, |number| {
            engine.raw(Table::Pieces, &piece_key(table, key, number))
        });
    }
    match table.session(key).filter(|_| is_in_chunks(table, raw)) {
        Some(session) => match chunks::Head::read(raw) {
            Ok(head) => head.join(session, |address| chunk(engine, session, address)),
            Err(why) => Ok(Err(why)),
        },
        None => Ok(codec::unseal(table.frame(), raw).map(<[u8]>::to_vec)),
    }
}

/// Whether a row stands for a value in pieces.
pub(super) fn is_head(raw: &[u8]) -> bool {
    codec::claims(Frame::Head, raw)
}

/// Whether a row stands for a snapshot in chunks.
pub(super) fn is_in_chunks(table: Table, raw: &[u8]) -> bool {
    table == Table::Snapshots && codec::claims(Frame::Chunked, raw)
}

/// The row of a chunk.
pub(super) fn chunk(
    engine: &Engine,
    session: SessionId,
    address: &Address,
) -> Result<Option<::sled::IVec>, StoreError> {
    engine.raw(Table::Chunks, &chunk_key(session, address))
}

/// The keys of the pieces that belong to a row, whether or not its head can be read.
pub(super) fn piece_keys(
    engine: &Engine,
    table: Table,
    key: &[u8],
    raw: &[u8],
) -> Result<Vec<Vec<u8>>, StoreError> {
    if !is_head(raw) {
        return Ok(Vec::new());
    }
    let mut rows = engine.tree(Table::Pieces).scan_prefix(table.pieces_of(key));
    let mut keys = Vec::new();
    while let Some((key, _)) = super::engine::reading(|| rows.next().transpose())? {
        keys.push(key.to_vec());
    }
    Ok(keys)
}

/// Puts a value together from its head and the pieces that `piece` gives by their numbers.
pub(super) fn join<P: AsRef<[u8]>, E>(
    table: Table,
    raw: &[u8],
    mut piece: impl FnMut(u32) -> Result<Option<P>, E>,
) -> Result<Result<Vec<u8>, Unreadable>, E> {
    let head = match Head::read(table, raw) {
        Ok(head) => head,
        Err(why) => return Ok(Err(why)),
    };
    let mut body = Vec::new();
    for number in 0..head.pieces {
        let Some(piece) = piece(number)? else {
            return Ok(Err(Unreadable::Truncated));
        };
        if let Err(why) = head.append(number, piece.as_ref(), &mut body) {
            return Ok(Err(why));
        }
    }
    if body.len() as u64 != head.length {
        return Ok(Err(Unreadable::Truncated));
    }
    if crc32fast::hash(&body) != head.checksum {
        return Ok(Err(Unreadable::Checksum));
    }
    Ok(Ok(body))
}

struct Head {
    generation: u64,
    length: u64,
    pieces: u32,
    checksum: u32,
}

impl Head {
    fn read(table: Table, raw: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader(codec::unseal(Frame::Head, raw)?);
        let [kind] = reader.array()?;
        if kind != table.frame() as u8 {
            return Err(Unreadable::Misplaced);
        }
        Ok(Self {
            generation: reader.u64()?,
            length: reader.u64()?,
            pieces: reader.u32()?,
            checksum: reader.u32()?,
        })
    }

    fn append(&self, number: u32, piece: &[u8], body: &mut Vec<u8>) -> Result<(), Unreadable> {
        let mut reader = Reader(codec::unseal(Frame::Piece, piece)?);
        if reader.u64()? != self.generation || reader.u32()? != number {
            return Err(Unreadable::Misplaced);
        }
        body.extend_from_slice(reader.0);
        Ok(())
    }
}

fn piece_key(table: Table, key: &[u8], number: u32) -> Vec<u8> {
    let mut piece = table.pieces_of(key);
    piece.extend_from_slice(&number.to_be_bytes());
    piece
}
