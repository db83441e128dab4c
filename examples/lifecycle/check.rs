//! The proof: what the sessions counted, beside what a plain loop counts.

use sessionkeeper::{State, Status};

use crate::common::{
    folder_count::{File, Progress, Totals, count},
    screen::Screen,
};

/// A session as it stands at the end.
pub(crate) struct Final {
    pub(crate) name: String,
    pub(crate) status: Status,
    pub(crate) progress: Progress,
}

/// Shows a table of all sessions, and says whether every total is that of a plain loop over the
/// same files: over all of them, or for the session that expired over those that it got to.
pub(crate) async fn totals(
    screen: &Screen,
    sessions: &[Final],
    files: &[File],
) -> anyhow::Result<bool> {
    let mut expected = vec![Totals::default()];
    let mut sum = Totals::default();
    for file in files {
        sum.add(&file.name, &count(&file.path, || ()).await?);
        expected.push(sum.clone());
    }

    screen.heading("10  The proof: the same files in one loop that nothing interrupts");
    screen.line(format!(
        " {:<8} {:<9} {:<8} {:<13} {:>5} {:>6} {:<8} {:<8}",
        "session", "state", "how", "runs began at", "files", "lines", "digest", "expected"
    ));
    let mut equal = 0;
    for session in sessions {
        let Progress { totals, began_at, .. } = &session.progress;
        let state = session.status.state();
        let reached =
            if state == State::Expired { usize::try_from(totals.files)? } else { files.len() };
        let plain = expected.get(reached);
        let same = plain == Some(totals);
        equal += usize::from(same);
        let cause = session.status.record().history.back();
        let began: Vec<String> = began_at.iter().map(u64::to_string).collect();
        screen.line(format!(
            " {:<8} {:<9} {:<8} {:<13} {:>5} {:>6} {:<8} {:<8} {}",
            session.name,
            state.as_str(),
            cause.map_or("", |moved| moved.cause.as_str()),
            began.join(", "),
            totals.files,
            totals.lines,
            short(&totals.digest),
            plain.map_or("", |plain| short(&plain.digest)),
            if same { "equal" } else { "DIFFERENT" },
        ));
    }
    screen.line("");
    let all = sessions.len();
    if equal == all {
        screen.line(format!(
            "all {all} totals equal those of an uninterrupted run: {} files, {} lines, {} words, \
             {} bytes",
            sum.files, sum.lines, sum.words, sum.bytes
        ));
    } else {
        screen.line(format!(
            "{} of {all} totals differ from those of an uninterrupted run",
            all - equal
        ));
    }
    Ok(equal == all)
}

fn short(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}
