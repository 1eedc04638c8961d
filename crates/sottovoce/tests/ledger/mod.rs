//! What a client told of a chat, kept so that it can be held against what was said and what the peer's client told.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{Client, now};

/// All that one client told of its chat.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: Vec<u64>,
    heard: Vec<Heard>,
    delivered: Vec<(u64, Instant)>,
    /// How often each event came.
    pub(crate) events: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Heard {
    text: String,
    n: u64,
    at: Instant,
}

impl Ledger {
    /// Notes events until so many messages are heard, and so many of one's own delivered.
    pub(crate) fn listen(&mut self, client: &mut Client, heard: usize, said: usize) {
        while !self.is_complete(heard, said) {
            let event = client.next().unwrap_or_else(|| panic!("the client ended: {}", self.summary()));
            self.note(&event);
            let name = event["event"].as_str().unwrap();
            assert!(name != "chat_closed" && name != "logged_out", "{event}: {}", self.summary());
        }
    }

    /// Notes an event.
    pub(crate) fn note(&mut self, event: &Value) {
        let name = event["event"].as_str().unwrap();
        *self.events.entry(name.to_owned()).or_default() += 1;
        let n = event["n"].as_u64();
        match (name, n) {
            ("sent", Some(n)) => self.sent.push(n),
            ("delivered", Some(n)) => self.delivered.push((n, now())),
            ("message", Some(n)) => {
                self.heard.push(Heard { text: event["text"].as_str().unwrap().to_owned(), n, at: now() });
            }
            _ => {}
        }
    }

    /// How many messages were heard.
    pub(crate) fn heard(&self) -> usize {
        self.heard.len()
    }

    /// How many of one's own messages are delivered, as far as one was told.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered.last().map_or(0, |(n, _)| self.sent.partition_point(|sent| sent <= n))
    }

    fn is_complete(&self, heard: usize, said: usize) -> bool {
        self.heard() >= heard && self.delivered() >= said
    }

    fn summary(&self) -> String {
        format!("{} heard, {} sent, {} delivered, {:?}", self.heard(), self.sent.len(), self.delivered(), self.events)
    }
}

/// Checks what `speaker` and `listener` told of the messages that `speaker`'s user typed: each arrived once, in order
/// and as it was, and was delivered when the speaker was told so. By how much a mark came before its message was shown:
/// the listener's client confirms what it has, and its face may need a moment to tell.
#[track_caller]
pub(crate) fn check(said: &[String], speaker: &Ledger, listener: &Ledger) -> Duration {
    let heard: Vec<_> = listener.heard.iter().map(|heard| &heard.text).collect();
    if let Some(place) = (0..said.len().max(heard.len())).find(|place| said.get(*place) != heard.get(*place).copied()) {
        let around = place.saturating_sub(2)..heard.len().min(place + 3);
        panic!("message {place} should be {:?}; there: {:?}", said.get(place), &heard[around]);
    }
    let arrived: Vec<_> = listener.heard.iter().map(|heard| heard.n).collect();
    assert!(arrived.is_sorted_by(|one, next| one < next), "a counter came twice: {arrived:?}");
    assert_eq!(speaker.sent, arrived, "as what each was sent");
    let mut lead = Duration::ZERO;
    let mut before = None;
    for (n, told) in &speaker.delivered {
        assert!(Some(*n) > before, "{n} was delivered already");
        before = Some(*n);
        let place = arrived.binary_search(n).unwrap_or_else(|_| panic!("{n} is said to be delivered, but never came"));
        lead = lead.max(listener.heard[place].at.saturating_duration_since(*told));
    }
    assert_eq!(before, arrived.last().copied(), "all is delivered");
    lead
}
