//! The stop of a program that obeys: from the request to the moment at which its process is dead. In
//! between lies the commit that makes the stop durable. A program that does not catch SIGTERM is
//! ended by it at once, so that the time is that of the request, and not that of the program.

use std::{os::unix::process::ExitStatusExt, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use rustix::{
    io::{Errno, retry_on_intr},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
};
use sessionkeeper::{
    Event, Fact, SessionHandle, State, Supervisor,
    process::{ExitCause, ProcessSpec, ProcessState, ProcessWorkload, Silence, StoppedBy},
};
use tokio::{
    process::{Child, Command},
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

use crate::{
    floor::{
        sled::Store,
        template::{self, Template},
        writer::Writer,
    },
    programs,
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads,
};

pub(crate) const ROW: Row = Row {
    name: "program-stop",
    what: "from the stop of a session to the death of its program by SIGTERM, with one commit in \
           between: up to 200, one after the other, where one program runs for each 100 sessions",
    floor: "kill(2) of one of as many programs, after the same rows by one thread that writes",
    figures: &[
        Figure { name: "p50", unit: Unit::Time, reach: Reach::Any },
        Figure { name: "p99", unit: Unit::Time, reach: Reach::Above(5e6) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// How many are stopped at most.
const STOPS: usize = 200;

/// A program is up by then, or it does not come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What runs.
const PROGRAM: (&str, &str) = ("sleep", "3600");

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let programs = (scene.sessions / 100).max(3);
    let mut times = match side {
        Side::Ours => ours(scene, programs).await?,
        Side::Floor => floor(scene, programs).await?,
    };
    Ok(Readings::default().time("p50", times.quantile(0.5)).time("p99", times.quantile(0.99)))
}

async fn ours(scene: &Scene, programs: usize) -> anyhow::Result<Times> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = programs::supervise(folder.path()).await?;
    let (program, argument) = PROGRAM;
    let spec = ProcessSpec::builder(program).arg(argument).silence(Silence::Ok).build()?;
    let sessions = start(&supervisor, &spec, programs).await?;
    let by_sigterm = ExitCause::Stopped { by: StoppedBy::Signal { signal: Signal::TERM.as_raw() } };
    let mut times = Times::default();
    for (session, pid) in sessions.iter().take(STOPS) {
        let death = death_of(*pid);
        let began = Instant::now();
        let ticket = session.stop().await?;
        times.push(death.await??.duration_since(began));
        // What follows the death of one is not to be in the time of the next.
        ticket.ended().await?;
        let end = session.snapshot().await?.state.end.context("it has ended")?;
        ensure!(end.cause == by_sigterm, "{}: the program {}", session.id(), end.cause);
    }
    Ok(times)
}

/// Sessions with programs that run, and the numbers of their processes.
async fn start(
    supervisor: &Supervisor,
    spec: &ProcessSpec,
    count: usize,
) -> anyhow::Result<Vec<(SessionHandle<ProcessWorkload>, Pid)>> {
    let state = || ProcessState::from(spec.clone());
    let sessions = workloads::start::<ProcessWorkload>(supervisor, count, state).await?;
    let mut running = Vec::new();
    for session in sessions {
        let pid = tokio::time::timeout(PATIENCE, pid_of(&session)).await;
        let pid = pid.with_context(|| format!("the program of {} is not up", session.id()))??;
        running.push((session, pid));
    }
    Ok(running)
}

/// Waits until the program of a session runs, and gives the number of its process.
async fn pid_of(session: &SessionHandle<ProcessWorkload>) -> anyhow::Result<Pid> {
    loop {
        for event in session.events(1..=u64::MAX, 100).await? {
            if let Fact::Work(Event::Custom { name, data }) = &event.fact
                && name == "process_started"
            {
                let pid = data.get("pid").and_then(serde_json::Value::as_i64);
                let pid = pid.context("it has a number")?;
                return Pid::from_raw(pid.try_into()?).context("the number is none");
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// When a child of this process has died. It is left to be reaped.
fn death_of(pid: Pid) -> JoinHandle<anyhow::Result<Instant>> {
    spawn_blocking(move || {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match retry_on_intr(|| waitid(WaitId::Pid(pid), how)) {
            // Whoever reaps it may have been faster.
            Ok(_) | Err(Errno::CHILD) => Ok(Instant::now()),
            Err(error) => Err(error.into()),
        }
    })
}

async fn floor(scene: &Scene, programs: usize) -> anyhow::Result<Times> {
    let template = template(scene).await?;
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let mut store = Store::open(folder.path())?;
    store.fill((0..programs).flat_map(|program| template.rows(program)))?;
    let writer = Writer::on(store)?;
    let line = writer.line();
    let mut running = (0..programs).map(|_| spawn()).collect::<anyhow::Result<Vec<_>>>()?;
    let mut times = Times::default();
    for (number, (program, pid)) in running.iter_mut().take(STOPS).enumerate() {
        let rows = template.writes(number, 0);
        let death = death_of(*pid);
        let began = Instant::now();
        line.write(rows).await?;
        kill_process(*pid, Signal::TERM)?;
        times.push(death.await??.duration_since(began));
        let status = program.wait().await?;
        ensure!(status.signal() == Some(Signal::TERM.as_raw()), "the program: {status}");
    }
    drop(line);
    writer.close()?.expect("records", &[], template.count("records").1 * programs)?;
    Ok(times)
}

/// A program with the pipes and the group that one of a session has.
fn spawn() -> anyhow::Result<(Child, Pid)> {
    let (program, argument) = PROGRAM;
    let program = Command::new(program)
        .arg(argument)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = program.id().context("it runs")?;
    let pid = Pid::from_raw(pid.try_into()?).context("the number is none")?;
    Ok((program, pid))
}

/// What the request to stop writes. Its program does not obey, so that nothing else is written.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = programs::supervise(folder.path()).await?;
    let (program, argument) = PROGRAM;
    let script = format!("trap '' TERM; exec {program} {argument}");
    let spec = ProcessSpec::builder("sh").arg("-c").arg(script).silence(Silence::Ok).build()?;
    let sessions = start(&supervisor, &spec, 1).await?;
    let (session, _) = sessions.first().context("one was started")?;
    let before = template::rows(folder.path()).await?;
    // Nobody waits for its end: the program goes with the worker.
    let _ticket = session.stop().await?;
    let after = template::rows(folder.path()).await?;
    let state = session.status().await?.state();
    ensure!(state == State::Stopping, "the session is {state} already");
    Template::of(session.id(), &before, &after)
}
