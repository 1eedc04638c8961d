//! One user, as a machine: no socket, no clock, no file, no random generator that was not passed in.

mod commands;
mod connection;
mod frames;
mod line;
mod pins;
mod talking;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use e2e::{Invitation, Member, Own};
use identity::{Pin, Trust, UserKey};
use protocol::{Attempt, ChatId, CloseReason, List, Machine, Page, PublicKey, ServerName, Timers, ToServer, UserName};

use self::{
    connection::{Attempts, Purpose},
    pins::{forgotten, marked},
};
use crate::{Command, Ending, ErrorCode, Event, Failure, conversation::Conversation};

/// From acceptance to the first sealed frame; longer than servers wait, who end it in the ordinary case.
const SET_UP: Duration = Duration::from_secs(20);
/// From a counted frame's arrival to the receipt for it, if nothing else has carried it.
const RECEIPT: Duration = Duration::from_millis(20);
/// Between renewals.
const RENEWAL: Duration = Duration::from_secs(protocol::limits::RENEW_AFTER_SECONDS);
/// For the delivery of what was said and of the goodbye, before one leaves.
const DRAIN: Duration = Duration::from_secs(5);
/// From a full window to the word that the peer is behind, or from one's own part in opening the line to the word that
/// the peer is away.
const BEHIND: Duration = Duration::from_secs(2);
/// Late for a timer by so much, a client was held up, or its computer slept: it has heard nothing meanwhile.
const OVERSLEPT: Duration = Duration::from_secs(2);
/// Messages that may wait for room in the window, and commands for the log-in, before no more are taken in.
const MAX_WAITING: usize = 256;

/// Something that happened to a client.
#[derive(Clone, Debug)]
pub enum Input {
    /// The program started: connect.
    Start,
    /// The connection that [`Output::Connect`] asked for stands.
    Connected {
        /// Key exchange and cipher suite.
        negotiated: identity::Negotiated,
    },
    /// The connection could not be made: somebody was there, and it came to nothing.
    NotConnected(Failure),
    /// The connection could not be made: nobody was there.
    Unanswered(Failure),
    /// The answer to [`Output::CheckServerName`]: an error when the server may not call itself that.
    ServerNameChecked(Result<(), Failure>),
    /// The answer to [`Output::LookUpPin`].
    Pin(Option<Pin>),
    /// The answer to [`Output::MarkVerified`]: whose key, and why it was not done if it was not.
    Marked(UserName, Result<(), Failure>),
    /// The answer to [`Output::ForgetPin`]: whose key, and why it was not done if it was not.
    Forgotten(UserName, Result<(), Failure>),
    /// The server sent a frame.
    Frame(Bytes),
    /// The connection is gone.
    Lost,
    /// The computer has another address or another way out: what stood may be dead, and what failed may work.
    NetworkChanged,
    /// The user wants something.
    Command(Command),
    /// A file of the profile could not be used. The client ends: it must not go on without its pins.
    FileFailed(Failure),
    /// Nothing but that time went by.
    Tick,
}

/// Something that a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to the server, and come back with [`Input::Connected`], [`Input::NotConnected`] or [`Input::Unanswered`].
    Connect,
    /// Send the server this frame.
    Send(Bytes),
    /// Send what is still to be sent, then end the connection.
    Disconnect,
    /// Drop the connection, or the attempt at one, and what is still to be sent with it.
    Abandon,
    /// Come back with [`Input::ServerNameChecked`].
    CheckServerName(ServerName),
    /// Come back with [`Input::Pin`]: the key that is pinned for this user of this server.
    LookUpPin(UserName, ServerName),
    /// Pin this user's key.
    StorePin(Member),
    /// Note that this user's safety number was compared, if it is this key that is pinned, and come back with
    /// [`Input::Marked`].
    MarkVerified(Member),
    /// Let go of the key that is pinned for this user of this server, and come back with [`Input::Forgotten`].
    ForgetPin(UserName, ServerName),
    /// Tell the user.
    Event(Event),
    /// The client is done: as it should be, or because it cannot go on.
    Quit(Option<Failure>),
}

