//! What the library costs beside what it is made of: `cargo bench --bench scale`.
//!
//! Every row has two sides, *ours* and a *floor*: the same work done with bare ractor, tokio and
//! sled, written with the same care. Each side runs in a process of its own, one after the
//! other and several times, and what counts is the ratio. A machine that is slow or busy slows
//! both.
//!
//! ```sh
//! cargo bench --bench scale                                   # 100,000 sessions
//! cargo bench --bench scale -- --sessions 1000000 --rows memory,start
//! cargo bench --bench scale -- --list
//! cargo bench --bench scale -- --curve                        # what depends on their number
//! ```
//!
//! A new row is a file in `rows/` and a line in `rows::ALL`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what it measured")]

mod args;
mod chart;
mod curve;
mod disk;
mod floor;
mod process;
#[cfg(unix)]
mod programs;
mod readings;
mod report;
mod row;
mod rows;
mod workloads;

use std::process::ExitCode;

use self::{
    args::{Args, Command},
    curve::Curve,
    report::{Machine, Report},
};

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::from_env()?;
    match &args.command {
        Command::List => {
            for row in rows::ALL {
                println!("{:<13} {}", row.name, row.what);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Side { row, side } => {
            let readings = (row.run)(*side, &args.scene)?;
            println!("{}", serde_json::to_string(&readings)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Measure { rows, rounds, json, strict } => {
            let mut report = Report::new(Machine::this(), args.scene.sessions);
            for row in rows {
                report.add(row, process::measure(row, *rounds, &args.scene)?);
            }
            print!("{report}");
            report.write(json)?;
            println!("\n{}", json.display());
            let short = *strict && report.is_short();
            Ok(if short { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Curve { panels, rounds, json } => {
            let curve = Curve::measure(panels, *rounds, &args.scene)?;
            print!("{curve}");
            curve.write(json)?;
            let picture = json.with_extension("svg");
            chart::draw(&curve, &picture)?;
            println!("\n{}\n{}", json.display(), picture.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}
