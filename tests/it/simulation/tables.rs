//! What can happen in a simulation, in tables of names and likelihoods, and how often each did.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

/// Makes an enum from a table.
macro_rules! table {
    ($(#[$docs:meta])* $name:ident by $likelihood:ty { $($variant:ident: $value:literal,)+ }) => {
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)+ }

        impl $crate::simulation::tables::Table for $name {
            type Likelihood = $likelihood;
            const ALL: &'static [($likelihood, Self)] = &[$(($value, Self::$variant),)+];

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use table;

/// Something of a table.
pub(crate) trait Table: Copy + Debug + 'static {
    type Likelihood: Copy;
    /// The table.
    const ALL: &'static [(Self::Likelihood, Self)];

    /// Where it stands.
    fn place(self) -> usize;

    fn name(self) -> String {
        format!("{self:?}")
    }

    /// The names of all that there are.
    fn names() -> impl Iterator<Item = String> {
        Self::ALL.iter().map(|(_, one)| one.name())
    }
}

/// How often each thing happened, over all seeds.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// It happened.
    pub(crate) fn count(&self, name: impl Into<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(name.into()).or_default() += 1;
    }

    /// Shows how often each of these happened, and fails where one never did.
    #[allow(clippy::print_stdout, reason = "it is for people")]
    pub(crate) fn has_all(&self, names: impl Iterator<Item = String>) {
        let all = self.0.lock().unwrap();
        let mut never = Vec::new();
        for name in names {
            let times = all.get(&name).copied().unwrap_or_default();
            println!("{name}: {times}");
            if times == 0 {
                never.push(name);
            }
        }
        assert!(never.is_empty(), "never happened: {never:?}");
    }
}
