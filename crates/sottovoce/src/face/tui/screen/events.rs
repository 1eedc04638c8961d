//! What the client tells.

use std::time::Instant;

use client::{Command, Ending, ErrorCode, Event, RequestEnding};
use identity::Trust;

use super::{
    super::{
        conversation::{Conversation, Line},
        sign_in::Step,
    },
    Effect, Link, Moment, Pending, Reader, SETTLE, Screen, View,
};

impl Screen {
    pub(super) fn event(&mut self, event: Event, now: Moment, out: &mut Vec<Effect>) {
        let is_list = matches!(event, Event::Users { .. });
        self.is_dirty |= !is_list;
        match event {
            Event::Connecting => {
                self.link = Link::Connecting;
                if self.is_signing_in {
                    self.form.at(Step::Connecting, now.instant);
                }
            }
            Event::Connected => {
                if self.is_signing_in {
                    self.form.at(Step::LoggingIn, now.instant);
                }
            }
            Event::LoggedIn { user, server, .. } => self.logged_in(user, server, now),
            Event::Users { users, more } => self.users(users, more, now),
            Event::Request { from } => {
                // Whoever is asked while asking has nobody left to ask.
                self.calling = None;
                self.is_setting_up = false;
                self.notice = None;
                let is_recent = |last: Instant| now.instant.saturating_duration_since(last) < SETTLE.saturating_mul(2);
                let is_sudden = self.question.as_ref().is_some_and(|question| question.peer != from)
                    || self.unasked.as_ref().is_some_and(|(peer, last)| *peer != from && is_recent(*last));
                self.question = Some(Pending { peer: from, since: now.instant, is_sudden });
                self.call("Somebody asks to talk.", now, out);
            }
            Event::Calling { peer } => {
                self.notice = None;
                self.is_setting_up = false;
                self.calling = Some(Pending { peer, since: now.instant, is_sudden: false });
            }
            Event::Refused { peer } => self.request_over(format!("{peer} refused to talk"), now),
            Event::UserNotFound { peer } => {
                self.request_over(format!("user not found: {peer} is unknown, not online, or busy"), now);
            }
            Event::RequestEnded { peer, reason } => {
                let what = match reason {
                    RequestEnding::Expired => "was not answered in time",
                    RequestEnding::CalledOff => "was taken back",
                    RequestEnding::Lost => "ended with the connection",
                };
                self.request_over(format!("the request between you and {peer} {what}"), now);
            }
            Event::ChatStarted { peer, suite, safety_number, trust } => {
                self.chat_started(Conversation::new(&peer, &suite, &safety_number, trust, now.instant), now, out);
            }
            Event::ChatClosed { peer, reason, undelivered } => self.chat_closed(&peer, reason, undelivered, now, out),
            Event::LoggedOut => {
                self.link = Link::Connecting;
                self.disconnected();
            }
            Event::Reconnecting { in_ms } => {
                self.disconnected();
                if matches!(self.link, Link::Up | Link::Silent(_)) {
                    self.note("you have lost the connection", now);
                }
                let wait = std::time::Duration::from_millis(in_ms);
                self.link = Link::Down(now.instant.checked_add(wait).unwrap_or(now.instant));
            }
            Event::ServerSilent => self.link = Link::Silent(now.instant),
            Event::ServerHeard => self.link = Link::Up,
            Event::Reconnected => {
                (self.link, self.is_foreign) = (Link::Up, false);
                self.note("you are connected again", now);
                // What it said of the connection is no longer so.
                self.notice = None;
                self.people.forget_question();
            }
            Event::Verified { peer } => {
                self.notify(format!("the key of {peer} is verified: no chat will start with another"), false, now);
                if let Some(conversation) = self.conversation.as_mut().filter(|conversation| conversation.peer == peer)
                {
                    conversation.trust = Trust::Verified;
                    conversation.transcript.note("you noted that the safety number is the same", now.clock);
                }
            }
            Event::Forgotten { peer } => {
                self.people.key_changed(&peer, false);
                self.changed = self.changed.take().filter(|changed| *changed != peer);
                if let Some(conversation) = self.conversation.as_mut().filter(|conversation| conversation.peer == peer)
                {
                    conversation.trust = Trust::New;
                }
                self.notify(
                    format!("the key of {peer} is forgotten; the next chat takes the one there is then"),
                    false,
                    now,
                );
            }
            // In a chat it is about what is pinned now, and the chat goes on with the key that it began with.
            Event::Error { code: ErrorCode::KeyChanged, peer: Some(peer), .. } if !self.talks_to(&peer) => {
                (self.question, self.calling) = (None, None);
                self.people.key_changed(&peer, true);
                self.lose_what_is_typed(now);
                self.changed = Some(peer);
                (self.help, self.verify) = (None, None);
                self.call("Something needs your attention.", now, out);
            }
            Event::Error { code: ErrorCode::UntrustedServer, message, peer: None } => {
                self.foreign_server(message, now);
            }
            Event::Error { code: ErrorCode::TooFast, message, peer: None } => match self.lists.pop_front() {
                Some(Reader::People) => self.people.put_off(),
                _ => self.notify(message, true, now),
            },
            Event::Error { code: ErrorCode::TooFast, message, peer: Some(_) } => {
                self.calling = None;
                self.notify(message, true, now);
            }
            Event::Error { code, message, peer } => {
                if code == ErrorCode::Protocol && peer.is_none() && self.link != Link::Up {
                    // Whoever is there now does not even speak as a server does.
                    self.is_foreign = false;
                }
                if self.is_setting_up {
                    // Whoever asked took it back just then.
                    self.calling = None;
                }
                self.notify(message, true, now);
            }
            Event::Message { .. }
            | Event::Sent { .. }
            | Event::Delivered { .. }
            | Event::PeerBehind { .. }
            | Event::PeerCaughtUp { .. }
            | Event::PeerAway { .. }
            | Event::PeerBack { .. }
            | Event::Renewed { .. } => self.in_chat(event, now, out),
        }
    }

