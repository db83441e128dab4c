//! Where tests break the library on purpose: points at which a process may be killed, and bugs
//! that may be planted to see whether a test notices.
//!
//! All of it is switched on by `--cfg sessionkeeper_faults`, which only tests set. Without it
//! nothing is left of a point, and no bug is ever planted.

mod bug;
mod point;

pub use self::{bug::Bug, point::Point};

#[cfg(sessionkeeper_faults)]
mod switch {
    use std::sync::OnceLock;

    use super::{Bug, Point};

    /// The variable of the environment that names the planted bug.
    pub const PLANT: &str = "SESSIONKEEPER_PLANT";

    static HOOK: OnceLock<Box<dyn Fn(Point) + Send + Sync>> = OnceLock::new();
    static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();

    /// Sets what happens at every point, once for the life of the process.
    ///
    /// # Panics
    /// If it was set before.
    pub fn on_reach(hook: impl Fn(Point) + Send + Sync + 'static) {
        assert!(HOOK.set(Box::new(hook)).is_ok(), "what happens at a point is set once");
    }

    pub(crate) fn reach(point: Point) {
        if let Some(hook) = HOOK.get() {
            hook(point);
        }
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        *PLANTED.get_or_init(from_environment) == Some(bug)
    }

    fn from_environment() -> Option<Bug> {
        let name = std::env::var(PLANT).ok()?;
        let bug = Bug::ALL.iter().find(|bug| bug.name() == name);
        assert!(bug.is_some(), "{PLANT} names no bug that can be planted: {name:?}");
        bug.copied()
    }
}

#[cfg(sessionkeeper_faults)]
pub use self::switch::{PLANT, on_reach};
#[cfg(sessionkeeper_faults)]
pub(crate) use self::switch::{planted, reach};

/// A point was reached.
#[cfg(not(sessionkeeper_faults))]
#[inline(always)]
pub(crate) const fn reach(_: Point) {}

/// Whether a bug is planted.
#[cfg(not(sessionkeeper_faults))]
#[inline(always)]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

/// An enum whose variants can be listed and named.
macro_rules! listed {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        #[cfg_attr(not(sessionkeeper_faults), allow(dead_code, reason = "only tests ask"))]
        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name, as it is written in the code.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}
use listed;
