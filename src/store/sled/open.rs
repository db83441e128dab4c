//! Opening a folder: the lock, the mark, the database, and what is done where they disagree.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use super::{
    counted,
    damage::Damages,
    engine::{Engine, OpenError},
    layout::{self, Layout},
    log::{self, Log},
    logged,
    mark::{Found, MarkFile},
    meta::Meta,
    options::{OnDamage, SledOptions},
    reserve,
};
use crate::{
    faults::{self, Point},
    store::{Damage, StoreError},
};

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
    faults::reach(Point::OpenLocked);
    let (mut mark, found) = layout.open_mark()?;
    let damages = Arc::new(Damages::default());

    let sound = check(&layout, &mut mark, found, options.cache_capacity, &damages)?;
    let (engine, mut meta) = match (sound, options.on_damage) {
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
                mark.length = 0;
                mark.aside = None;
            })
            .and_then(|()| mark.sync())
            .map_err(|error| layout.refused("write the mark of the store", error))?;
            let engine = Engine::open(&layout.sled(), options.cache_capacity, Arc::clone(&damages))
                .map_err(|error| error.into_store_error(&layout))?;
            (engine, Meta::default())
        }
    };
    logged::complete(&engine, &mut meta)?;
    counted::place(&engine, &mut meta)?;
    counted::weigh(&engine, &mut meta)?;
    let has_reserve = reserve::make(&layout.reserve())
        .map_err(|error| layout.refused("reserve some space", error))?;
    layout::sync_folder(&layout.root).map_err(|error| layout.refused("sync the folder", error))?;
    faults::reach(Point::Opened);
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
            Self::Io(error) => layout.refused("open the database", error),
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

/// Opens the database, or sets it aside where it is damaged.
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
    if !layout.sled().join("db").exists() && expected.commit > 0 {
        let what = format!("it is empty and should hold commit {}", expected.commit);
        return set_aside(layout, mark, what).map(Err);
    }
    let trial = Trial { layout, expected: expected.commit, found, cache_capacity };
    if layout.sled().exists() {
        let log = log::check(&layout.sled(), &expected);
        if (log != Log::Whole || found == Found::Unreadable)
            && let Some(what) = trial.of_a_copy()?
        {
            return set_aside(layout, mark, what).map(Err);
        }
        if log == Log::Torn {
            keep_torn(layout, damages)?;
        }
    }
    match trial.open(&layout.sled(), damages)? {
        Ok(sound) => Ok(Ok(sound)),
        Err(what) => set_aside(layout, mark, what).map(Err),
    }
}

/// Opens a database and compares it with the mark.
struct Trial<'a> {
    layout: &'a Layout,
    /// The commit that the mark knows of.
    expected: u64,
    /// How the mark was found.
    found: Found,
    cache_capacity: u64,
}

impl Trial<'_> {
    /// What is wrong with a database that is in doubt. Opening it could destroy what is left of
    /// it, so that is done to a copy.
    fn of_a_copy(&self) -> Result<Option<String>, StoreError> {
        let copy = self.layout.reading();
        let refused = |error| self.layout.refused("remove the copy in the folder `reading`", error);
        layout::remove_folder(&copy).map_err(refused)?;
        let trial = match layout::copy_folder(&self.layout.sled(), &copy) {
            Ok(()) => self.open(&copy, &Arc::default()).map(Result::err),
            // There is no room for it, or it cannot be read: sled has to look for itself.
            Err(_) => Ok(None),
        };
        layout::remove_folder(&copy).map_err(refused)?;
        trial
    }

    /// The open database, or what is wrong with it.
    fn open(
        &self,
        folder: &Path,
        damages: &Arc<Damages>,
    ) -> Result<Result<(Engine, Meta), String>, StoreError> {
        let refused = |error| match error {
            OpenError::Io(_) | OpenError::System(_) => Err(error.into_store_error(self.layout)),
            OpenError::Damaged(what) => Ok(Err(what)),
        };
        let opened = Engine::open_meta(folder, self.cache_capacity, Arc::clone(damages));
        let mut engine = match opened {
            Ok(engine) => engine,
            Err(error) => return refused(error),
        };
        faults::reach(Point::OpenRead);
        let meta = match Meta::read(&engine) {
            Ok(meta) => meta.unwrap_or_default(),
            Err(error) => {
                return newer_format(self.layout, &engine).map_or(Ok(Err(error.to_string())), Err);
            }
        };
        if let Err(error) = engine.open_rest() {
            return refused(error);
        }
        let Meta { commit, .. } = meta;
        if commit < self.expected {
            let expected = self.expected;
            return Ok(Err(format!("it holds commit {commit} and should hold {expected}")));
        }
        if self.found == Found::Unreadable {
            // Without a mark an emptied store looks like a new one.
            if commit == 0 {
                return Ok(Err("it is empty and its mark cannot be read".to_owned()));
            }
            let reason = "the mark of the store could not be read; it was written anew";
            damages.note(Damage::new(None, reason, &[]));
        }
        Ok(Ok((engine, meta)))
    }
}

/// A store that a newer version wrote is not damaged, it is not ours to read.
fn newer_format(layout: &Layout, engine: &Engine) -> Option<StoreError> {
    use super::table::{META, Table};
    use crate::store::codec::{Unreadable, unseal};
    let raw = engine.raw(Table::Meta, META).ok()??;
    match unseal(Table::Meta.frame(), &raw) {
        Err(why @ Unreadable::NewerFormat { .. }) => Some(layout.newer("its meta row", &why)),
        Ok(_)
        | Err(
            Unreadable::Truncated
            | Unreadable::Checksum
            | Unreadable::Misplaced
            | Unreadable::Content(_),
        ) => None,
    }
}

/// Keeps a copy of a database that opens although its log is torn, and says so. It need not have
/// lost anything: where a segment is used anew, a power cut can leave a torn piece of its old
/// content that nobody needs.
fn keep_torn(layout: &Layout, damages: &Damages) -> Result<(), StoreError> {
    let aside = layout.aside(layout.free_aside());
    layout::copy_folder(&layout.sled(), &aside)
        .and_then(|()| keep_mark(&layout.mark(), &aside))
        .and_then(|()| layout::sync_folder(&layout.root))
        .map_err(|error| layout.refused("copy the damaged files", error))?;
    let reason = format!(
        "the log of the store is damaged, so some of the latest changes may be missing; \
         a copy of its files is at {}",
        aside.display()
    );
    damages.note(Damage::new(None, reason, &[]));
    Ok(())
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