/// One user's client, from the start of the program to its end.
pub struct Client {
    user: UserName,
    key: Arc<UserKey>,
    rng: Box<dyn rand_core::CryptoRng + Send>,
    timers: Timers<Timer>,
    phase: Phase,
    /// As whom the user was told to be logged in, and to which server, until told of the log-off. A lost connection
    /// alone does not end that; there is one of these whenever the phase is [`Phase::Online`].
    own: Option<Own>,
    /// The chat or the request. A chat outlives the connection; nothing else does (B3).
    state: State,
    /// Set once the user wants to go and was online or in a chat.
    leaving: Option<Leaving>,
    /// What the user who goes for good leaves behind: the client has then not done all that it was to do.
    unfinished: Option<Failure>,
    attempts: Attempts,
    /// Which of this client's log-ins the next one will be; nothing before the first.
    next_log_in: Option<Attempt>,
    /// Whether the network has changed since the attempt at a connection began.
    is_by_old_way: bool,
    /// What the user wanted before the log-in was through, as a pipe does.
    early: VecDeque<Command>,
    /// The parts of the list that the server is to send, in order.
    lists_asked: VecDeque<Page>,
    /// Whether the user was told that the server is silent.
    said_silent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    LogIn,
    Reconnect,
    Reroute,
    Stable,
    Ping,
    Silent,
    Dead,
    SetUp,
    Receipt,
    Renewal,
    Drain,
    Behind,
}

enum Phase {
    Idle,
    /// The connection is gone; the time for the next attempt is to come.
    Waiting,
    Connecting {
        purpose: Purpose,
    },
    LoggingIn {
        purpose: Purpose,
        negotiated: identity::Negotiated,
        /// The chat that the server was told of.
        held: Option<ChatId>,
        claimed: Option<ServerName>,
    },
    Online,
    Ended,
}

/// What follows the log-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    ForGood,
    ToComeBack,
}

#[derive(Default)]
enum State {
    #[default]
    Free,
    Calling {
        peer: UserName,
        chat: ChatId,
    },
    Ringing {
        peer: UserName,
        chat: ChatId,
    },
    /// Accepted; the caller's welcome is to come.
    AwaitingWelcome {
        peer: UserName,
        chat: ChatId,
        invitation: Box<Invitation>,
    },
    /// The server said whose key it is; what is pinned is being looked up.
    CheckingPin {
        peer: Member,
        chat: ChatId,
        step: Step,
    },
    /// The welcome is sent; the accepter's first sealed frame is to come and show that it has the same group.
    Confirming {
        conversation: Box<Conversation>,
        trust: Trust,
    },
    Chatting(Box<Conversation>),
}

/// What follows the check of a pin.
enum Step {
    Create { key_package: Bytes },
    Join { invitation: Box<Invitation>, welcome: Bytes },
}

impl Client {
    /// A client of the user who holds `key`. All randomness that chats need is drawn from `rng`.
    pub fn new(user: UserName, key: Arc<UserKey>, rng: Box<dyn rand_core::CryptoRng + Send>) -> Self {
        Self {
            user,
            key,
            rng,
            timers: Timers::default(),
            phase: Phase::Idle,
            own: None,
            state: State::Free,
            leaving: None,
            unfinished: None,
            attempts: Attempts::default(),
            next_log_in: None,
            is_by_old_way: false,
            early: VecDeque::new(),
            lists_asked: VecDeque::new(),
            said_silent: false,
        }
    }

    /// Whether the client takes another message now. Face and driver leave what the user typed unread until it does,
    /// so that nothing is lost and memory stays bounded.
    pub fn is_ready(&self) -> bool {
        match (&self.phase, &self.state) {
            (_, State::Chatting(conversation)) => conversation.waiting().max(self.early.len()) < MAX_WAITING,
            // Nobody knows how long it takes, so each command is answered at once; but what is to follow a leave waits.
            _ if self.is_reconnecting() => self.early.len() < MAX_WAITING,
            // Before the log-in there is nobody to tell; a pipe may have all of its lines there by then.
            (Phase::Idle | Phase::Connecting { .. } | Phase::LoggingIn { .. }, _) => false,
            (Phase::Waiting | Phase::Online | Phase::Ended, _) => self.early.len() < MAX_WAITING,
        }
    }
}

