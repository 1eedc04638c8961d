//! The line of a chat: broken when one side's connection is, and opened again when both clients have come back with the
//! chat (B3). A chat is rebuilt from what the two say, and from nothing else, so a restart of the server loses none.

use std::time::Instant;

use protocol::{ChatId, CloseReason, Held, Resume, ToClient, UserName};

use super::{
    CHECK, Line, MAX_OPENINGS, OPENINGS_IN, Openings, Output, PROBE, Phase, Session, State, Timer, send, signal,
};
use crate::signal::{SessionId, SignalKind};

impl Session {
    /// The client has logged in with a chat from a connection before. Whether the peer has it too is to be found out.
    pub(super) fn come_back(&mut self, held: Held, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { user, state } = &mut self.phase else {
            return;
        };
        let Held { peer, resume: Resume { chat, expected } } = held;
        if peer == *user {
            return send(out, &ToClient::ChatClosed(protocol::Close { chat, reason: CloseReason::Left }));
        }
        *state = State::Chatting { peer, chat, line: Line::Broken { expected: Some(expected), told: false } };
        self.timers.start_after(Timer::Grace, now, self.patience.grace);
        self.ask(now, out);
    }

    /// The line is open here from now on.
    pub(super) fn open(&mut self, peer: UserName, chat: ChatId, session: SessionId, now: Instant) {
        for timer in [Timer::Establishment, Timer::Grace, Timer::Probe, Timer::Stranded] {
            self.timers.stop(timer);
        }
        self.timers.start_after(Timer::Check, now, CHECK);
        self.openings.count = self.openings.count.saturating_add(1);
        if let Phase::LoggedIn { state, .. } = &mut self.phase {
            *state = State::Chatting { peer, chat, line: Line::Open(session) };
        }
    }

    /// Whether the line may open now, and not only in a while because it has opened so often.
    fn may_open(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.openings.since) >= OPENINGS_IN {
            self.openings = Openings { since: now, count: 0 };
        }
        self.openings.count < MAX_OPENINGS
    }

    /// The peer is gone, or has lost something: nothing passes until both clients have said where they stand.
    pub(super) fn breaks(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { state: State::Chatting { chat, line, .. }, .. } = &mut self.phase else {
            return;
        };
        *line = Line::Broken { expected: None, told: true };
        send(out, &ToClient::PeerAway(*chat));
        self.timers.stop(Timer::Check);
        self.timers.start_after(Timer::Grace, now, self.patience.grace);
    }

    /// The client has said what it expects next: because the line is broken, or because it has missed something.
    pub(super) fn resume(&mut self, resume: Resume, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { state: State::Chatting { chat, line, .. }, .. } = &mut self.phase else {
            return;
        };
        if *chat != resume.chat {
            return;
        }
        let told = matches!(line, Line::Broken { told: true, .. });
        let before = std::mem::replace(line, Line::Broken { expected: Some(resume.expected), told });
        match before {
            Line::Open(_) => {
                self.timers.stop(Timer::Check);
                self.timers.start_after(Timer::Grace, now, self.patience.grace);
                self.ask(now, out);
            }
            Line::Broken { expected: None, .. } => self.ask(now, out),
            // The peer is being asked, at a pace that no client sets.
            Line::Broken { expected: Some(_), .. } => {}
        }
    }

    /// Asks the peer's session to open the line, now and every so often until it does.
    pub(super) fn ask(&mut self, now: Instant, out: &mut Vec<Output>) {
        let may_open = self.may_open(now);
        if let Phase::LoggedIn { user, state: State::Chatting { peer, chat, line } } = &self.phase
            && let Line::Broken { expected: Some(expected), .. } = line
        {
            if may_open {
                signal(out, (user, self.id), peer, *chat, SignalKind::Ask(*expected));
            }
            self.timers.start_after(Timer::Probe, now, PROBE);
        }
    }

    /// Looks whether the peer's session still has the chat, or the request: if it knows nothing of it, it says so.
    pub(super) fn check(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { user, state } = &self.phase else {
            return;
        };
        if let (Some(peer), Some(chat)) = (state.peer(), state.chat())
            && !matches!(state, State::Chatting { line: Line::Broken { .. }, .. })
        {
            signal(out, (user, self.id), peer, chat, SignalKind::Check);
            if matches!(state, State::Calling { .. } | State::Chatting { .. }) {
                self.timers.start_after(Timer::Check, now, CHECK);
            }
        }
    }

    /// The peer's session `session` has the line open.
    pub(super) fn checked(&mut self, session: SessionId, now: Instant, out: &mut Vec<Output>) {
        // Two lines that lead elsewhere: a word between the sessions went to one that was being replaced. Frames would be
        // dropped for ever.
        if let Phase::LoggedIn { state: State::Chatting { line: Line::Open(open), .. }, .. } = &self.phase
            && *open != session
        {
            self.breaks(now, out);
        }
    }

    /// The peer's session `session` wants the line opened: its client expects `theirs` next.
    pub(super) fn asked(&mut self, session: SessionId, theirs: u64, now: Instant, out: &mut Vec<Output>) {
        let may_open = self.may_open(now);
        let Phase::LoggedIn { user, state: State::Chatting { peer, chat, line } } = &self.phase else {
            return;
        };
        match line {
            Line::Broken { expected: Some(own), .. } if may_open => {
                send(out, &ToClient::Resume(Resume { chat: *chat, expected: theirs }));
                signal(out, (user, self.id), peer, *chat, SignalKind::Answer(*own));
                self.open(peer.clone(), *chat, session, now);
            }
            // This side's client has yet to say where it stands, or the line has opened too often of late. The peer is asked
            // from here when that is over.
            Line::Broken { .. } => {}
            Line::Open(_) => self.breaks(now, out),
        }
    }

    /// The peer's session `session` has opened the line: its client expects `theirs` next.
    pub(super) fn answered(&mut self, session: SessionId, theirs: u64, now: Instant, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { state: State::Chatting { peer, chat, line }, .. } = &self.phase
            && matches!(line, Line::Broken { expected: Some(_), .. })
        {
            send(out, &ToClient::Resume(Resume { chat: *chat, expected: theirs }));
            self.open(peer.clone(), *chat, session, now);
        }
    }

    /// The peer's session `session` has lost its connection.
    pub(super) fn peer_lost(&mut self, session: SessionId, now: Instant, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { state: State::Chatting { line: Line::Open(open), .. }, .. } = &self.phase
            && *open == session
        {
            self.breaks(now, out);
        }
    }

    /// The peer of the chat is not online.
    pub(super) fn peer_absent(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggedIn { state: State::Chatting { chat, line, .. }, .. } = &mut self.phase else {
            return;
        };
        match line {
            Line::Open(_) => self.breaks(now, out),
            Line::Broken { told, .. } => {
                if !std::mem::replace(told, true) {
                    send(out, &ToClient::PeerAway(*chat));
                }
            }
        }
    }
}
