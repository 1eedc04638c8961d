//! What carries a session: one task for each connection, from the accepted socket to its end.

use std::{sync::Arc, time::Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};
use protocol::{Machine as _, PublicKey, ServerError, UserName, limits::MAX_FRAME};
use tokio::{
    io::{AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    time::{Instant as Deadline, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec, LengthDelimitedCodecError};

use crate::{
    counters::Refusal,
    gate::{Doorway, Visit},
    listener::Relay,
    mailbox::{Inbox, Mailbox, Order, mailbox},
    rate::Spent,
    session::{Input, Output, Session},
    signal::{SessionId, Signal, SignalKind, Undelivered},
};

/// Bytes that may wait to be written before a session takes in no more letters.
const MAX_UNSENT: usize = 64 * 1024;
/// Bytes that may wait to be written before a session takes in no more frames of its client, whose answers wait behind
/// them. More than letters can make wait, so that a client that reads slowly is still heard.
const MAX_UNSENT_WITH_ANSWERS: usize = 3 * MAX_UNSENT;
/// Bytes of a frame until the log-in is through: a `Login` with the longest names and a chat.
const MAX_FIRST_FRAME: usize = 92;
/// Letters that are taken in before others have a turn.
const MAX_LETTERS: usize = 64;

/// Serves one connection until it ends. Whatever the other side does, only this connection ends.
pub(crate) async fn serve(socket: TcpStream, visit: Arc<Visit>, relay: Arc<Relay>) {
    let handshake = relay.acceptor.accept(Doorway::new(socket, visit.clone()));
    let mut stream = tokio::select! {
        biased;
        () = visit.end().cancelled() => return,
        stream = timeout(relay.config.handshake_timeout, handshake) => match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                relay.counters.count(Refusal::Handshake);
                return tracing::debug!(%error, "handshake failed");
            }
            Err(_) => {
                relay.counters.count(Refusal::SlowHandshake);
                return tracing::debug!("handshake took too long");
            }
        },
    };
    stream.get_mut().0.is_through();
    match identity::client_key(stream.get_ref().1) {
        // On the heap: what waits for a handshake should take little.
        Ok(key) => Box::pin(Connection::new(stream, key, visit, relay).run()).await,
        Err(error) => {
            relay.counters.count(Refusal::Handshake);
            tracing::debug!(%error, "handshake without a usable client key");
        }
    }
}

struct Connection {
    relay: Arc<Relay>,
    visit: Arc<Visit>,
    id: SessionId,
    session: Session,
    key: PublicKey,
    registered: Option<UserName>,
    mailbox: Mailbox,
    inbox: Inbox,
    frames: FramedRead<ReadHalf<TlsStream<Doorway>>, LengthDelimitedCodec>,
    writer: WriteHalf<TlsStream<Doorway>>,
    unsent: BytesMut,
    unflushed: bool,
    /// What was last noted of what the user has used up.
    spent: Spent,
    /// The removals that had been carried out when the directory was last asked.
    sweep: u64,
    ending: bool,
}

impl Connection {
    fn new(stream: TlsStream<Doorway>, key: PublicKey, visit: Arc<Visit>, relay: Arc<Relay>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (mailbox, inbox) = mailbox(relay.config.mailbox_frames, relay.config.mailbox_bytes);
        let id = relay.next_session();
        let mut codec = protocol::frame_codec();
        codec.set_max_frame_length(MAX_FIRST_FRAME);
        Self {
            id,
            session: Session::new(id, key, relay.config.name.clone(), relay.config.patience(), now()),
            key,
            registered: None,
            mailbox,
            inbox,
            frames: FramedRead::new(reader, codec),
            writer,
            unsent: BytesMut::new(),
            unflushed: false,
            spent: Spent::default(),
            sweep: 0,
            ending: false,
            visit,
            relay,
        }
    }