    fn logged_in(&mut self, user: String, server: String, now: Moment) {
        if std::mem::take(&mut self.has_typed_ahead) {
            // Perhaps a password: it must not be shown, nor be sent to the server as something to look for.
            self.adrift = Some(now.instant);
        }
        // What somebody else said is not for who logs in now.
        if (self.user != user || self.server != server) && !self.user.is_empty() {
            self.conversation = None;
            self.view = View::People;
        }
        (self.user, self.server, self.link, self.is_signing_in) = (user, server, Link::Up, false);
        self.is_foreign = false;
        self.form.given_up();
        self.people.forget_question();
    }

    fn users(&mut self, users: Vec<String>, more: bool, now: Moment) {
        match self.lists.pop_front() {
            Some(Reader::People) => {
                let before = self.people.shown();
                if let Some(next) = self.people.page(users, more) {
                    self.lists.push_back(Reader::People);
                    self.waiting.push_back(next);
                }
                self.is_dirty |= self.people.shown() != before;
            }
            Some(Reader::Person) => {
                let names = if users.is_empty() { "nobody".to_owned() } else { users.join(" ") };
                let rest = if more { " …" } else { "" };
                self.note_or_notify(format!("online: {names}{rest}"), now);
            }
            // Of a connection that is gone.
            None => {}
        }
    }

    /// Says something where the user looks.
    fn note_or_notify(&mut self, what: String, now: Moment) {
        self.is_dirty = true;
        match (&mut self.conversation, self.view) {
            (Some(conversation), View::Chat) => conversation.transcript.note(what, now.clock),
            _ => self.notify(what, false, now),
        }
    }

