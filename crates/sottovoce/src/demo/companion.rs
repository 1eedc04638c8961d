use std::collections::VecDeque;

use client::{Account, Command, Event};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Answers that wait to be said.
const MAX_ANSWERS: usize = 16;

/// Bob: accepts whoever asks, and answers what is said. A real client, with its own keys, in this process.
pub(super) async fn run(account: Account, stop: CancellationToken) {
    let (commands, queue) = mpsc::channel(8);
    let (sender, mut events) = mpsc::channel(8);
    let client = tokio::spawn(client::run(account, Box::new(UnwrapErr(SysRng)), queue, sender, stop));
    let mut said = 0usize;
    let mut answers = VecDeque::new();
    loop {
        // Neither waits for the other: the client takes no answer while its events are not taken.
        let event = tokio::select! {
            event = events.recv() => match event {
                Some(event) => event,
                None => break,
            },
            Ok(place) = commands.reserve(), if !answers.is_empty() => {
                if let Some(answer) = answers.pop_front() {
                    place.send(answer);
                }
                continue;
            }
        };
        let answer = answer(event, &mut said);
        // Who pastes a book gets an answer to its start.
        answers.extend(answer.filter(|_| answers.len() < MAX_ANSWERS));
    }
    // Whatever ended the companion ends nothing else.
    let _ = client.await;
}

fn answer(event: Event, said: &mut usize) -> Option<Command> {
    match event {
        Event::Request { from } => Some(Command::Yes(from.parse().ok())),
        Event::ChatStarted { peer, .. } => {
            *said = 0;
            say(format!(
                "Hello {peer}. The relay carried this and cannot read it. Our safety numbers are the same; look (F2)."
            ))
        }
        Event::Message { text, .. } => {
            *said = said.saturating_add(1);
            let letters = text.as_str().chars().count();
            say(match *said {
                1 => format!("I got that, all {letters} characters. On the wire it was as long as any short message."),
                2 => "Say as much as you like; our keys renew themselves every 50 messages or 30 seconds.".to_owned(),
                3 => "When you leave (--ex), I get your goodbye inside the seal, so I know that nobody cut the line."
                    .to_owned(),
                _ => format!("{letters} characters, message {said}, in order."),
            })
        }
        _ => None,
    }
}

fn say(text: String) -> Option<Command> {
    Command::say(text).ok()
}
