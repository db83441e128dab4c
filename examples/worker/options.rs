//! What is asked for on the command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};

pub(crate) const USAGE: &str = "\
usage: worker FOLDER [--data DIR] [--pace MILLISECONDS]
  --data DIR    where sessions are kept (default: data/worker)
  --pace MS     how long each file takes on purpose, so that a person can watch (default: 20)";

pub(crate) struct Options {
    /// An absolute path, so that the same folder is the same work wherever it is run from.
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) pace: Duration,
}

impl Options {
    /// `None` if all that is asked for is what they are.
    pub(crate) fn read(
        mut arguments: impl Iterator<Item = OsString>,
    ) -> anyhow::Result<Option<Self>> {
        let mut folder = None;
        let mut data = PathBuf::from("data/worker");
        let mut pace = Duration::from_millis(20);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--data") => data = arguments.next().context("--data needs a folder")?.into(),
                Some("--pace") => {
                    let millis = arguments.next().context("--pace needs a number")?;
                    let millis = millis.to_str().unwrap_or_default().parse();
                    pace = Duration::from_millis(millis.context("--pace needs a number")?);
                }
                Some(flag) if flag.starts_with('-') => bail!("there is no option {flag}"),
                Some(_) | None => {
                    ensure!(folder.is_none(), "one folder is enough");
                    folder = Some(PathBuf::from(argument));
                }
            }
        }
        let folder = folder.context("which folder is to be counted?")?;
        let found = folder
            .canonicalize()
            .with_context(|| format!("{} cannot be found", folder.display()))?;
        ensure!(found.is_dir(), "{} is not a folder", folder.display());
        Ok(Some(Self { folder: found, data, pace }))
    }
}
