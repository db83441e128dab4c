//! The first workload: it adds up what it is sent, and never forgets the sum.
//!
//! Type numbers, one a line; Ctrl-D (or Ctrl-C) ends the program, and the next one carries on. It
//! may be left alone for a night: after half an hour without an input the session is paused, and
//! the next number wakes it.
//!
//! `cargo run --example first`

#![allow(clippy::print_stdout, reason = "an example talks to a person")]

use std::time::Duration;

use sessionkeeper::{
    Context, Outcome, Start, StartKey, Supervisor, Workload, WorkloadError, store::SledStore,
};
use tokio::io::{AsyncBufReadExt, BufReader};

struct Sum;

impl Workload for Sum {
    const KIND: &'static str = "sum";
    const STATE_VERSION: u32 = 1;
    type State = i64;
    type Input = i64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            *cx.state_mut() += *number;
            println!("the sum is {}", cx.state());
        }
        Ok(Outcome::Yielded)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let supervisor =
        Supervisor::builder(SledStore::open("data/first")?).workload(Sum).start().await?;
    let key = StartKey::new("the only sum")?; // The same session each time.
    let session = supervisor.start(Start::<Sum>::new(0).key(key)).await?;

    println!("the sum so far is {}", session.snapshot().await?.state);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.trim().parse() {
            Ok(number) => _ = session.send(number).await?, // Accepted is durable.
            Err(error) => println!("{line:?} is not a number: {error}"),
        }
    }
    println!("{}", supervisor.shutdown(Duration::from_secs(25)).await);
    Ok(())
}
