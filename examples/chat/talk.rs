//! What a person does with a conversation.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use sessionkeeper::{
    Event, Fact, Fork, ForkError, Name, PauseCause, Phase, Relation, Rollover, Scope, SessionError,
    SessionHandle, Start, StartError, Status, Supervisor, Update, Window, store::Key,
};

use crate::tool::{Conversation, Texts};

type Updates = Pin<Box<dyn Stream<Item = Result<Update, SessionError>> + Send>>;

pub(crate) struct Talk {
    supervisor: Supervisor,
    session: SessionHandle<Texts>,
    /// What happens in it, from here on.
    updates: Updates,
}

impl Talk {
    /// Goes on with the conversation of this name, or begins it.
    pub(crate) async fn begin(supervisor: &Supervisor, name: &Name) -> anyhow::Result<Self> {
        // What the worker before left is taken up first.
        supervisor.recovered().await?;
        let held = supervisor.find(Key::Name(name.clone())).await?;
        let session = match held {
            // One that has ended gave its name up.
            Some(session) if !session.status().await?.state().is_terminal() => session.typed()?,
            Some(_) | None => {
                let start = Start::<Texts>::new(Conversation::default()).name(name.clone());
                supervisor.start(start).await?.into_handle()
            }
        };
        let mut talk = Self::of(supervisor, session).await?;
        let status = talk.session.status().await?;
        let turns = talk.session.snapshot().await?.state.turns;
        match turns.last() {
            None => println!("A new conversation. A line is a turn; /help tells more."),
            Some(last) => println!(
                "It goes on; turns so far: {}, the last: {} → {}",
                turns.len(),
                last.asked,
                last.answered
            ),
        }
        let waiting = status.record().inbox.waiting();
        if is_paused(&status) {
            println!("It is paused; lines that wait: {waiting}. /resume ends that.");
        } else if waiting > 0 {
            println!("Lines that are not answered yet: {waiting}");
            talk.answers(waiting).await?;
        }
        Ok(talk)
    }

    async fn of(supervisor: &Supervisor, session: SessionHandle<Texts>) -> anyhow::Result<Self> {
        let next = session.status().await?.record().last_event + 1;
        let updates = Box::pin(session.subscribe(next).await?);
        Ok(Self { supervisor: supervisor.clone(), session, updates })
    }

    /// Sends a line, and shows the answer.
    pub(crate) async fn say(&mut self, line: String) -> anyhow::Result<()> {
        // On return it is durable: from now on it will be answered, whatever happens to this process.
        self.session.send(line).await?;
        if is_paused(&self.session.status().await?) {
            println!("It is paused: your line is kept, and is answered after /resume.");
            return Ok(());
        }
        self.answers(1).await
    }

    /// Waits for so many answers and shows them.
    async fn answers(&mut self, mut count: u64) -> anyhow::Result<()> {
        while count > 0 {
            // It ends with the worker: the next one answers.
            let Some(update) = self.updates.next().await else { return Ok(()) };
            if let Update::Event(event) = update?
                && let Fact::Work(Event::Completion { message, .. }) = &event.fact
            {
                println!("{message}");
                count -= 1;
            }
        }
        Ok(())
    }

    /// Ends the session for a successor that knows nothing.
    pub(crate) async fn clear(&mut self) -> anyhow::Result<()> {
        let fresh = self.session.rollover(Rollover::new(Conversation::default())).await?;
        *self = Self::of(&self.supervisor, fresh.into_handle()).await?;
        println!("Forgotten. /history still tells.");
        Ok(())
    }

    /// Goes on in a copy.
    pub(crate) async fn fork(&mut self, name: &str) -> anyhow::Result<()> {
        let name = if name.is_empty() { "fork" } else { name };
        let name = match Name::new(name) {
            Ok(name) => name,
            Err(error) => {
                println!("{error}");
                return Ok(());
            }
        };
        match self.session.fork(Fork::new().name(name.clone())).await {
            Ok(fork) => {
                *self = Self::of(&self.supervisor, fork.into_handle()).await?;
                println!("This is {name} now; the other one stays as it is.");
            }
            Err(ForkError::Start(StartError::NameTaken { .. })) => {
                println!("There is a conversation named {name}; give another name.");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(crate) async fn pause(&mut self) -> anyhow::Result<()> {
        self.session.pause().await?;
        println!("Paused.");
        Ok(())
    }

    pub(crate) async fn resume(&mut self) -> anyhow::Result<()> {
        let waiting = self.session.status().await?.record().inbox.waiting();
        self.session.resume().await?;
        println!("It goes on.");
        self.answers(waiting).await
    }

    /// Shows what was said, the sessions before it included.
    pub(crate) async fn history(&self) -> anyhow::Result<()> {
        let mut before = Vec::new();
        let mut ancestors = self.session.lineage().await?.ancestors();
        while let Some(ancestor) = ancestors.next().await.transpose()? {
            // A fork has what was said before in its own state.
            if ancestor.relation != Relation::Successor {
                break;
            }
            before.push(self.supervisor.session(ancestor.session).await?.typed()?);
        }
        for cleared in before.iter().rev() {
            tell(cleared).await?;
            println!("  --- /clear");
        }
        tell(&self.session).await
    }

    /// Shows what the session has taken.
    pub(crate) async fn stats(&self) -> anyhow::Result<()> {
        let status = self.session.status().await?;
        let record = status.record();
        println!(
            "{}; turns: {}, words in: {}, out: {}, runs: {}, bytes of state: {}",
            record.state(),
            record.usage.tool_calls(),
            record.usage.input_tokens(),
            record.usage.output_tokens(),
            record.runs.count,
            record.snapshot().map_or(0, |kept| kept.bytes),
        );
        let all = self.supervisor.statistics(Scope::All, Window::SinceTheBeginning).await?;
        println!("{all}");
        Ok(())
    }
}

/// Whether it waits for a person's word, and not for a line.
fn is_paused(status: &Status) -> bool {
    matches!(&status.record().phase, Phase::Paused { cause, .. } if *cause != PauseCause::Idle)
}

/// Shows the turns of a session.
async fn tell(session: &SessionHandle<Texts>) -> anyhow::Result<()> {
    for turn in session.snapshot().await?.state.turns {
        println!("  {} → {}", turn.asked, turn.answered);
    }
    Ok(())
}