impl Machine for Client {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        if self.deadline().is_some_and(|due| now.saturating_duration_since(due) >= OVERSLEPT) {
            self.doubt(now, out);
        }
        while let Some(timer) = self.timers.expired(now) {
            self.expire(timer, now, out);
        }
        match input {
            Input::Start => self.connect(Purpose::LogIn, out),
            Input::Connected { negotiated } => self.connected(negotiated, now, out),
            Input::NotConnected(failure) => self.not_connected(failure, now, out),
            Input::Unanswered(failure) => self.unanswered(failure, now, out),
            Input::FileFailed(failure) => self.fail(failure, out),
            Input::ServerNameChecked(checked) => self.server_name_checked(checked, now, out),
            Input::Pin(pin) => self.pin(pin, now, out),
            Input::Marked(peer, result) => marked(peer, result, out),
            Input::Forgotten(peer, result) => forgotten(peer, result, out),
            Input::Frame(frame) => self.frame(&frame, now, out),
            Input::Lost if self.has_connection() => self.cut("the connection to the server ended", now, out),
            Input::Lost => {}
            Input::NetworkChanged => self.network_changed(now, out),
            Input::Command(command) => self.command(command, now, out),
            Input::Tick => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Client {
    fn expire(&mut self, timer: Timer, now: Instant, out: &mut Vec<Output>) {
        match timer {
            Timer::LogIn => self.cut("the server does not answer the log-in", now, out),
            Timer::Reconnect => self.connect(Purpose::Reconnect, out),
            Timer::Reroute => self.rerouted(now, out),
            Timer::Stable => self.attempts = Attempts::default(),
            Timer::Ping => self.ping(now, out),
            Timer::Silent => self.silent(out),
            Timer::Dead => self.cut("the server has gone silent", now, out),
            Timer::SetUp => self.end_chat(Ending::Lost, Some(CloseReason::Failed), out),
            Timer::Receipt => self.receipt(out),
            Timer::Renewal => self.renew(now, out),
            Timer::Drain => self.go(now, out),
            Timer::Behind => self.behind(out),
        }
    }
}

impl State {
    fn chat(&self) -> Option<ChatId> {
        match self {
            Self::Free => None,
            Self::Calling { chat, .. }
            | Self::Ringing { chat, .. }
            | Self::AwaitingWelcome { chat, .. }
            | Self::CheckingPin { chat, .. } => Some(*chat),
            Self::Confirming { conversation, .. } | Self::Chatting(conversation) => Some(conversation.chat),
        }
    }

    /// The chat, if the two clients share one, or do as far as this one knows.
    fn conversation(&mut self) -> Option<&mut Conversation> {
        match self {
            Self::Confirming { conversation, .. } | Self::Chatting(conversation) => Some(conversation),
            _ => None,
        }
    }

    fn peer(&self) -> Option<&UserName> {
        match self {
            Self::Free => None,
            Self::Calling { peer, .. } | Self::Ringing { peer, .. } | Self::AwaitingWelcome { peer, .. } => Some(peer),
            Self::CheckingPin { peer, .. } => Some(&peer.user),
            Self::Confirming { conversation, .. } | Self::Chatting(conversation) => Some(&conversation.peer.user),
        }
    }
}

fn send(out: &mut Vec<Output>, frame: &ToServer) {
    // Only a name or a package of more than a frame's length could fail, and neither can be made.
    if let Ok(bytes) = frame.encode() {
        out.push(Output::Send(bytes));
    }
}

fn error(out: &mut Vec<Output>, code: ErrorCode, message: impl std::fmt::Display) {
    out.push(Output::Event(Failure::new(code, message).into()));
}

/// An error that another user is to blame for, or that is about one.
fn error_about(out: &mut Vec<Output>, peer: &UserName, failure: Failure) {
    let Failure { code, message } = failure;
    out.push(Output::Event(Event::Error { code, message, peer: Some(peer.to_string()) }));
}

fn users(list: List, own: &UserName) -> Event {
    let mut users: Vec<_> = list.names.into_iter().filter(|name| name != own).map(|name| name.to_string()).collect();
    users.sort();
    Event::Users { users, more: list.more }
}

fn member(user: UserName, server: &ServerName, key: PublicKey) -> Member {
    Member { user, server: server.clone(), key }
}
