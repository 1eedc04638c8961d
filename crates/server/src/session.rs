//! One logged-in connection, as a machine: no socket, no clock, no directory, no router.

mod commands;
mod line;
mod signals;

use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{
    Asked, Attempt, ChatHeader, ChatId, Close, CloseReason, Code, List, Login, Machine, Page, PublicKey, ServerError,
    ServerName, Timers, ToClient, ToServer, TooFast, UserName,
};
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    rate::{Rate, Spent},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

/// Something that happened to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The client sent a frame.
    Frame(Bytes),
    /// The directory's answer to [`Output::LookUp`]; `None` when it could not be asked, `Some(None)` when it has no
    /// such user. Coming unasked to a logged-in session it is a second look, and ends the session if the key differs.
    Registered(Option<Option<PublicKey>>),
    /// What the user has used up in sessions before, to be told at [`Output::Register`].
    Spent(Spent),
    /// The router's answer to [`Output::List`].
    Listed(List),
    /// Another session says something.
    Signal(Signal),
    /// A signal of this session's could not be delivered.
    Undelivered {
        /// To whom.
        to: UserName,
        /// The chat that it was about.
        chat: ChatId,
        /// Whether it [is said again](SignalKind::is_repeated).
        is_repeated: bool,
        /// Why.
        why: Undelivered,
    },
    /// A newer log-in of the same user takes the session's place, with the chat that its client has kept, if any.
    Replaced {
        /// That chat.
        held: Option<ChatId>,
    },
    /// The server ends the session.
    End(ServerError),
    /// The connection is gone.
    Lost,
    /// Nothing but that time went by.
    Tick,
}

/// Something that a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the client this frame.
    Send(Bytes),
    /// Ask the directory for this user's key, and come back with [`Input::Registered`].
    LookUp(UserName),
    /// Put the session's user online, in place of any other session of the same user, which is to learn which chat
    /// the client has kept. If that is the session of a later log-in of the same client's, it stays, and this one ends.
    Register {
        /// The user.
        user: UserName,
        /// Which log-in of which client it is.
        attempt: Attempt,
        /// The chat.
        held: Option<ChatId>,
    },
    /// Ask the router who is online, and come back with [`Input::Listed`].
    List(Page),
    /// Give the session of user `to` this signal; if that cannot be done, come back with [`Input::Undelivered`].
    Signal {
        /// The other user.
        to: UserName,
        /// What to say.
        signal: Signal,
    },
    /// Send what is still to be sent, then end the connection.
    Disconnect,
}

/// How long a session waits for what, and how often it does what.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For `Login` after the TLS handshake, and for the directory's answer to it.
    pub login: Duration,
    /// From a `Login` to its refusal, whatever the reason.
    pub refusal: Duration,
    /// For any frame of a logged-in client.
    pub idle: Duration,
    /// For the answer to a request to talk.
    pub request: Duration,
    /// From acceptance to `SessionEstablishment`.
    pub establishment: Duration,
    /// From the break of a chat's line until both of its clients are there again.
    pub grace: Duration,
    /// For each client's asking for a page of the online list.
    pub lists: Rate,
    /// For each client's requests to talk that are passed on.
    pub requests: Rate,
}

/// Between two attempts at opening a line again.
const PROBE: Duration = Duration::from_secs(1);
/// Between two looks at whether the peer's session still has the chat, or the request. An end of it is told at once; this
/// is for a word that got lost.
const CHECK: Duration = Duration::from_secs(10);
/// From the first sign that this node cannot reach the peer's to the end of the session: its client finds another node
/// then, from where the peer may be reached.
const STRANDED: Duration = Duration::from_secs(5);

/// Times that a line may open within [`OPENINGS_IN`]: each can have a client send all again that is not acknowledged,
/// and costs a peer who means ill next to nothing.
const MAX_OPENINGS: u32 = 16;
const OPENINGS_IN: Duration = Duration::from_secs(10);

