//! What a person sees: a bar for each session on a terminal, plain lines in a pipe.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Where everything is written. Clones share it.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: Option<MultiProgress>,
    /// An empty line above the bars. It sets them off, and it is what stays behind when the `^C`
    /// of a terminal pushes the bars down by one line.
    _gap: Option<ProgressBar>,
    began: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let bars = std::io::stdout()
            .is_terminal()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        let gap = bars.as_ref().map(|bars| {
            let empty = ProgressStyle::with_template(" ");
            let empty = empty.unwrap_or_else(|_| ProgressStyle::default_bar());
            let gap = bars.add(ProgressBar::new(0).with_style(empty));
            gap.tick();
            gap
        });
        Self { bars, _gap: gap, began: Instant::now() }
    }

    /// Writes a line above the bars.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        // Whoever read this may have gone: that is no reason to stop.
        let _ = match &self.bars {
            Some(bars) => bars.println(text),
            None => writeln!(std::io::stdout(), "{}", text.as_ref()),
        };
    }

    /// Writes a heading.
    pub(crate) fn heading(&self, text: &str) {
        self.line("");
        match &self.bars {
            Some(_) => self.line(format!("\x1b[1m{text}\x1b[0m")),
            None => self.line(text),
        }
    }

    /// Writes what happened to a session, and when.
    pub(crate) fn tell(&self, name: &str, what: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.line(format!("{seconds:>7.1} s  {name:<10} {what}"));
    }

    /// A row for a session.
    pub(crate) fn row(&self, name: &str) -> Row {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(
                " {prefix:<14!} {bar:30.green/dim} {pos:>5}/{len:<5} {msg}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━━─");
            let bar = bars.add(ProgressBar::new(0).with_style(style));
            bar.set_prefix(name.to_owned());
            bar
        });
        Row { bar, screen: self.clone(), name: name.to_owned(), quarters: 0 }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        if let Some(bars) = &self.bars {
            // Bars that cannot be cleared stay; nothing depends on them.
            let _ = bars.clear();
        }
    }
}

/// The row of one session: its bar, or in a pipe a line for each quarter.
pub(crate) struct Row {
    bar: Option<ProgressBar>,
    screen: Screen,
    name: String,
    quarters: u64,
}

impl Row {
    pub(crate) fn progress(&mut self, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(done);
            return;
        }
        let quarters = (done * 4).checked_div(of).unwrap_or(0);
        if quarters > self.quarters {
            self.quarters = quarters;
            self.tell(&format!("{done} of {of} files"));
        }
    }

    pub(crate) fn message(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    pub(crate) fn tell(&self, what: &str) {
        self.screen.tell(&self.name, what);
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if let (Some(bar), Some(bars)) = (&self.bar, &self.screen.bars) {
            bars.remove(bar);
        }
    }
}
