//! One chat as the client holds it: the sealed group, and the stream of frames in each direction.

use std::collections::VecDeque;

use bytes::Bytes;
use e2e::{Culprit, Member, Opened, Rng};
use protocol::{ChatHeader, ChatId, Content, Held, Message, Resume, Text, ToServer, limits::RENEW_AFTER_MESSAGES};

use crate::stream::{AckedUnsent, Counted, Incoming, Outgoing, Place};

/// Times that frames may be missing, without any having come in between, before the chat ends: what the server loses by
/// mistake comes when it is sent again.
const MAX_RESYNCS: u32 = 3;

/// Receipts that may come and confirm nothing new, besides one for each opening of the line. An honest client has no
/// cause for any but the first, which shows that it is there; each costs the reader something, and the user sees none.
const MAX_IDLE_RECEIPTS: u32 = 16;

/// A chat between this client and one peer.
pub(crate) struct Conversation {
    pub(crate) peer: Member,
    pub(crate) chat: ChatId,
    group: e2e::Chat,
    outgoing: Outgoing,
    incoming: Incoming,
    waiting: VecDeque<Text>,
    line: Line,
    /// Times that the line was broken because something was missing, since something came.
    resyncs: u32,
    /// Receipts that may yet come and confirm nothing.
    idle_receipts: u32,
    /// Whether the goodbye is among the frames that are sent. Nothing counted comes after it.
    said_goodbye: bool,
    /// Whether the next renewal is this side's: whoever did not commit last commits next, so two commits never meet.
    turn: bool,
    messages_since_renewal: u64,
    /// Whether the user was told that messages have waited for long.
    pub(crate) said_behind: bool,
    /// Whether the user was told that the peer is away.
    pub(crate) said_away: bool,
}

/// The way to the peer's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Open,
    /// This side's connection is gone, or the peer's, or something was missing. Nothing is sealed, for nobody knows when
    /// it would arrive; and nothing is sent until it is known from where.
    Broken,
}

/// What a frame of the peer's is.
pub(crate) enum Came {
    /// One that has been here before. It was not opened, so nothing in it is known to be true.
    Again,
    /// Not the next: frames before it are missing. It was not opened either.
    Early,
    /// The next, opened.
    Next(Arrival),
}

/// What a frame of the peer's brought.
pub(crate) struct Arrival {
    pub(crate) content: Arrived,
    /// The counter of the last of one's messages that the frame newly confirms.
    pub(crate) delivered: Option<u64>,
}

/// The content of a frame of the peer's.
pub(crate) enum Arrived {
    /// Nothing for the user.
    Nothing,
    Text {
        text: Text,
        counter: u64,
    },
    Renewed,
    Goodbye,
}

/// Why a chat cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Seal(#[from] e2e::Error),
    #[error(
        "a part of what your peer sent is missing, also when it is sent again: the server leaves it out, or your peer's \
             client is at fault"
    )]
    Gap,
    #[error("your peer's client confirmed what was never sent")]
    Acked,
    #[error(
        "again and again came a confirmation of nothing: the server has your peer's client send them, or that client is \
             at fault"
    )]
    Idle,
    #[error("your peer's client renewed the keys when it was not its turn")]
    OutOfTurn,
    #[error("a frame of the chat does not fit the protocol ({0})")]
    Frame(#[from] protocol::DecodeError),
    #[error("the chat has reached its last message; start another")]
    Exhausted,
}

impl Fault {
    /// Whether it is the peer's doing, shown by a signature with the key that the chat is with. What else there is the
    /// server can have caused; and this as well, if the key is its own and nobody has compared safety numbers.
    pub(crate) fn is_peers(&self) -> bool {
        match self {
            Self::Seal(error) => error.culprit() == Culprit::Peer,
            Self::Acked | Self::OutOfTurn => true,
            Self::Gap | Self::Idle | Self::Frame(_) | Self::Exhausted => false,
        }
    }
}

impl Conversation {
    /// A chat that has just been set up. `caller`: whether this side created the group.
    pub(crate) fn new(peer: Member, chat: ChatId, group: e2e::Chat, caller: bool) -> Self {
        Self {
            peer,
            chat,
            group,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            waiting: VecDeque::new(),
            line: Line::Open,
            resyncs: 0,
            idle_receipts: MAX_IDLE_RECEIPTS,
            said_goodbye: false,
            // Creating the group was the caller's commit.
            turn: !caller,
            messages_since_renewal: 0,
            said_behind: false,
            said_away: false,
        }
    }

    /// What this side says of the chat when it comes back.
    pub(crate) fn held(&self) -> Held {
        Held { peer: self.peer.user.clone(), resume: self.resume() }
    }

    /// Where this side stands.
    pub(crate) fn resume(&self) -> Resume {
        Resume { chat: self.chat, expected: self.incoming.expected() }
    }

    /// Whether frames pass.
    pub(crate) fn is_open(&self) -> bool {
        self.line == Line::Open
    }

    /// Frames pass no more.
    pub(crate) fn breaks(&mut self) {
        self.line = Line::Broken;
    }

    /// Frames that were expected are missing: breaks the line, so that they are sent again.
    pub(crate) fn miss(&mut self) -> Result<(), Fault> {
        self.line = Line::Broken;
        self.resyncs = self.resyncs.saturating_add(1);
        if self.resyncs > MAX_RESYNCS { Err(Fault::Gap) } else { Ok(()) }
    }

    /// Frames pass again. Gives those that are to be sent again to a peer that expects `expected`.
    pub(crate) fn opens(&mut self, expected: u64) -> impl Iterator<Item = &Bytes> {
        self.line = Line::Open;
        self.idle_receipts = self.idle_receipts.saturating_add(1);
        self.outgoing.again_from(expected)
    }