    fn talks_to(&self, peer: &str) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.is_open() && conversation.peer == peer)
    }

    /// The view is about to change though the user did nothing: what is half typed in the search, and what is typed on
    /// without looking, must not become something else there.
    fn lose_what_is_typed(&mut self, now: Moment) {
        if self.shows_people() && self.is_half_typed && !self.people.search.is_empty() {
            self.adrift = Some(now.instant);
        }
        self.is_half_typed = false;
        self.people.search.clear();
        self.people.typed();
    }

    /// Notes in the chat, if one is open, what has happened to it.
    fn note(&mut self, what: &str, now: Moment) {
        if let Some(conversation) = self.conversation.as_mut().filter(|conversation| conversation.is_open()) {
            conversation.transcript.note(what, now.clock);
        }
    }

    /// Somebody else is at the server's address. The client tells it once, so it stays to be read.
    fn foreign_server(&mut self, message: String, now: Moment) {
        self.is_foreign = true;
        self.note(&message, now);
        let is_read = self.shows_chat()
            && self.help.is_none()
            && self.verify.is_none()
            && self
                .conversation
                .as_ref()
                .is_some_and(|conversation| conversation.is_open() && conversation.transcript.newer().is_none());
        if !is_read {
            self.notify(message, true, now);
        }
    }

    fn request_over(&mut self, what: String, now: Moment) {
        if let Some(question) = self.question.take() {
            self.unasked = Some((question.peer, now.instant));
        }
        self.is_setting_up = false;
        (self.question, self.calling) = (None, None);
        self.notify(what, false, now);
    }

    fn chat_started(&mut self, mut conversation: Conversation, now: Moment, out: &mut Vec<Effect>) {
        let peer = conversation.peer.clone();
        if !self.is_setting_up {
            self.call("A chat has started.", now, out);
        }
        self.is_setting_up = false;
        self.lose_what_is_typed(now);
        let transcript = &mut conversation.transcript;
        transcript.note(format!("you talk to {peer}, sealed with keys that the server does not have"), now.clock);
        transcript.note(
            match conversation.trust {
                Trust::New => format!(
                    "this key of {peer} is new to you: nobody but the server says that it is {peer}. F2 shows how to make \
                     sure"
                ),
                Trust::Pinned => format!(
                    "the key of {peer} is the one of your last chat. You have not compared the safety number yet: F2"
                ),
                Trust::Verified => format!("the key of {peer} is the one that you verified"),
            },
            now.clock,
        );
        (self.question, self.calling, self.verify, self.changed, self.notice) = (None, None, None, None, None);
        self.people.key_changed(&peer, false);
        let before = self.conversation.replace(conversation).filter(|before| !before.composer.is_empty());
        self.view = View::Chat;
        if let Some(before) = before {
            self.notify(format!("what you had typed for {} was not sent, and is gone", before.peer), false, now);
        }
        if self.adrift.is_some() {
            self.notify("the chat began while you were typing something else, which was dropped", false, now);
        }
    }

    fn chat_closed(&mut self, peer: &str, reason: Ending, undelivered: u64, now: Moment, out: &mut Vec<Effect>) {
        (self.question, self.calling) = (None, None);
        let what = match reason {
            Ending::Goodbye => format!("the chat with {peer} ended with a goodbye"),
            Ending::Lost => format!("the chat with {peer} is lost: a connection ended without a goodbye"),
            Ending::Error => format!("the chat with {peer} ended because something was not right"),
        };
        let open =
            self.conversation.as_mut().filter(|conversation| conversation.is_open() && conversation.peer == peer);
        let Some(conversation) = open else {
            // It never started.
            return self.notify(what, true, now);
        };
        // What the client was not told yet would be said to nobody, or to whom one talks next, whom one does not leave.
        self.waiting.retain(|command| !matches!(command, Command::Say(_) | Command::Leave));
        let unsettled = conversation.close(reason);
        conversation.transcript.note(what.as_str(), now.clock);
        match undelivered.max(unsettled) {
            0 => {}
            1 => conversation.transcript.note("your last message was not confirmed and may be lost", now.clock),
            many => conversation
                .transcript
                .note(format!("your last {many} messages were not confirmed and may be lost"), now.clock),
        }
        if self.view == View::People {
            self.notify(what, reason != Ending::Goodbye, now);
        }
        if self.leaving.is_none() {
            self.call("A chat has ended.", now, out);
        }
    }

    fn in_chat(&mut self, event: Event, now: Moment, out: &mut Vec<Effect>) {
        let is_seen = self.view == View::Chat;
        let Some(conversation) = &mut self.conversation else { return };
        match event {
            Event::Message { from, text, .. } => {
                conversation.transcript.hear(text.as_str(), now.clock);
                if !is_seen {
                    conversation.unread = conversation.unread.saturating_add(1);
                    self.notify(format!("{from} said something; F3 shows it"), false, now);
                }
                if !self.is_focused {
                    self.call("Somebody said something.", now, out);
                }
            }
            Event::Sent { n } => conversation.transcript.sent(n),
            Event::Delivered { n } => conversation.transcript.delivered(n),
            Event::PeerBehind { .. } => conversation.is_behind = true,
            Event::PeerCaughtUp { .. } => conversation.is_behind = false,
            Event::PeerAway { peer } => {
                conversation.line = Line::Away;
                conversation.transcript.note(format!("{peer} is away"), now.clock);
            }
            Event::PeerBack { peer } => {
                conversation.line = Line::Open;
                conversation.transcript.note(format!("{peer} is back"), now.clock);
            }
            Event::Renewed { .. } => {
                conversation.renewed(now.instant);
                conversation.transcript.renewed(now.clock);
            }
            _ => {}
        }
    }
}
