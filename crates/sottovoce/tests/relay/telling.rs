//! Stories as tables, and what users are told in short.

use std::time::Duration;

use client::Event;

use super::Relay;

/// An event in short: its name, and what tells it from another of that name.
pub(crate) fn short(event: &Event) -> Option<String> {
    Some(match event {
        Event::LoggedIn { user, .. } => format!("logged_in {user}"),
        Event::Users { users, .. } => format!("users {}", users.join(",")),
        Event::Request { from } => format!("request {from}"),
        Event::Calling { peer } => format!("calling {peer}"),
        Event::Refused { peer } => format!("refused {peer}"),
        Event::UserNotFound { peer } => format!("user_not_found {peer}"),
        Event::RequestEnded { peer, reason } => format!("request_ended {peer} {reason:?}"),
        Event::ChatStarted { peer, trust, .. } => format!("chat_started {peer} {trust}"),
        Event::Message { from, text, .. } => format!("message {from} {}", text.as_str()),
        Event::ChatClosed { peer, reason, .. } => format!("chat_closed {peer} {reason:?}"),
        Event::LoggedOut => "logged_out".to_owned(),
        Event::Error { code, .. } => format!("error {}", code.as_str()),
        Event::Renewed { epoch } => format!("renewed {epoch}"),
        Event::Verified { peer } => format!("verified {peer}"),
        Event::Forgotten { peer } => format!("forgotten {peer}"),
        Event::Reconnecting { in_ms: 0 } => "reconnecting".to_owned(),
        // The wait is random.
        Event::Reconnecting { .. } => "reconnecting later".to_owned(),
        Event::Reconnected => "reconnected".to_owned(),
        Event::PeerAway { peer } => format!("peer_away {peer}"),
        Event::PeerBack { peer } => format!("peer_back {peer}"),
        Event::ServerSilent => "server_silent".to_owned(),
        Event::ServerHeard => "server_heard".to_owned(),
        Event::Connecting | Event::Connected => return None,
        Event::Sent { .. } | Event::Delivered { .. } | Event::PeerBehind { .. } | Event::PeerCaughtUp { .. } => {
            return None;
        }
    })
}

/// Who types what, and what everybody is told of it, in any order of people.
pub(crate) type Story<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

pub(crate) fn tell(relay: &mut Relay, story: Story<'_>) {
    for (who, line, expected) in story {
        match line.strip_prefix("wait ") {
            Some(seconds) => relay.wait(Duration::from_secs(seconds.parse().unwrap())),
            None => {
                relay.types(relay.index(who), line);
                relay.settle();
                // Long enough for receipts, which wait a moment for a message that could carry them.
                relay.wait(Duration::from_millis(25));
            }
        }
        let mut told = Vec::new();
        for user in 0..relay.users.len() {
            let name = relay.users[user].name.clone();
            told.extend(relay.news(user).iter().filter_map(short).map(|event| format!("{name}: {event}")));
        }
        let mut expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "after {who} typed {line:?}");
    }
}

pub(crate) fn logged_in(names: &[&str]) -> Relay {
    let mut relay = Relay::new(names);
    relay.everybody_logs_in();
    for (user, name) in names.iter().enumerate() {
        let news = relay.news(user);
        assert_eq!(news.iter().filter_map(short).collect::<Vec<_>>(), [format!("logged_in {name}")]);
    }
    relay
}

pub(crate) fn is_message(output: &client::Output) -> bool {
    matches!(output, client::Output::Send(frame) if frame.first() == Some(&5))
}

pub(crate) fn in_a_chat() -> Relay {
    let mut relay = logged_in(&["alice", "bob"]);
    start_chat(&mut relay);
    relay
}

/// Puts the first two into a chat.
pub(crate) fn start_chat(relay: &mut Relay) {
    relay.types(0, "--r bob");
    relay.settle();
    relay.types(1, "--y");
    relay.settle();
    relay.news(0);
    relay.news(1);
}
