//! What a session costs by how many there are: `cargo bench --bench scale -- --curve`.
//!
//! Some figures are measured at 1,000 sessions, at 10,000 and so on. A cost that stays flat does
//! not depend on their number.

use std::{fmt, fs, path::Path};

use anyhow::Context;
use serde::Serialize;

use crate::{
    process,
    readings::median,
    report::Machine,
    row::{Row, Scene, Unit},
    rows,
};

/// What is drawn unless it is said: rows by their names, with their first figures. Those that are
/// not there are left out.
pub(crate) const PANELS: &str = "memory,start,heartbeat,status";

/// The fewest sessions.
const FIRST: usize = 1_000;

/// A figure of a row.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    row: &'static Row,
    figure: &'static str,
    unit: Unit,
}

/// What a run came to.
#[derive(Serialize)]
pub(crate) struct Curve {
    machine: Machine,
    version: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One figure at each number of sessions.
#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) figure: &'static str,
    what: &'static str,
    floor_is: &'static str,
    #[serde(skip)]
    pub(crate) unit: Unit,
    unit_name: &'static str,
    pub(crate) points: Vec<Point>,
}

#[derive(Serialize)]
pub(crate) struct Point {
    pub(crate) sessions: usize,
    pub(crate) ours: f64,
    pub(crate) floor: f64,
    /// Ours and the floor, round by round.
    rounds: Vec<(f64, f64)>,
}

/// Panels by their names, as the table of a run writes them: `row`, or `row: figure`.
pub(crate) fn named(names: &str) -> anyhow::Result<Vec<Panel>> {
    let panel = |name: &str| {
        let (row, figure) =
            name.split_once(':').map_or((name, None), |(row, figure)| (row, Some(figure.trim())));
        let Some(row) = rows::ALL.iter().copied().find(|known| known.name == row) else {
            anyhow::ensure!(PANELS.split(',').any(|panel| panel == row), "there is no row {row}");
            return Ok(None);
        };
        let known = row.figures.iter().find(|known| figure.is_none_or(|name| name == known.name));
        let known = known.with_context(|| format!("there is no figure {name}"))?;
        Ok(Some(Panel { row, figure: known.name, unit: known.unit }))
    };
    names.split(',').map(panel).filter_map(Result::transpose).collect()
}

impl Curve {
    /// Measures all panels at 1,000 sessions, and ten times as many, up to those of the scene.
    pub(crate) fn measure(panels: &[Panel], rounds: usize, scene: &Scene) -> anyhow::Result<Self> {
        let mut lines: Vec<Line> = panels.iter().map(Line::new).collect();
        let sizes =
            std::iter::successors(Some(FIRST.min(scene.sessions)), |size| size.checked_mul(10));
        for sessions in sizes.take_while(|size| *size <= scene.sessions) {
            let scene = Scene { sessions, ..scene.clone() };
            for (line, panel) in lines.iter_mut().zip(panels) {
                eprintln!("{sessions} sessions");
                let rounds = process::measure(panel.row, rounds, &scene)?;
                let pairs = rounds.iter().map(|round| {
                    let reading = |side: &crate::readings::Readings| {
                        let reading = side.get(panel.figure);
                        reading
                            .with_context(|| format!("no {} of {}", panel.figure, panel.row.name))
                    };
                    Ok((reading(&round.ours)?, reading(&round.floor)?))
                });
                line.points.push(Point::of(sessions, pairs.collect::<anyhow::Result<_>>()?));
            }
        }
        Ok(Self { machine: Machine::this(), version: env!("CARGO_PKG_VERSION"), lines })
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

impl Line {
    const fn new(panel: &Panel) -> Self {
        let Panel { row, figure, unit } = *panel;
        Self {
            row: row.name,
            figure,
            what: row.what,
            floor_is: row.floor,
            unit,
            unit_name: unit.name(),
            points: Vec::new(),
        }
    }
}

impl Point {
    fn of(sessions: usize, rounds: Vec<(f64, f64)>) -> Self {
        let ours = median(rounds.iter().map(|(ours, _)| *ours).collect());
        let floor = median(rounds.iter().map(|(_, floor)| *floor).collect());
        Self { sessions, ours, floor, rounds }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}\n", self.machine)?;
        writeln!(f, "| what | sessions | ours | floor | ratio |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: |")?;
        for Line { row, figure, unit, points, .. } in &self.lines {
            for Point { sessions, ours, floor, .. } in points {
                let (ratio, ours, floor) = (ours / floor, unit.say(*ours), unit.say(*floor));
                writeln!(f, "| {row}: {figure} | {sessions} | {ours} | {floor} | {ratio:.2} |")?;
            }
        }
        Ok(())
    }
}
