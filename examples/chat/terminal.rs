//! The lines of a person.

use std::io::{IsTerminal, Write};

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

pub(crate) const HELP: &str = "\
A line is a turn, and a tool answers it:
  upper TEXT, reverse TEXT, sort WORDS, sum NUMBERS, again, slow TEXT (5 s)
What is there beside:
  /clear          begin anew: a successor takes the place of this session
  /fork [NAME]    go on in a copy; `chat NAME` comes back to it
  /pause          nothing is answered until /resume
  /history        what was said, the sessions before /clear included
  /stats          what it took
  /quit           or Ctrl-C, or Ctrl-D; the same command carries on";

pub(crate) struct Terminal {
    lines: Lines<BufReader<Stdin>>,
    is_person: bool,
}

impl Terminal {
    pub(crate) fn begin() -> Self {
        let is_person = std::io::stdin().is_terminal();
        Self { lines: BufReader::new(tokio::io::stdin()).lines(), is_person }
    }

    /// The next line, without the spaces around it.
    pub(crate) async fn line(&mut self) -> std::io::Result<Option<String>> {
        if self.is_person {
            print!("> ");
            std::io::stdout().flush()?;
        }
        let line = self.lines.next_line().await?;
        if line.is_none() && self.is_person {
            println!();
        }
        Ok(line.map(|line| line.trim().to_owned()))
    }
}
