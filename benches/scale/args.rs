//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lexopt::prelude::*;

use crate::{
    curve::{self, Panel},
    row::{Row, Scene, Side},
    rows,
};

const HELP: &str = "\
cargo bench --bench scale -- [options]
  --sessions N    how many sessions (100000)
  --rows A,B      only these rows; see --list
  --rounds N      how often each side is measured (3)
  --folder PATH   where stores are put: on the disk that is to be measured
  --json PATH     where the result is written
  --strict        fail if a figure falls short
  --curve[=A,B]   instead: figures by the number of sessions, from 1,000 to N, drawn beside the JSON;
                  rows or figures by their names, such as memory or \"status: by handle\"
  --list          the rows";

/// Where pictures are kept.
const PERFORMANCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance");

pub(crate) struct Args {
    pub(crate) scene: Scene,
    pub(crate) command: Command,
}

pub(crate) enum Command {
    List,
    /// One side of a row, in this process.
    Side {
        row: &'static Row,
        side: Side,
    },
    Measure {
        rows: Vec<&'static Row>,
        rounds: usize,
        json: PathBuf,
        strict: bool,
    },
    Curve {
        panels: Vec<Panel>,
        rounds: usize,
        json: PathBuf,
    },
}

impl Args {
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let mut scene =
            Scene { sessions: 100_000, folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")) };
        let (mut rows, mut rounds, mut strict) = (rows::ALL.to_vec(), 3, false);
        let (mut json, mut side, mut list, mut panels) = (None, None, false, None);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("sessions") => scene.sessions = parser.value()?.parse()?,
                Long("rows") => rows = named(&parser.value()?.string()?)?,
                Long("rounds") => rounds = parser.value()?.parse()?,
                Long("folder") => scene.folder = parser.value()?.into(),
                Long("json") => json = Some(PathBuf::from(parser.value()?)),
                Long("strict") => strict = true,
                Long("list") => list = true,
                Long("curve") => {
                    let names = parser.optional_value().map(ValueExt::string).transpose()?;
                    panels = Some(curve::named(names.as_deref().unwrap_or(curve::PANELS))?);
                }
                // One of the processes that this one starts.
                Long("side") => side = Some(parser.value()?.parse::<Side>()?),
                // What cargo itself adds.
                Long("bench") => {}
                Long("help") => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().into()),
            }
        }
        anyhow::ensure!(scene.sessions > 0 && rounds > 0, "there must be something to measure");
        let beside = |name: String| scene.folder.join(name);
        let command = match (side, rows.as_slice(), panels) {
            _ if list => Command::List,
            (Some(side), [row], _) => Command::Side { row, side },
            (Some(_), _, _) => bail!("one row has a side"),
            (None, _, Some(panels)) => {
                let json = json.unwrap_or_else(|| Path::new(PERFORMANCE).join("curve.json"));
                Command::Curve { panels, rounds, json }
            }
            (None, _, None) => {
                let json = json.unwrap_or_else(|| beside(format!("scale-{}.json", scene.sessions)));
                Command::Measure { rows, rounds, json, strict }
            }
        };
        Ok(Self { scene, command })
    }
}

fn named(names: &str) -> anyhow::Result<Vec<&'static Row>> {
    names
        .split(',')
        .map(|name| {
            let row = rows::ALL.iter().copied().find(|row| row.name == name);
            row.with_context(|| format!("there is no row {name}; see --list"))
        })
        .collect()
}