    /// Lines up a message; [`Self::next_text`] sends it when the window has room.
    pub(crate) fn say(&mut self, text: Text) {
        self.waiting.push_back(text);
    }

    /// Messages that wait for room in the window.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Messages of this side's that the peer's client has not confirmed, sent or not.
    pub(crate) fn undelivered(&self) -> u64 {
        self.outgoing.unconfirmed().saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX))
    }

    /// Counted frames of the peer's that it has not been told have arrived.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.incoming.unconfirmed()
    }

    /// The group's epoch (RFC 9420 section 8).
    pub(crate) fn epoch(&self) -> u64 {
        self.group.epoch()
    }

    /// Whether the next renewal is this side's.
    pub(crate) fn has_turn(&self) -> bool {
        self.turn
    }

    /// Whether this side has said goodbye.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.said_goodbye
    }

    /// Whether all that this side said, a goodbye with it, is with the peer's client.
    pub(crate) fn is_all_delivered(&self) -> bool {
        self.waiting.is_empty() && self.outgoing.is_confirmed()
    }

    /// Whether this side should renew now.
    pub(crate) fn is_renewal_due(&self) -> bool {
        self.turn && self.messages_since_renewal >= RENEW_AFTER_MESSAGES
    }

    /// Makes the next renewal due, as that many messages would.
    pub(crate) fn make_renewal_due(&mut self) {
        self.messages_since_renewal = RENEW_AFTER_MESSAGES;
    }

    /// Seals the next waiting message, if there is one, the line is open and the window has room: its counter and its
    /// frame.
    pub(crate) fn next_text(&mut self, rng: Rng<'_>) -> Result<Option<(u64, Bytes)>, Fault> {
        if !self.may_send() {
            return Ok(None);
        }
        let Some(text) = self.waiting.pop_front() else {
            return Ok(None);
        };
        self.messages_since_renewal = self.messages_since_renewal.saturating_add(1);
        let header = self.header()?;
        let sealed = self.group.seal(&header, &Content::Text(text), rng)?;
        Ok(Some((header.counter, self.counted(header, sealed, Counted::Text)?)))
    }

    /// Renews this side's keys (RFC 9420 section 12.4), if the line is open and the window has room.
    pub(crate) fn renew(&mut self, rng: Rng<'_>) -> Result<Option<Bytes>, Fault> {
        if !self.may_send() {
            return Ok(None);
        }
        let header = self.header()?;
        let sealed = self.group.renew(&header, rng)?;
        self.renewed(false);
        Ok(Some(self.counted(header, sealed, Counted::Control)?))
    }

    /// Says goodbye. The window does not hold it back: it is the last frame.
    pub(crate) fn goodbye(&mut self, rng: Rng<'_>) -> Result<Bytes, Fault> {
        let header = self.header()?;
        let sealed = self.group.seal(&header, &Content::Goodbye, rng)?;
        self.said_goodbye = true;
        self.counted(header, sealed, Counted::Control)
    }

    /// Confirms what has arrived, in an uncounted frame.
    pub(crate) fn receipt(&mut self, rng: Rng<'_>) -> Result<Bytes, Fault> {
        let header = self.header()?;
        let sealed = self.group.seal(&header, &Content::Receipt, rng)?;
        self.frame(header, sealed)
    }

    /// Opens a frame that came for this chat, if it is the next.
    pub(crate) fn open(&mut self, message: &Message, rng: Rng<'_>) -> Result<Came, Fault> {
        let Message { header, sealed } = message;
        match self.incoming.place(header.counter) {
            // MLS sees neither.
            Place::Past => return Ok(Came::Again),
            Place::Gap => return Ok(Came::Early),
            Place::Expected => {}
        }
        let content = match self.group.open(header, sealed, rng)? {
            Opened::Content(Content::Receipt) => Arrived::Nothing,
            Opened::Content(Content::Text(text)) => {
                self.received();
                self.messages_since_renewal = self.messages_since_renewal.saturating_add(1);
                Arrived::Text { text, counter: header.counter }
            }
            Opened::Content(Content::Goodbye) => {
                self.received();
                Arrived::Goodbye
            }
            Opened::Renewed => {
                if self.turn {
                    return Err(Fault::OutOfTurn);
                }
                self.received();
                self.renewed(true);
                Arrived::Renewed
            }
        };
        let before = self.outgoing.unacked_from();
        let delivered = self.outgoing.acked(header.ack).map_err(|AckedUnsent| Fault::Acked)?;
        if matches!(content, Arrived::Nothing) && self.outgoing.unacked_from() == before {
            self.idle_receipts = self.idle_receipts.checked_sub(1).ok_or(Fault::Idle)?;
        }
        Ok(Came::Next(Arrival { content, delivered }))
    }

    fn may_send(&self) -> bool {
        self.is_open() && self.outgoing.has_room() && !self.said_goodbye
    }

    fn received(&mut self) {
        self.incoming.received();
        self.resyncs = 0;
    }

    fn renewed(&mut self, turn: bool) {
        self.turn = turn;
        self.messages_since_renewal = 0;
    }

    fn header(&self) -> Result<ChatHeader, Fault> {
        let counter = self.outgoing.next().ok_or(Fault::Exhausted)?;
        Ok(ChatHeader::new(self.chat, counter, self.incoming.expected()))
    }

    fn counted(&mut self, header: ChatHeader, sealed: Bytes, counted: Counted) -> Result<Bytes, Fault> {
        let frame = self.frame(header, sealed)?;
        self.outgoing.sent(counted, frame.clone());
        Ok(frame)
    }

    fn frame(&mut self, header: ChatHeader, sealed: Bytes) -> Result<Bytes, Fault> {
        self.incoming.confirmed();
        Ok(ToServer::Message(Message { header, sealed }).encode()?)
    }
}
