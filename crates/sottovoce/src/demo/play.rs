use std::{
    collections::VecDeque,
    io::{Stdout, Write, stdout},
};

use client::{Account, Command, Event};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    face::{Face as _, Line},
    failure::Failure,
    output::unwritable,
};

/// Characters of a sealed frame that fit beside the rest on a line of 80.
const SHOWN: usize = 48;

/// Plays a conversation from log-in to goodbye, or until `stop`, and shows what alice, bob and the relay see.
pub(super) async fn run(
    alice: Account,
    bob: Account,
    relay_saw: mpsc::Receiver<String>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut alice = Player::new("alice", alice);
    let mut bob = Player::new("bob  ", bob);
    let played = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        played = converse(&mut alice, &mut bob, relay_saw) => played,
    };
    // Both must be done with their files before the directory that these are in goes; and one after the other, so that what
    // one has just said is not lost on the other.
    let ended = (alice.finish().await, bob.finish().await);
    played.and(ended.0).and(ended.1)?;
    writeln!(stdout(), "\nNothing is left of it. At a terminal, you are alice.").map_err(untold)
}

fn untold(error: std::io::Error) -> Failure {
    Failure::new(format_args!("nothing can be written to standard output: {error}"))
}

async fn converse(alice: &mut Player, bob: &mut Player, mut relay_saw: mpsc::Receiver<String>) -> Result<(), Failure> {
    writeln!(stdout(), "A throwaway relay, alice and bob, all on this machine. Each line says who sees it.\n")
        .map_err(untold)?;
    bob.until(|event| matches!(event, Event::LoggedIn { .. })).await?;
    alice.until(|event| matches!(event, Event::LoggedIn { .. })).await?;
    alice.types("--l").await?;
    alice.until(|event| matches!(event, Event::Users { .. })).await?;
    alice.types("--r bob").await?;
    alice.until(|event| matches!(event, Event::Calling { .. })).await?;
    bob.until(|event| matches!(event, Event::Request { .. })).await?;
    bob.types("--y").await?;
    bob.until(|event| matches!(event, Event::ChatStarted { .. })).await?;
    alice.until(|event| matches!(event, Event::ChatStarted { .. })).await?;
    // Setting up the chat sent a receipt; what the relay saw up to here is not the message.
    while relay_saw.try_recv().is_ok() {}

    let mut conversation = VecDeque::from([
        (true, "Is this line safe?"),
        (false, "Compare the safety number and see. The relay has neither it nor these words."),
        (true, "Same here. Meet at nine."),
    ]);
    while let Some((by_alice, text)) = conversation.pop_front() {
        let (speaker, listener) = if by_alice { (&mut *alice, &mut *bob) } else { (&mut *bob, &mut *alice) };
        speaker.types(text).await?;
        listener.until(|event| matches!(event, Event::Message { .. })).await?;
        let Some(frame) = relay_saw.recv().await else {
            return Err(Failure::new("the demo cannot see what its relay sees; please report it"));
        };
        show_frame(&frame).map_err(untold)?;
        speaker.until(|event| matches!(event, Event::Delivered { .. })).await?;
        // The receipt.
        relay_saw.recv().await;
    }
    alice.types("--ex").await?;
    bob.until(|event| matches!(event, Event::ChatClosed { .. })).await?;
    alice.ends().await?;
    bob.types("--ex").await?;
    bob.ends().await
}

fn show_frame(hex: &str) -> std::io::Result<()> {
    // The head of a frame is in clear, and names the chat; what follows is sealed. The end is all ciphertext.
    let shown = hex.get(hex.len().saturating_sub(SHOWN)..).unwrap_or(hex);
    writeln!(stdout(), "relay | {} bytes … {shown}", hex.len() / 2)
}

/// One of the two, with a line face that writes a name before each line.
struct Player {
    face: Line<Prefixed>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    client: JoinHandle<Result<(), client::Failure>>,
}

impl Player {
    fn new(name: &'static str, account: Account) -> Self {
        let (commands, queue) = mpsc::channel(1);
        let (sender, events) = mpsc::channel(16);
        let rng = Box::new(UnwrapErr(SysRng));
        let client = tokio::spawn(client::run(account, rng, queue, sender, CancellationToken::new()));
        Self { face: Line::new(Prefixed { name, out: stdout(), at_start: true }), commands, events, client }
    }

    /// Does what the player would by typing `line`, and shows it.
    async fn types(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.face.out(), "> {line}").map_err(unwritable)?;
        let command = Command::parse(line)?;
        self.commands.send(command).await.map_err(|_| Failure::new("a client of the demo ended before its time"))
    }

    /// Shows events up to the one that is waited for.
    async fn until(&mut self, is_awaited: impl Fn(&Event) -> bool) -> Result<(), Failure> {
        while let Some(event) = self.events.recv().await {
            self.face.show(&event).map_err(unwritable)?;
            if is_awaited(&event) {
                return Ok(());
            }
        }
        Err(Failure::new("a client of the demo ended before its time"))
    }

    /// Shows what is left, up to the end.
    async fn ends(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.events.recv().await {
            self.face.show(&event).map_err(unwritable)?;
        }
        Ok(())
    }

    /// Leaves, and waits for the client's end, whether or not what is left can be shown.
    async fn finish(self) -> Result<(), Failure> {
        let Self { mut face, commands, mut events, client } = self;
        // It goes when the other has confirmed what was said last.
        drop(commands);
        let mut shown = Ok(());
        while let Some(event) = events.recv().await {
            shown = shown.and_then(|()| face.show(&event).map_err(unwritable));
        }
        shown.and(Ok(client.await.map_err(Failure::new)??))
    }
}

/// Writes `name | ` at the start of each line.
struct Prefixed {
    name: &'static str,
    out: Stdout,
    at_start: bool,
}

impl Write for Prefixed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.at_start {
                write!(self.out, "{} | ", self.name)?;
            }
            self.out.write_all(part)?;
            self.at_start = part.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
