//! The chat with one person, as it is shown: whom one talks to and how safely, what was said, what is being typed.

use std::time::{Duration, Instant};

use client::Ending;
use identity::Trust;
use protocol::limits::MAX_TEXT;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    composer::Composer,
    style::Theme,
    text,
    transcript::{Progress, Transcript},
};

/// What stands before what is being typed.
const PROMPT: &str = "> ";

/// A chat, open or over.
pub(super) struct Conversation {
    pub(super) peer: String,
    pub(super) trust: Trust,
    pub(super) safety_number: String,
    pub(super) transcript: Transcript,
    pub(super) composer: Composer,
    pub(super) line: Line,
    /// The key that leaves at once, if the user is leaving and all that was said is being delivered first.
    pub(super) leaving: Option<&'static str>,
    is_post_quantum: bool,
    renewed: Instant,
    /// What came while the user looked elsewhere.
    pub(super) unread: usize,
    /// Whether the peer's client has not confirmed so much that one's messages wait.
    pub(super) is_behind: bool,
}

/// Whether words reach the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Open,
    Away,
    Closed(Ending),
}

impl Conversation {
    /// A chat that has just started.
    pub(super) fn new(peer: &str, suite: &str, safety_number: &str, trust: Trust, now: Instant) -> Self {
        Self {
            peer: peer.to_owned(),
            trust,
            safety_number: safety_number.to_owned(),
            transcript: Transcript::new(peer),
            composer: Composer::lines(MAX_TEXT),
            line: Line::Open,
            leaving: None,
            is_post_quantum: suite.contains("XWING"),
            renewed: now,
            unread: 0,
            is_behind: false,
        }
    }

    /// Whether words reach the peer, or will.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.line, Line::Closed(_))
    }

    /// The keys were renewed.
    pub(super) fn renewed(&mut self, now: Instant) {
        self.renewed = now;
    }

    /// The chat is over. Says how many of one's messages were not confirmed.
    pub(super) fn close(&mut self, ending: Ending) -> u64 {
        self.line = Line::Closed(ending);
        self.is_behind = false;
        self.transcript.close()
    }

    /// When something of it changes by itself: the age of the keys.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.is_open() {
            return None;
        }
        let age = now.saturating_duration_since(self.renewed).as_secs();
        // Minutes are counted after the first.
        let next = if age < 60 { age.saturating_add(1) } else { (age / 60).saturating_add(1).saturating_mul(60) };
        self.renewed.checked_add(Duration::from_secs(next))
    }

    /// The bar at the top: who, whether verified, and how sealed; in fewer words where there is less room.
    pub(super) fn title(&self, columns: usize, now: Instant) -> String {
        let age = now.saturating_duration_since(self.renewed).as_secs();
        let renewed = match age {
            0..60 => format!("{age} s"),
            _ => format!("{} min", age / 60),
        };
        let peer = &self.peer;
        let (trust, short) = match self.trust {
            Trust::Verified => ("verified", "verified"),
            Trust::Pinned => ("not verified, same key as before", "not verified"),
            Trust::New => ("not verified, new key", "not verified"),
        };
        let (seal, brief) =
            if self.is_post_quantum { ("post-quantum: yes", "PQ") } else { ("post-quantum: no", "not PQ") };
        let titles = if self.is_open() {
            vec![
                format!(" {peer} · {trust} · {seal} · keys renewed {renewed} ago"),
                format!(" {peer} · {short} · {seal} · keys {renewed} old"),
                format!(" {peer} · {short} · {brief} · keys {renewed}"),
                format!(" {peer} · {short} · {brief}"),
                format!(" {short} · {peer}"),
            ]
        } else {
            vec![
                format!(" {peer} · {trust} · chat over"),
                format!(" {peer} · {short} · chat over"),
                format!(" chat over · {short} · {peer}"),
            ]
        };
        let fits = |title: &&String| text::columns(title) <= columns;
        titles.iter().find(fits).or(titles.last()).cloned().unwrap_or_default()
    }

    /// What the bar of another view says of the chat, whole and in brief.
    pub(super) fn elsewhere(&self, is_reachable: bool) -> [String; 2] {
        let peer = &self.peer;
        let what = match self.line {
            Line::Closed(_) => ", over",
            _ if self.leaving.is_some() => ", ending",
            Line::Away if is_reachable => ", AWAY",
            Line::Away | Line::Open => "",
        };
        match self.unread {
            0 => [format!("chat with {peer}{what}: F3"), format!("{peer}{what}: F3")],
            unread => {
                [format!("chat with {peer}{what}, {unread} unread: F3"), format!("{peer}{what}, {unread} unread: F3")]
            }
        }
    }

    /// What is to be said about the line to the peer, if that is not simply open. Where the server is not reached, nobody
    /// knows whether the peer is away.
    pub(super) fn trouble(&self, is_reachable: bool) -> Option<(String, bool)> {
        let peer = &self.peer;
        if let (true, Some(key)) = (self.is_open(), self.leaving) {
            return Some((format!("SAYING GOODBYE to {peer}, for up to 5 s. {key} again: at once"), false));
        }
        match self.line {
            Line::Open if self.is_behind => {
                Some((format!("{peer} is behind: what you say waits until {peer} has more of it"), false))
            }
            Line::Away if is_reachable => {
                Some((format!("{peer} IS AWAY: what you say waits until {peer} is back"), true))
            }
            Line::Open | Line::Away => None,
            Line::Closed(Ending::Goodbye) => Some(("CHAT CLOSED with a goodbye. Esc: people".to_owned(), false)),
            Line::Closed(Ending::Lost) => {
                Some(("CHAT LOST: a connection ended without a goodbye. Esc: people".to_owned(), true))
            }
            Line::Closed(Ending::Error) => Some(("CHAT ENDED: something was not right. Esc: people".to_owned(), true)),
        }
    }

    /// How far the last message has come, whole and in brief.
    pub(super) fn last(&self, is_reachable: bool) -> Option<[String; 2]> {
        let waiting = |whom: &str| [format!("waiting for {whom}"), "waiting".to_owned()];
        let both = |word: &str| [word.to_owned(), word.to_owned()];
        Some(match self.transcript.last_progress()? {
            Progress::Delivered => both("delivered"),
            Progress::Undelivered => both("not confirmed"),
            _ if !is_reachable => waiting("the server"),
            _ if self.line == Line::Away => waiting(&self.peer),
            Progress::Sending | Progress::Sent(_) => both("sending"),
        })
    }

    /// Rows that what is being typed takes of `area`.
    pub(super) fn input_height(&self, area: Rect) -> u16 {
        let room = area.width.saturating_sub(2).max(1);
        let most = area.height.checked_div(3).unwrap_or(1).max(1);
        self.composer.height(room).clamp(1, most)
    }

    /// Draws what is being typed, and says where the cursor belongs.
    pub(super) fn draw_input(&self, area: Rect, buffer: &mut Buffer, theme: Theme) -> Position {
        let room = Rect { x: area.x.saturating_add(2), width: area.width.saturating_sub(2), ..area };
        text::draw(buffer, area.x, area.y, 2, PROMPT, theme.mine());
        self.composer.draw(room, buffer, theme.plain())
    }
}