    async fn run(mut self) {
        let alarm = sleep_until(Deadline::now());
        tokio::pin!(alarm);
        let (visit, end) = (self.visit.clone(), self.inbox.end());
        while !self.ending {
            // The alarm is moved forward only when it must ring earlier: each frame puts the idle limit off, and an
            // alarm that rings too early costs less than one that is set anew for each frame.
            let deadline = self.session.deadline().map(Deadline::from_std);
            if let Some(deadline) = deadline
                && (alarm.is_elapsed() || deadline < alarm.deadline())
            {
                alarm.as_mut().reset(deadline);
            }
            let unsent = self.unsent.len();
            // Nothing goes first: whoever floods one of these must not keep the others from being heard.
            tokio::select! {
                // The server stops, or this session is to end. That waits behind nothing that is slow.
                () = visit.end().cancelled() => {
                    if !self.relay.stop.is_cancelled() {
                        return tracing::debug!("made room before the log-in");
                    }
                    self.end(Input::End(ServerError::ShuttingDown)).await;
                }
                () = end.cancelled() => match self.inbox.order() {
                    Some(Order::End(reason)) => self.end(Input::End(reason)).await,
                    Some(Order::Replaced { held }) => self.end(Input::Replaced { held }).await,
                    None => self.input(Input::Lost).await,
                },
                // What is ready goes out.
                written = write(&mut self.writer, &mut self.unsent, &mut self.unflushed),
                    if !self.unsent.is_empty() || self.unflushed =>
                {
                    if written.is_err() {
                        self.input(Input::Lost).await;
                    }
                }
                // Other sessions.
                letter = self.inbox.receive(), if unsent < MAX_UNSENT => self.letters(letter).await,
                // The client, until this session is to end: one that another has replaced takes in no more.
                frame = self.frames.next(), if unsent < MAX_UNSENT_WITH_ANSWERS && !end.is_cancelled() => match frame {
                    // Copied: a frame as it was read keeps the whole buffer that it was read into, and a mailbox is bounded
                    // by the lengths of the frames that wait in it.
                    Some(Ok(frame)) => self.input(Input::Frame(Bytes::copy_from_slice(&frame))).await,
                    Some(Err(error)) if error.get_ref().is_some_and(|error| error.is::<LengthDelimitedCodecError>()) => {
                        self.input(Input::End(ServerError::Protocol)).await;
                    }
                    Some(Err(_)) | None => self.input(Input::Lost).await,
                },
                // Time.
                () = &mut alarm, if deadline.is_some() => self.input(Input::Tick).await,
            }
        }
        self.close().await;
    }

    /// Ends the session. What others have said comes first: it may be a goodbye.
    async fn end(&mut self, how: Input) {
        let letter = self.inbox.try_receive();
        self.letters(letter).await;
        self.input(how).await;
    }

    /// Takes in the first letter and those behind it, until it is the turn of others.
    async fn letters(&mut self, first: Option<Signal>) {
        let mut next = first;
        for left in (0..MAX_LETTERS).rev() {
            let Some(signal) = next else {
                return;
            };
            self.input(Input::Signal(signal)).await;
            // What a session that has ended, by a timer, does not take in is answered when the connection closes.
            let takes_more = left > 0 && !self.ending && self.unsent.len() < MAX_UNSENT;
            next = if takes_more { self.inbox.try_receive() } else { None };
        }
    }

