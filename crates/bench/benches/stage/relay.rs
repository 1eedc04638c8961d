//! Two sessions, and all that the server has around them but sockets, tasks and the directory.

use std::time::Instant;

use bytes::Bytes;
use protocol::{Machine as _, ToServer};
use server::{
    channel::Channel,
    config::Config,
    mailbox::{Inbox, Mailbox, mailbox},
    router::Router,
    session::{Input, Output, Session},
    signal::SessionId,
};

use super::{ACCEPTER, CALLER, frames, key, line::Line, name, now, server};

/// A relay with two connections.
pub(crate) struct Relay {
    router: Router,
    pub(crate) now: Instant,
    seats: [Seat; 2],
}

/// One connection: its session, and what the task of a connection owns beside it.
struct Seat {
    session: Session,
    mailbox: Mailbox,
    /// The other's, which a connection has at hand while there is a chat.
    peers: Mailbox,
    inbox: Inbox,
    line: Line,
    out: Vec<Output>,
}

/// A session with the server's own settings, of a user whose handshake has just ended.
pub(crate) fn session(user: usize, now: Instant) -> Session {
    let id = SessionId::new(u64::try_from(user).unwrap());
    Session::new(id, key(user).public(), server(), Config::new(server()).patience(), now)
}

impl Relay {
    /// Two connections that have not logged in.
    pub(crate) fn new() -> Self {
        let (now, config) = (now(), Config::new(server()));
        let [(callers, first), (accepters, second)] =
            [(); 2].map(|()| mailbox(config.mailbox_frames, config.mailbox_bytes));
        let seat = |user, mailbox: &Mailbox, peers: &Mailbox, inbox| Seat {
            session: session(user, now),
            mailbox: mailbox.clone(),
            peers: peers.clone(),
            inbox,
            line: Line::new(),
            out: Vec::new(),
        };
        let seats = [seat(CALLER, &callers, &accepters, first), seat(ACCEPTER, &accepters, &callers, second)];
        Self { router: Router::new(config.list_page), now, seats }
    }

    /// Two users online.
    pub(crate) fn online() -> Self {
        let mut relay = Self::new();
        for user in [CALLER, ACCEPTER] {
            relay.hears(user, &frames::log_in(user));
        }
        relay
    }

    /// Two users online, of whom one has asked the other to talk.
    pub(crate) fn ringing() -> Self {
        let mut relay = Self::online();
        relay.hears(CALLER, &frames::request());
        relay
    }

    /// Two users in a chat.
    pub(crate) fn chatting() -> Self {
        let mut relay = Self::ringing();
        relay.hears(ACCEPTER, &frames::accept());
        relay.hears(CALLER, &frames::establish());
        relay
    }

    /// A client's frame goes all its ways, and what comes out at their ends is let go.
    fn hears(&mut self, user: usize, frame: &ToServer) {
        self.receive(user, &frames::on_the_wire(&frame.encode().unwrap()));
        self.deliver(1 - user);
        for user in [CALLER, ACCEPTER] {
            self.flush(user, |_| {});
        }
    }

    /// Bytes came on a user's connection: what is whole of them is done, as far as this connection's task does it.
    pub(crate) fn receive(&mut self, user: usize, bytes: &[u8]) {
        self.seats[user].line.receive(bytes);
        while let Some(frame) = self.seats[user].line.next() {
            self.input(user, Input::Frame(frame));
        }
    }

    /// A user's session takes in what lies in its mailbox.
    pub(crate) fn deliver(&mut self, user: usize) {
        while let Some(letter) = self.seats[user].inbox.try_receive() {
            self.input(user, Input::Signal(letter));
        }
    }

    /// Hands to a socket what is to go out on a user's connection.
    pub(crate) fn flush(&mut self, user: usize, socket: impl FnOnce(&[u8])) {
        self.seats[user].line.flush(socket);
    }

    /// Has a user's connection go on over TLS.
    pub(crate) fn go_on_over(&mut self, user: usize, channel: Channel) {
        self.seats[user].line = Line::over(channel);
    }

    /// The session alone, at this moment.
    pub(crate) fn session(&self, user: usize) -> Session {
        self.seats[user].session.clone()
    }

    pub(crate) fn input(&mut self, user: usize, input: Input) {
        let Self { router, now, seats } = self;
        let Seat { session, mailbox, peers, line, out, .. } = &mut seats[user];
        let mut next = Some(input);
        while let Some(input) = next.take() {
            session.handle(input, *now, out);
            for output in out.drain(..) {
                match output {
                    Output::Send(frame) => line.send(&frame),
                    Output::Signal { signal, .. } => peers.send(signal).unwrap(),
                    Output::LookUp(_) => next = Some(Input::Registered(Some(Some(key(user).public())))),
                    Output::Register { user: online, attempt, held } => {
                        let id = SessionId::new(u64::try_from(user).unwrap());
                        router.register(online, id, attempt, key(user).public(), mailbox.clone(), held);
                    }
                    Output::List(page) => next = Some(Input::Listed(router.list(&name(user), &page))),
                    Output::Disconnect => panic!("a session ended"),
                }
            }
        }
    }
}

/// A short message, as a client's connection brings it.
pub(crate) fn short_message() -> Bytes {
    frames::on_the_wire(&frames::message(frames::SHORT).encode().unwrap())
}