/// The session of one connection, from the end of the TLS handshake to the end of the connection.
#[derive(Clone)]
pub struct Session {
    id: SessionId,
    key: PublicKey,
    server: ServerName,
    patience: Patience,
    timers: Timers<Timer>,
    phase: Phase,
    openings: Openings,
    spent: Spent,
}

/// How often a line has been opened of late.
#[derive(Clone, Copy, Debug)]
struct Openings {
    since: Instant,
    count: u32,
}

/// What a session waits for. The first six have their time from [`Patience`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// For the log-in.
    Login,
    /// With the refusal of a log-in.
    Refusal,
    /// For a frame of the client's.
    Idle,
    /// For the answer to a request to talk.
    Request,
    /// For the welcome.
    Establishment,
    /// For a broken line to open.
    Grace,
    /// Before it asks again for the line to open.
    Probe,
    /// Before it looks again whether the peer still has the chat, or the request.
    Check,
    /// For this node to reach the peer's again.
    Stranded,
}

#[derive(Clone)]
enum Phase {
    AwaitingLogin,
    LookingUp { login: Login, since: Instant },
    Refusing,
    LoggedIn { user: UserName, state: State },
    Ended,
}

/// Where a logged-in session stands: with whom, in which chat, and with which session of the other user's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are what they are called")]
pub enum State {
    /// In no chat, and in no request for one.
    Free,
    /// Its user asks the peer to talk.
    Calling { peer: UserName, chat: ChatId },
    /// The peer asks its user to talk.
    Ringing { peer: UserName, chat: ChatId, session: SessionId },
    /// Accepted; the caller's welcome is still to come.
    Establishing { peer: UserName, chat: ChatId, session: SessionId, side: Side },
    /// In a chat.
    Chatting { peer: UserName, chat: ChatId, line: Line },
}

/// The way between the two sessions of a chat. It is open at both ends or, for a moment, at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// Frames pass, to and from this session of the peer's.
    Open(SessionId),
    /// Frames are dropped. Each side's client has to say where it stands before the line opens: it has then heard that
    /// the line was broken, and what it sends comes after that.
    Broken {
        /// The counter that this side's client expects next, once it has said so.
        expected: Option<u64>,
        /// Whether the client has been told that the peer is away.
        told: bool,
    },
}

/// A user's part in the request that a chat began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Asked to talk.
    Caller,
    /// Was asked.
    Accepter,
}

impl Session {
    /// A session whose client has proved in the TLS handshake, ended at `now`, that it holds the private key of `key`.
    pub fn new(id: SessionId, key: PublicKey, server: ServerName, patience: Patience, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.start_after(Timer::Login, now, patience.login);
        let openings = Openings { since: now, count: 0 };
        Self { id, key, server, patience, timers, phase: Phase::AwaitingLogin, openings, spent: Spent::default() }
    }

    /// The user, once logged in.
    pub fn user(&self) -> Option<&UserName> {
        match &self.phase {
            Phase::LoggedIn { user, .. } => Some(user),
            _ => None,
        }
    }

    /// Where it stands, from the log-in to its end.
    pub fn state(&self) -> Option<&State> {
        match &self.phase {
            Phase::LoggedIn { state, .. } => Some(state),
            _ => None,
        }
    }

    /// What its user has used up of the rates in [`Patience`].
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What it waits for.
    pub fn timers(&self) -> &Timers<Timer> {
        &self.timers
    }
}

