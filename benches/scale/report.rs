//! The table and the JSON of a run.

use std::{fmt, fs, path::Path};

use serde::Serialize;

use crate::{
    process::Round,
    readings::median,
    row::{Figure, Reach, Row, Unit},
};

/// What a run came to.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    version: &'static str,
    sessions: usize,
    lines: Vec<Line>,
}

/// Where it ran.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_bytes: u64,
    system: String,
}

#[derive(Serialize)]
struct Line {
    row: &'static str,
    what: &'static str,
    floor_is: &'static str,
    figure: &'static str,
    #[serde(skip)]
    unit: Unit,
    unit_name: &'static str,
    ours: f64,
    /// Nothing where the figure stands for itself.
    floor: Option<f64>,
    ratio: Option<f64>,
    target: String,
    ok: bool,
    /// Ours and the floor, round by round.
    rounds: Vec<(f64, Option<f64>)>,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|memory| memory.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib.unwrap_or(0) << 10,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

impl Report {
    pub(crate) const fn new(machine: Machine, sessions: usize) -> Self {
        Self { machine, version: env!("CARGO_PKG_VERSION"), sessions, lines: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: &Row, rounds: Vec<Round>) {
        self.lines.extend(row.figures.iter().map(|figure| Line::of(row, figure, &rounds)));
    }

    pub(crate) fn is_short(&self) -> bool {
        self.lines.iter().any(|line| !line.ok)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

impl Line {
    fn of(row: &Row, figure: &Figure, rounds: &[Round]) -> Self {
        let pairs: Vec<(f64, Option<f64>)> = rounds
            .iter()
            .map(|Round { ours, floor }| {
                (ours.get(figure.name).unwrap_or(f64::NAN), floor.get(figure.name))
            })
            .collect();
        let floors = || pairs.iter().filter_map(|(_, floor)| *floor);
        let both = || pairs.iter().filter_map(|(ours, floor)| Some((*ours, (*floor)?)));
        let middle = |values: Vec<f64>| (!values.is_empty()).then(|| median(values));
        let ours = median(pairs.iter().map(|(ours, _)| *ours).collect());
        let ratio = middle(both().map(|(ours, floor)| ours / floor).collect());
        let above = middle(both().map(|(ours, floor)| ours - floor).collect());
        let ok = match figure.reach {
            Reach::AtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Reach::AtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Reach::Above(most) => above.is_some_and(|above| above <= most),
            Reach::Below(most) => ours <= most,
            Reach::Any => true,
        };
        Self {
            row: row.name,
            what: row.what,
            floor_is: row.floor,
            figure: figure.name,
            unit: figure.unit,
            unit_name: figure.unit.name(),
            ours,
            floor: middle(floors().collect()),
            ratio,
            target: figure.reach.say(figure.unit),
            ok,
            rounds: pairs,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.machine)?;
        writeln!(f, "{} sessions\n", self.sessions)?;
        writeln!(f, "| what | ours | floor | ratio | target | |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | --- | --- |")?;
        for line in &self.lines {
            let dash = || "–".to_owned();
            writeln!(
                f,
                "| {}: {} | {} | {} | {} | {} | {} |",
                line.row,
                line.figure,
                line.unit.say(line.ours),
                line.floor.map_or_else(dash, |floor| line.unit.say(floor)),
                line.ratio.map_or_else(dash, |ratio| format!("{ratio:.2}")),
                line.target,
                if line.ok { "ok" } else { "short" },
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_bytes, system } = self;
        write!(f, "{processor}, {cores} cores, {} GiB, {system}", memory_bytes >> 30)
    }
}

impl Unit {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Time => "nanoseconds",
            Self::Bytes => "bytes",
            Self::Rate => "per second",
            Self::Times => "times",
        }
    }

    pub(crate) fn say(self, value: f64) -> String {
        match self {
            Self::Time if value < 1e3 => format!("{value:.1} ns"),
            Self::Time if value < 1e6 => format!("{:.1} µs", value / 1e3),
            Self::Time if value < 1e9 => format!("{:.2} ms", value / 1e6),
            Self::Time => format!("{:.2} s", value / 1e9),
            Self::Bytes if value < 1e5 => format!("{value:.0} B"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Rate => format!("{value:.0}/s"),
            Self::Times => format!("{value:.2} ×"),
        }
    }
}

impl Reach {
    fn say(self, unit: Unit) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most} ×"),
            Self::AtLeast(least) => format!("≥ {least} ×"),
            Self::Above(most) => format!("≤ floor + {}", unit.say(most)),
            Self::Below(most) => format!("≤ {}", unit.say(most)),
            Self::Any => "–".to_owned(),
        }
    }
}
