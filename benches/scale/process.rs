//! Each side in a process of its own: neither leaves the other its memory, its threads or its
//! files.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tokio::time::Instant;

use crate::{
    readings::Readings,
    row::{Row, Scene, Side},
};

/// One measurement of both sides.
pub(crate) struct Round {
    pub(crate) ours: Readings,
    pub(crate) floor: Readings,
}

/// Measures both sides of a row several times, close to one another.
pub(crate) fn measure(row: &Row, rounds: usize, scene: &Scene) -> anyhow::Result<Vec<Round>> {
    (1..=rounds)
        .map(|round| {
            let side = |side| in_a_process(row, side, round, scene);
            // Which one is first changes, so that neither always has the better moment.
            if round.is_multiple_of(2) {
                let ours = side(Side::Ours)?;
                Ok(Round { ours, floor: side(Side::Floor)? })
            } else {
                let floor = side(Side::Floor)?;
                Ok(Round { ours: side(Side::Ours)?, floor })
            }
        })
        .collect()
}

fn in_a_process(row: &Row, side: Side, round: usize, scene: &Scene) -> anyhow::Result<Readings> {
    let began = Instant::now();
    let who = format!("{} · {} · round {round}", row.name, side.name());
    let output = Command::new(std::env::current_exe()?)
        .args(["--rows", row.name, "--side", side.name()])
        .args(["--sessions", &scene.sessions.to_string()])
        .arg("--folder")
        .arg(&scene.folder)
        .envs(row.allocator.variables().iter().copied())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{who}: {}", output.status);
    eprintln!("{who} · {:.1} s", began.elapsed().as_secs_f64());
    let said = String::from_utf8(output.stdout)?;
    let last = said.lines().last().with_context(|| format!("{who} said nothing"))?;
    serde_json::from_str(last).with_context(|| format!("{who} said: {last}"))
}
