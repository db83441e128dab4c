//! Bare actors, with the features of ractor that the library uses.

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

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

/// Waits until all have begun.
pub(crate) async fn settle<'a>(
    actors: impl Iterator<Item = &'a ActorRef<Message>>,
) -> anyhow::Result<()> {
    for actor in actors {
        call(actor).await?;
    }
    Ok(())
}
