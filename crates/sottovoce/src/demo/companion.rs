use client::{Account, Command, Event};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bob: accepts whoever asks, and answers what is said. A real client, with its own keys, in this process.
pub(super) async fn run(account: Account, stop: CancellationToken) {
    let (commands, queue) = mpsc::channel(8);
    let (sender, mut events) = mpsc::channel(8);
    let client = tokio::spawn(client::run(account, Box::new(UnwrapErr(SysRng)), queue, sender, stop));
    let mut said = 0usize;
    while let Some(event) = events.recv().await {
        let answer = match event {
            Event::Request { .. } => Some(Command::Yes),
            Event::ChatStarted { peer, .. } => {
                said = 0;
                say(format!(
                    "Hello {peer}. The relay carried this and cannot read it. Our safety numbers are the same; look."
                ))
            }
            Event::Message { text, .. } => {
                said = said.saturating_add(1);
                let letters = text.as_str().chars().count();
                say(match said {
                    1 => format!(
                        "I got that, all {letters} characters. On the wire it was as long as any short message."
                    ),
                    2 => {
                        "Say as much as you like; our keys renew themselves every 50 messages or 30 seconds.".to_owned()
                    }
                    3 => {
                        "When you leave (--ex), I get your goodbye inside the seal, so I know that nobody cut the line."
                            .to_owned()
                    }
                    _ => format!("{letters} characters, message {said}, in order."),
                })
            }
            _ => None,
        };
        if let Some(command) = answer
            && commands.send(command).await.is_err()
        {
            break;
        }
    }
    // Whatever ended the companion ends nothing else.
    let _ = client.await;
}

fn say(text: String) -> Option<Command> {
    Command::say(text).ok()
}