impl Machine for Session {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        while let Some(timer) = self.timers.expired(now) {
            self.expire(timer, now, out);
        }
        match input {
            Input::Frame(frame) => self.frame(frame, now, out),
            Input::Registered(answer) => self.registered(answer, now, out),
            Input::Spent(spent) => self.spent = self.spent.and(spent),
            Input::Listed(list) => {
                if self.user().is_some() {
                    send(out, &ToClient::List(list));
                }
            }
            Input::Signal(signal) => self.signal(signal, now, out),
            Input::Undelivered { to, chat, is_repeated, why } => {
                self.undelivered(&to, chat, is_repeated, why, now, out)
            }
            Input::Replaced { held } => self.replaced(held, out),
            Input::End(reason) => self.end(reason, out),
            Input::Lost => self.lose(out),
            Input::Tick => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Session {
    fn frame(&mut self, frame: Bytes, now: Instant, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { user, state } = &self.phase {
            self.timers.start_after(Timer::Idle, now, self.patience.idle);
            if frame.first() == Some(&(Code::Message as u8)) {
                // The path of every message: the header's chat is looked at, the rest passed on as it came.
                match (ChatHeader::chat_of(&frame), state) {
                    (Ok(named), State::Chatting { peer, chat, line: Line::Open(_) }) if named == *chat => {
                        signal(out, (user, self.id), peer, named, SignalKind::Message(frame));
                    }
                    // The chat ended or its line broke while this was on its way.
                    (Ok(_), _) => {}
                    (Err(_), _) => self.end(ServerError::Protocol, out),
                }
                return;
            }
        }
        match (ToServer::decode(&frame), &mut self.phase) {
            // Nothing hurries a refusal: its time would tell how long the look-up took.
            (_, Phase::Ended | Phase::Refusing) => {}
            (Ok(frame), Phase::LoggedIn { .. }) => self.command(frame, now, out),
            (Ok(ToServer::Login(login)), phase @ Phase::AwaitingLogin) => {
                out.push(Output::LookUp(login.user.clone()));
                *phase = Phase::LookingUp { login, since: now };
            }
            (Ok(ToServer::Exit), _) => self.leave(out),
            _ => self.end(ServerError::Protocol, out),
        }
    }

    fn registered(&mut self, answer: Option<Option<PublicKey>>, now: Instant, out: &mut Vec<Output>) {
        let Some(registered) = answer else {
            return self.end(ServerError::Unavailable, out);
        };
        // An unknown name and a wrong key run through the same comparison.
        let is_known = Choice::from(u8::from(registered.is_some()));
        let registered = registered.unwrap_or(PublicKey::from_bytes([0; 32]));
        let same = bool::from(is_known & registered.as_bytes().ct_eq(self.key.as_bytes()));
        match &self.phase {
            Phase::LookingUp { login, .. } if same => {
                let Login { user, attempt, held } = login.clone();
                self.timers.stop(Timer::Login);
                self.timers.start_after(Timer::Idle, now, self.patience.idle);
                let chat = held.as_ref().map(|held| held.resume.chat);
                out.push(Output::Register { user: user.clone(), attempt, held: chat });
                send(out, &ToClient::LoggedIn(self.server.clone()));
                self.phase = Phase::LoggedIn { user, state: State::Free };
                if let Some(held) = held {
                    self.come_back(held, now, out);
                }
            }
            Phase::LookingUp { since, .. } => {
                self.timers.stop(Timer::Login);
                self.timers.start_after(Timer::Refusal, *since, self.patience.refusal);
                self.phase = Phase::Refusing;
            }
            Phase::LoggedIn { .. } if !same => self.end(ServerError::Removed, out),
            _ => {}
        }
    }

    fn expire(&mut self, timer: Timer, now: Instant, out: &mut Vec<Output>) {
        match timer {
            Timer::Login | Timer::Idle => self.end(ServerError::Idle, out),
            Timer::Refusal => self.end(ServerError::UnknownUser, out),
            Timer::Request | Timer::Establishment | Timer::Grace => {
                self.close_on_both_sides(CloseReason::Expired, out);
            }
            Timer::Probe => self.ask(now, out),
            Timer::Check => self.check(now, out),
            Timer::Stranded => self.end(ServerError::Unavailable, out),
        }
    }

    /// Ends the current chat or request and tells the peer's session alone.
    fn close(&mut self, reason: CloseReason, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { user, state } = &self.phase
            && let (Some(peer), Some(chat)) = (state.peer(), state.chat())
        {
            let kind = match state {
                // Perhaps the peer has not heard of the request, or does not have the chat: it is the word of a stranger.
                State::Calling { .. } | State::Chatting { line: Line::Broken { .. }, .. } => {
                    SignalKind::CallOff(reason)
                }
                _ => SignalKind::Close(reason),
            };
            signal(out, (user, self.id), peer, chat, kind);
            self.free();
        }
    }

    fn close_on_both_sides(&mut self, reason: CloseReason, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { state, .. } = &self.phase
            && let Some(chat) = state.chat()
        {
            self.close(reason, out);
            send(out, &ToClient::ChatClosed(Close { chat, reason }));
        }
    }

    fn free(&mut self) {
        for timer in [Timer::Request, Timer::Establishment, Timer::Grace, Timer::Probe, Timer::Check, Timer::Stranded] {
            self.timers.stop(timer);
        }
        if let Phase::LoggedIn { state, .. } = &mut self.phase {
            *state = State::Free;
        }
    }

    /// The client is gone, and may come back: a chat waits for that, a request does not.
    fn lose(&mut self, out: &mut Vec<Output>) {
        if let Phase::LoggedIn { user, state: State::Chatting { peer, chat, line } } = &self.phase {
            // With a broken line the peer, if it has the chat, asks until it hears.
            if let Line::Open(_) = line {
                signal(out, (user, self.id), peer, *chat, SignalKind::Away);
            }
            self.free();
        }
        self.leave(out);
    }

    /// A newer session of the user has been put in this one's place. If it has the chat, it has the word about it.
    fn replaced(&mut self, held: Option<ChatId>, out: &mut Vec<Output>) {
        if matches!(&self.phase, Phase::LoggedIn { state: State::Chatting { chat, .. }, .. } if Some(*chat) == held) {
            self.free();
        }
        self.end(ServerError::Replaced, out);
    }

    /// Tells the client why, then leaves; a chat ends with it only if the client cannot come back with it.
    fn end(&mut self, reason: ServerError, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        send(out, &ToClient::Error(reason));
        match reason {
            ServerError::ShuttingDown | ServerError::Idle | ServerError::Unavailable => self.lose(out),
            ServerError::UnknownUser | ServerError::Replaced | ServerError::Removed | ServerError::Protocol => {
                self.leave(out);
            }
        }
    }

    fn leave(&mut self, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.close(CloseReason::Left, out);
        self.timers.stop_all();
        self.phase = Phase::Ended;
        out.push(Output::Disconnect);
    }
}

impl State {
    /// The other user.
    pub fn peer(&self) -> Option<&UserName> {
        match self {
            Self::Free => None,
            Self::Calling { peer, .. }
            | Self::Ringing { peer, .. }
            | Self::Establishing { peer, .. }
            | Self::Chatting { peer, .. } => Some(peer),
        }
    }

    /// The chat, or what the request for one has called it.
    pub fn chat(&self) -> Option<ChatId> {
        match self {
            Self::Free => None,
            Self::Calling { chat, .. }
            | Self::Ringing { chat, .. }
            | Self::Establishing { chat, .. }
            | Self::Chatting { chat, .. } => Some(*chat),
        }
    }

    fn is_about(&self, chat: ChatId) -> bool {
        self.chat() == Some(chat)
    }
}

fn send(out: &mut Vec<Output>, frame: &ToClient) {
    // All that a session sends fits a frame: what it passes on came in one that was no shorter by more than a key,
    // which a package or welcome at the very limit leaves no room for. Such a frame is dropped, and the timer of the
    // state that waits for it ends the chat.
    if let Ok(bytes) = frame.encode() {
        out.push(Output::Send(bytes));
    }
}

/// Tells the client that what it asked for was not done, and after how long it would be.
fn too_fast(out: &mut Vec<Output>, asked: Asked, wait: Duration) {
    // Rounded up: who waits that long is served.
    let retry_in_ms = wait.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u32::MAX);
    send(out, &ToClient::TooFast(TooFast { asked, retry_in_ms }));
}

fn signal(
    out: &mut Vec<Output>,
    (user, session): (&UserName, SessionId),
    to: &UserName,
    chat: ChatId,
    kind: SignalKind,
) {
    out.push(Output::Signal { to: to.clone(), signal: Signal { from: user.clone(), session, chat, kind } });
}
