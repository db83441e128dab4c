//! Opening a folder: the lock, the mark, the database, and what is done where they disagree.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use super::{
    damage::Damages,
    engine::{Engine, OpenError},
    layout::{self, Layout},
    mark::{Found, MarkFile},
    meta::Meta,
    options::{OnDamage, SledOptions},
    reserve,
};
use crate::store::{Damage, StoreError};

/// An open folder: what the writer takes over.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) layout: Layout,
    /// Released where it is dropped.
    pub(super) lock: File,
    pub(super) mark: MarkFile,
    pub(super) engine: Engine,
    pub(super) meta: Meta,
    pub(super) damages: Arc<Damages>,
    pub(super) has_reserve: bool,
}

pub(super) fn open(options: &SledOptions) -> Result<Opened, StoreError> {
    let layout = Layout::new(&options.path);
    let lock = layout.lock()?;
    let refused = |error| layout.refused("read the mark of the store", error);
    let (mut mark, found) = MarkFile::open(&layout.mark()).map_err(refused)?;
    let damages = Arc::new(Damages::default());

    let sound = check(&layout, &mut mark, found, options.cache_capacity, &damages)?;
    let (engine, meta) = match (sound, options.on_damage) {
        (Ok(sound), _) => sound,
        (Err(damaged), OnDamage::Refuse) => return Err(damaged.error(&layout)),
        (Err(damaged), OnDamage::StartFresh) => {
            let reason = damaged.error(&layout).to_string();
            damages.note(Damage::new(None, reason, &[]));
            if layout.sled().exists() {
                // Left by a repair that ended half-way.
                set_aside_as(&layout, &mut mark)?;
            }
            mark.write(|mark| {
                mark.commit = 0;
                mark.aside = None;
            })
            .and_then(|()| mark.sync())
            .map_err(|error| layout.refused("write the mark of the store", error))?;
            let engine = Engine::open(&layout.sled(), options.cache_capacity, Arc::clone(&damages))
                .map_err(|error| error.into_store_error(&layout))?;
            (engine, Meta::default())
        }
    };
    let has_reserve = reserve::make(&layout.reserve())
        .map_err(|error| layout.refused("reserve some space", error))?;
    layout::sync_folder(&layout.root).map_err(|error| layout.refused("sync the folder", error))?;
    Ok(Opened { layout, lock, mark, engine, meta, damages, has_reserve })
}

/// A store that was found damaged as a whole, and is set aside.
struct Damaged {
    number: u32,
    what: String,
}

impl Damaged {
    fn error(&self, layout: &Layout) -> StoreError {
        StoreError::StoreDamaged {
            path: layout.root.clone(),
            aside: layout.aside(self.number),
            what: self.what.clone(),
        }
    }
}

impl OpenError {
    pub(super) fn into_store_error(self, layout: &Layout) -> StoreError {
        match self {
            Self::System(source) => StoreError::Open {
                path: layout.root.clone(),
                what: "the database could not be opened; see what the system says".to_owned(),
                source: Some(source),
            },
            Self::Damaged(what) => StoreError::Open {
                path: layout.root.clone(),
                what: format!("the database could not be opened: {what}"),
                source: None,
            },
        }
    }
}

/// Opens the database and compares it with the mark.
fn check(
    layout: &Layout,
    mark: &mut MarkFile,
    found: Found,
    cache_capacity: u64,
    damages: &Arc<Damages>,
) -> Result<Result<(Engine, Meta), Damaged>, StoreError> {
    let expected = mark.mark();
    if let Some(number) = expected.aside {
        // Found damaged before. Where that process ended half-way, the files are moved now.
        if layout.sled().exists() && !layout.aside(number).exists() {
            move_aside(layout, number)?;
        }
        let what = "it was found damaged before".to_owned();
        return Ok(Err(Damaged { number, what }));
    }
    let mut damaged = |what: String| set_aside(layout, mark, what).map(Err);
    if !layout.sled().join("db").exists() && expected.commit > 0 {
        let what = format!("it is empty and should hold commit {}", expected.commit);
        return damaged(what);
    }
    let engine = match Engine::open(&layout.sled(), cache_capacity, Arc::clone(damages)) {
        Ok(engine) => engine,
        Err(error @ OpenError::System(_)) => return Err(error.into_store_error(layout)),
        Err(OpenError::Damaged(what)) => return damaged(what),
    };
    let meta = match Meta::read(&engine) {
        Ok(meta) => meta.unwrap_or_default(),
        Err(error) => {
            if let Some(newer) = newer_format(layout, &engine) {
                return Err(newer);
            }
            drop(engine);
            return damaged(error.to_string());
        }
    };
    if meta.commit < expected.commit {
        drop(engine);
        return damaged(format!(
            "it holds commit {} and should hold {}",
            meta.commit, expected.commit
        ));
    }
    if found == Found::Unreadable {
        // Without a mark an emptied store looks like a new one.
        if meta.commit == 0 {
            drop(engine);
            return damaged("it is empty and its mark cannot be read".to_owned());
        }
        let reason = "the mark of the store could not be read; it was written anew";
        damages.note(Damage::new(None, reason, &[]));
    }
    Ok(Ok((engine, meta)))
}

/// A store that a newer version wrote is not damaged, it is not ours to read.
fn newer_format(layout: &Layout, engine: &Engine) -> Option<StoreError> {
    use super::table::{META, Table};
    use crate::store::codec::{Unreadable, unseal};
    let raw = engine.raw(Table::Meta, META).ok()??;
    match unseal(Table::Meta.frame(), &raw) {
        Err(why @ Unreadable::NewerFormat { .. }) => Some(StoreError::Open {
            path: layout.root.clone(),
            what: format!("{why}; use the version of the library that wrote it"),
            source: None,
        }),
        Ok(_)
        | Err(
            Unreadable::Truncated
            | Unreadable::Checksum
            | Unreadable::Misplaced
            | Unreadable::Content(_),
        ) => None,
    }
}

/// Moves the database out of the way. The mark says so first, so that it is never mistaken for a
/// new store, wherever this process ends.
pub(super) fn set_aside_as(layout: &Layout, mark: &mut MarkFile) -> Result<u32, StoreError> {
    let number = layout.free_aside();
    mark.write(|mark| mark.aside = Some(number))
        .and_then(|()| mark.sync())
        .map_err(|error| layout.refused("write the mark of the store", error))?;
    move_aside(layout, number)?;
    Ok(number)
}

fn set_aside(layout: &Layout, mark: &mut MarkFile, what: String) -> Result<Damaged, StoreError> {
    let number = set_aside_as(layout, mark)?;
    Ok(Damaged { number, what })
}

fn move_aside(layout: &Layout, number: u32) -> Result<(), StoreError> {
    let aside = layout.aside(number);
    let moved = match fs::rename(layout.sled(), &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&aside),
        done => done,
    };
    moved
        .and_then(|()| keep_mark(&layout.mark(), &aside))
        .and_then(|()| layout::sync_folder(&layout.root))
        .map_err(|error| layout.refused("set the damaged files aside", error))
}

/// The mark goes with the files that it tells about.
fn keep_mark(mark: &Path, aside: &Path) -> io::Result<()> {
    fs::copy(mark, aside.join("MARK")).map(drop)
}
