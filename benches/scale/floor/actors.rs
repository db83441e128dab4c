//! Bare actors, with the features of ractor that the library uses.

use anyhow::ensure;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// A parent that outlives its children.
pub(crate) struct Parent;

/// A child that answers.
pub(crate) struct Child;

#[derive(Debug)]
pub(crate) enum Message {
    Call(oneshot::Sender<u64>),
}

impl Actor for Parent {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

impl Actor for Child {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        Message::Call(reply): Message,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *count += 1;
        // A caller that is gone hears nothing.
        let _ = reply.send(*count);
        Ok(())
    }
}

pub(crate) async fn parent() -> ActorRef<()> {
    let (parent, _) = Parent::spawn(None, Parent, ()).await.expect("a name is not asked for");
    parent
}

/// A linked child. It may not have begun when this returns.
pub(crate) fn child(parent: &ActorRef<()>) -> ActorRef<Message> {
    let parent = parent.get_cell();
    let spawned = ractor::ActorRuntime::spawn_linked_instant(None, Child, (), parent);
    spawned.expect("a name is not asked for").0
}

pub(crate) async fn call(actor: &ActorRef<Message>) -> anyhow::Result<u64> {
    let (reply, answer) = oneshot::channel();
    actor.send_message(Message::Call(reply)).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(answer.await?)
}

/// An actor, and a task that waits for what comes through a channel.
pub(crate) struct Pair {
    actor: ActorRef<Message>,
    line: mpsc::UnboundedSender<Vec<u8>>,
    task: JoinHandle<()>,
}

impl Pair {
    /// Calls the actor.
    pub(crate) async fn call(&self) -> anyhow::Result<u64> {
        call(&self.actor).await
    }

    /// Ends both, and waits until they have ended.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        drop(self.line);
        self.task.await?;
        Ok(self.actor.stop_and_wait(None, None).await?)
    }
}

/// Stops all children, and waits until they have ended.
pub(crate) async fn stop_all(parent: &ActorRef<()>, children: &[Pair]) -> anyhow::Result<()> {
    parent.get_cell().stop_children_and_wait(None, None).await;
    let ended = children.iter().filter(|child| child.actor.get_status() == ActorStatus::Stopped);
    ensure!(ended.count() == children.len(), "not all children have ended");
    Ok(())
}

/// Brings so many children up, each with a task, and waits until all have begun.
pub(crate) async fn bring_up(parent: &ActorRef<()>, count: usize) -> anyhow::Result<Vec<Pair>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let actor = child(parent);
        let (line, mut inbox) = mpsc::unbounded_channel::<Vec<u8>>();
        let task = tokio::spawn(async move { while inbox.recv().await.is_some() {} });
        all.push(Pair { actor, line, task });
    }
    for Pair { actor, .. } in &all {
        call(actor).await?;
    }
    Ok(all)
}