    async fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.session.handle(input, now(), &mut out);
        // What an output brings back is handled before the outputs that came later, so the order stays a session's.
        let mut pending: std::collections::VecDeque<Output> = out.into();
        while !self.ending
            && let Some(output) = pending.pop_front()
        {
            let answers = self.carry_out(output).await;
            let mut out = Vec::new();
            if matches!(answers.as_slice(), [Input::Undelivered { why: Undelivered::Absent, .. }]) {
                // Whoever is gone may have said goodbye before, and that comes first: it lies in the mailbox by now.
                while !out.contains(&Output::Disconnect)
                    && let Some(letter) = self.inbox.try_receive()
                {
                    self.session.handle(Input::Signal(letter), now(), &mut out);
                }
            }
            for answer in answers {
                self.session.handle(answer, now(), &mut out);
            }
            pending.extend(out);
        }
        self.note_spent();
    }

    /// Whichever session the user has next goes on from what was used up in this one.
    fn note_spent(&mut self) {
        let spent = self.session.spent();
        if let Some(user) = &self.registered
            && spent != std::mem::replace(&mut self.spent, spent)
        {
            self.relay.ledger.note(user, spent, now());
        }
    }

    async fn carry_out(&mut self, output: Output) -> Vec<Input> {
        match output {
            Output::Send(frame) => {
                self.relay.counters.count_frame(&frame, self.registered.is_some());
                self.enqueue(&frame);
                Vec::new()
            }
            Output::Signal { to, signal } => {
                let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
                if let SignalKind::Message(frame) = &signal.kind {
                    // At the finest level of logging alone: what the relay gets to see of a message.
                    tracing::trace!(target: "relay", frame = %Hex(frame), "message");
                }
                let result = self.relay.router.send(&to, signal);
                result.err().map(|why| Input::Undelivered { to, chat, is_repeated, why }).into_iter().collect()
            }
            Output::LookUp(user) => {
                self.visit.gets_further();
                self.sweep = self.relay.sweeps();
                let deadline = self.session.deadline().map_or_else(Deadline::now, Deadline::from_std);
                tokio::select! {
                    biased;
                    () = self.visit.end().cancelled() => Vec::new(),
                    answer = self.look_up(&user) => vec![Input::Registered(answer)],
                    () = sleep_until(deadline) => vec![Input::Tick],
                }
            }
            Output::Register { user, held } => {
                if !self.visit.logs_in() {
                    // It has just had to make room.
                    self.ending = true;
                    return Vec::new();
                }
                self.frames.decoder_mut().set_max_frame_length(MAX_FRAME);
                self.relay.router.register(user.clone(), self.id, self.key, self.mailbox.clone(), held);
                let moved_on = self.sweep != self.relay.sweeps();
                self.registered = Some(user.clone());
                // A removal that was carried out between the look-up and now did not find this session.
                let mut answers = vec![Input::Spent(self.relay.ledger.of(&user))];
                if moved_on {
                    answers.push(Input::Registered(self.look_up(&user).await));
                }
                answers
            }
            Output::List(page) => {
                let user = self.session.user();
                user.map(|user| Input::Listed(self.relay.router.list(user, &page))).into_iter().collect()
            }
            Output::Disconnect => {
                self.ending = true;
                Vec::new()
            }
        }
    }

    async fn look_up(&self, user: &UserName) -> Option<Option<PublicKey>> {
        self.relay
            .directory
            .key_of(user)
            .await
            // Strangers can ask for this again and again; the watch on the directory says it where the operator looks.
            .inspect_err(|error| tracing::debug!(%error, "the directory cannot be asked"))
            .ok()
    }

    fn enqueue(&mut self, frame: &Bytes) {
        let Ok(length) = u16::try_from(frame.len()) else {
            return;
        };
        self.unsent.put_u16(length);
        self.unsent.put_slice(frame);
    }

    async fn close(mut self) {
        self.go_offline();
        let farewell = async {
            while !self.unsent.is_empty() || self.unflushed {
                write(&mut self.writer, &mut self.unsent, &mut self.unflushed).await?;
            }
            self.writer.shutdown().await
        };
        // A client that does not read what it is told is not waited for.
        let farewell = timeout(self.relay.config.shutdown_timeout, farewell);
        tokio::pin!(farewell);
        if farewell.as_mut().now_or_never().is_some() {
            return;
        }
        if self.relay.stop.is_cancelled() {
            // There is nobody to make room for.
            let _ = farewell.await;
            return;
        }
        self.visit.logs_out();
        tokio::select! {
            _ = farewell => {}
            () = self.visit.end().cancelled() => {}
        }
    }

    /// Takes the user offline, unless a newer session stands in the place of this one.
    fn go_offline(&mut self) {
        if let Some(user) = self.registered.take() {
            self.relay.router.unregister(&user, self.id);
            self.turn_away(&user);
        }
    }

    /// Answers those who asked the user to talk at the moment when the session ended: it has not heard them, so they
    /// would wait for the time limit of their requests. To be called once the router gives the mailbox nothing more.
    fn turn_away(&mut self, user: &UserName) {
        while let Some(letter) = self.inbox.try_receive() {
            if let Signal { from, chat, kind: SignalKind::Request { .. }, .. } = letter {
                let (session, kind) = (self.id, SignalKind::Unavailable);
                // Who asked may be gone as well.
                let _ = self.relay.router.send(&from, Signal { from: user.clone(), session, chat, kind });
            }
        }
    }
}

impl Drop for Connection {
    /// A task that panics, or is given up when the server stops, leaves nobody online who is not there.
    fn drop(&mut self) {
        self.go_offline();
    }
}

/// Writes some of what is unsent, or flushes it. May be dropped and called again: what is written is gone from `unsent`.
async fn write(
    writer: &mut WriteHalf<TlsStream<Doorway>>,
    unsent: &mut BytesMut,
    unflushed: &mut bool,
) -> std::io::Result<()> {
    while !unsent.is_empty() {
        *unflushed = true;
        if writer.write_buf(unsent).await? == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the machine its time")]
fn now() -> Instant {
    Instant::now()
}
