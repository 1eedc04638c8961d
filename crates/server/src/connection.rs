//! What carries a session: one task for each connection, from the accepted socket to its end.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use futures_util::FutureExt as _;
use protocol::{Attempt, ChatId, Code, Machine as _, PublicKey, ServerError, UserName, limits::MAX_FRAME};
use tokio::{
    net::TcpStream,
    time::{Instant as Deadline, sleep_until, timeout},
};

use crate::{
    cluster::Registration,
    counters::{Refusal, Relayed},
    gate::Visit,
    known::Moment,
    listener::Relay,
    mailbox::{Inbox, Mailbox, Order, mailbox},
    rate::Spent,
    session::{Input, Output, Session, State},
    signal::{SessionId, Signal, SignalKind, Undelivered},
    transport::Transport,
};

/// Bytes that may wait to be written before a session takes in no more letters.
const MAX_UNSENT: usize = 64 * 1024;
/// Bytes that may wait to be written before a session takes in no more frames of its client, whose answers wait behind
/// them. More than letters can make wait, so that a client that reads slowly is still heard.
const MAX_UNSENT_WITH_ANSWERS: usize = 3 * MAX_UNSENT;
/// Bytes of a frame until the log-in is through: a `Login` with the longest names and a chat.
const MAX_FIRST_FRAME: usize = 112;
/// Letters that are taken in before others have a turn.
const MAX_LETTERS: usize = 64;
/// Frames that are: more than messages of any length fill a read with.
const MAX_FRAMES: usize = 256;
/// Reads for one frame that are made before others have a turn.
const MAX_READS: usize = 2;

/// Serves one connection until it ends. Whatever the other side does, only this connection ends.
pub(crate) async fn serve(socket: TcpStream, visit: Arc<Visit>, relay: Arc<Relay>) {
    // On the heap: it is given back when the handshake is over.
    let handshake = Box::pin(Transport::accept(socket, relay.tls.clone(), &visit));
    let transport = tokio::select! {
        biased;
        () = visit.end().cancelled() => return,
        transport = timeout(relay.config.handshake_timeout, handshake) => match transport {
            Ok(Ok(transport)) => transport,
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
    match transport.client_key() {
        Ok(key) => {
            relay.counters.count_handshake();
            let mut connection = Box::new(Connection::new(transport, key, visit, relay));
            match connection.run().await {
                End::Farewell => connection.close().await,
                End::MadeRoom => tracing::debug!("made room before the log-in"),
            }
        }
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
    /// Of the user whom the last message went to.
    peer: Option<(UserName, Mailbox)>,
    transport: Transport,
    /// Bytes of the longest frame that is taken.
    max_frame: usize,
    /// When this turn began, or the last answer came that it waited for.
    now: Instant,
    /// What the session wants done.
    outputs: Vec<Output>,
    /// What was last noted of what the user has used up.
    spent: Spent,
    /// The removals that had been carried out when the directory was last asked.
    sweep: u64,
    /// What it has relayed, and nobody has counted yet.
    relayed: Relayed,
    /// Whether the census has it in a chat.
    is_chatting: bool,
    /// What it waits for before it goes on.
    awaited: Option<Awaited>,
    /// What is to be done once the user is online.
    deferred: Vec<Output>,
    ending: bool,
}

/// What is waited for before anything else is heard.
enum Awaited {
    /// A look at the directory, for the log-in.
    LogIn(UserName, Option<Moment>),
    /// The other nodes, for the user to be online.
    Registration(UserName, Registration),
    /// Another look, since removals were carried out in the meantime.
    SecondLook(UserName),
    /// The other nodes, for where a user is who seems to be nowhere, and is asked to talk.
    Whereabouts(UserName, Signal),
    /// The time at which a log-in is refused: nothing that the client does may hurry it.
    Refusal,
}

/// How a connection ends.
enum End {
    /// When its client has been told.
    Farewell,
    /// At once: another needs its place.
    MadeRoom,
}

/// What a turn is to deal with.
#[derive(Debug)]
struct Ready {
    /// The server stops, or this connection is to make room.
    is_to_end: bool,
    /// Other sessions have said something, or this one is to end.
    has_mail: bool,
    has_frame: bool,
    is_lost: bool,
    alarm_rings: bool,
}

impl Connection {
    fn new(transport: Transport, key: PublicKey, visit: Arc<Visit>, relay: Arc<Relay>) -> Self {
        let (mailbox, inbox) = mailbox(relay.config.mailbox_frames, relay.config.mailbox_bytes);
        let (id, now) = (relay.next_session(), now());
        Self {
            id,
            session: Session::new(id, key, relay.config.name.clone(), relay.config.patience(), now),
            key,
            registered: None,
            mailbox,
            inbox,
            peer: None,
            transport,
            max_frame: MAX_FIRST_FRAME,
            now,
            outputs: Vec::new(),
            spent: Spent::default(),
            sweep: 0,
            relayed: Relayed::default(),
            is_chatting: false,
            awaited: None,
            deferred: Vec::new(),
            ending: false,
            visit,
            relay,
        }
    }

    /// Turn by turn: all that is ready is dealt with, each kind for so long and no longer, and what comes of it is sent in
    /// one go.
    async fn run(&mut self) -> End {
        let visit = self.visit.clone();
        let (alarm, end) = (sleep_until(Deadline::now()), visit.end().cancelled());
        tokio::pin!(alarm, end);
        while !self.ending {
            // The alarm is moved forward only when it must ring earlier: each frame puts the idle limit off, and an
            // alarm that rings too early costs less than one that is set anew for each frame.
            let deadline = self.session.deadline().map(Deadline::from_std);
            if let Some(deadline) = deadline
                && (alarm.is_elapsed() || deadline < alarm.deadline())
            {
                alarm.as_mut().reset(deadline);
            }
            let ready = poll_fn(|cx| {
                let is_to_end = end.as_mut().poll(cx).is_ready();
                let alarm_rings = deadline.is_some() && alarm.as_mut().poll(cx).is_ready();
                self.poll_ready(cx, is_to_end, alarm_rings)
            });
            let ready = ready.await;
            if ready.is_to_end && !self.relay.stop.is_cancelled() {
                return End::MadeRoom;
            }
            self.now = now();
            self.turn(&ready);
            while let Some(awaited) = self.awaited.take() {
                // On the heap: it comes once, and needs more than all that stands here.
                Box::pin(self.wait_for(awaited)).await;
            }
            // What waits for its next turn holds no memory for what there was in this one.
            self.outputs = Vec::new();
            let is_chatting = matches!(self.session.state(), Some(State::Chatting { .. }));
            if !is_chatting {
                self.peer = None;
            }
            self.is_counted(is_chatting);
            // Others have their turn, at once if this one has more to do than fits into one.
            if self.transport.channel().has_frame(self.max_frame) {
                tokio::task::yield_now().await;
            } else {
                tokio::task::consume_budget().await;
            }
        }
        End::Farewell
    }

    /// Sends what is to be sent, and sees what there is to be done then.
    fn poll_ready(&mut self, cx: &mut Context<'_>, is_to_end: bool, alarm_rings: bool) -> Poll<Ready> {
        let mut is_lost = matches!(self.transport.poll_send(cx), Poll::Ready(Err(_)));
        let unsent = self.transport.channel().unsent();
        let has_mail = self.inbox.poll_ready(cx, unsent < MAX_UNSENT).is_ready();
        let mut has_frame = false;
        // One that another has replaced takes in no more.
        if unsent < MAX_UNSENT_WITH_ANSWERS && !self.inbox.is_to_end() {
            has_frame = self.transport.channel().has_frame(self.max_frame);
            // A read that failed was the last.
            let mut reads = 0..MAX_READS;
            while !has_frame && !is_lost && !self.transport.channel().is_over() {
                if reads.next().is_none() {
                    // It goes on when others have had their turn.
                    cx.waker().wake_by_ref();
                    break;
                }
                if self.transport.poll_receive(cx, &self.visit).is_pending() {
                    break;
                }
                has_frame = self.transport.channel().has_frame(self.max_frame);
            }
            is_lost |= self.transport.channel().is_over() && !has_frame;
        }
        let ready = Ready { is_to_end, has_mail, has_frame, is_lost, alarm_rings };
        if is_to_end || has_mail || has_frame || is_lost || alarm_rings { Poll::Ready(ready) } else { Poll::Pending }
    }

    /// Nothing goes first but the order to end: whoever floods one of these must not keep the others from being heard.
    fn turn(&mut self, ready: &Ready) {
        if ready.is_to_end {
            // That waits behind nothing that is slow.
            return self.end(Input::End(ServerError::ShuttingDown));
        }
        if self.inbox.is_to_end() {
            return match self.inbox.order() {
                Some(Order::End(reason)) => self.end(Input::End(reason)),
                Some(Order::Replaced { held }) => self.end(Input::Replaced { held }),
                None => self.input(Input::Lost),
            };
        }
        if ready.has_mail {
            self.letters();
        }
        if ready.has_frame {
            self.frames();
        }
        if ready.is_lost && self.goes_on() {
            self.input(Input::Lost);
        }
        if ready.alarm_rings && self.goes_on() {
            self.input(Input::Tick);
        }
    }

    /// Whether there is nothing to be waited for before more is taken in.
    fn goes_on(&self) -> bool {
        !self.ending && self.awaited.is_none()
    }

    /// Ends the session. What others have said comes first: it may be a goodbye.
    fn end(&mut self, how: Input) {
        self.letters();
        self.input(how);
    }

    /// Takes in letters, until it is the turn of others.
    fn letters(&mut self) {
        for _ in 0..MAX_LETTERS {
            let Some(letter) = self.inbox.try_receive() else {
                return;
            };
            self.input(Input::Signal(letter));
            // What a session that has ended, by a timer, does not take in is answered when the connection closes.
            if !self.goes_on() || self.transport.channel().unsent() >= MAX_UNSENT {
                return;
            }
        }
    }

    /// Takes in the frames that have come, until it is the turn of others.
    fn frames(&mut self) {
        for _ in 0..MAX_FRAMES {
            let is_full = self.transport.channel().unsent() >= MAX_UNSENT_WITH_ANSWERS;
            if is_full || !self.goes_on() || self.inbox.is_to_end() {
                return;
            }
            match self.transport.channel().take_frame(self.max_frame) {
                Ok(Some(frame)) => self.input(Input::Frame(frame)),
                Ok(None) => return,
                Err(_) => return self.input(Input::End(ServerError::Protocol)),
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.session.handle(input, self.now, &mut self.outputs);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        // What an output brings back is handled before the outputs that come later, and what comes of that is carried out
        // after them, so the order stays a session's.
        let mut outputs = std::mem::take(&mut self.outputs);
        while !outputs.is_empty() {
            for output in outputs.drain(..) {
                match output {
                    _ if self.ending => {}
                    // Until the user is online nobody is told so, and nobody hears of them; and what is said to somebody
                    // comes after what was said before.
                    output if matches!(self.awaited, Some(Awaited::Registration(..) | Awaited::Whereabouts(..))) => {
                        self.deferred.push(output);
                    }
                    Output::Send(frame) => {
                        if frame.first() == Some(&(Code::Message as u8)) {
                            self.relayed.sent.count(&frame);
                        }
                        self.relay.counters.count_frame(&frame, self.registered.is_some());
                        self.transport.channel().enqueue(&frame);
                    }
                    Output::Signal { to, signal } => self.signal(to, signal),
                    Output::LookUp(user) => self.begin_log_in(user),
                    Output::Register { user, attempt, held } => self.register(user, attempt, held),
                    Output::List(page) => {
                        if let Some(user) = self.session.user() {
                            let list = self.relay.router.list(user, &page);
                            self.answer(Input::Listed(list));
                        }
                    }
                    Output::Disconnect => self.ending = true,
                }
            }
            std::mem::swap(&mut outputs, &mut self.outputs);
        }
        self.outputs = outputs;
        self.note_spent();
    }

    /// Whichever session the user has next goes on from what was used up in this one.
    fn note_spent(&mut self) {
        let spent = self.session.spent();
        if let Some(user) = &self.registered
            && spent != std::mem::replace(&mut self.spent, spent)
        {
            self.relay.ledger.note(user, spent, self.now);
        }
    }

    /// What comes back of an output.
    fn answer(&mut self, answer: Input) {
        self.session.handle(answer, self.now, &mut self.outputs);
    }

    fn signal(&mut self, to: UserName, signal: Signal) {
        let (chat, is_repeated) = (signal.chat, signal.kind.is_repeated());
        if let SignalKind::Message(frame) = &signal.kind {
            self.relayed.received.count(frame);
            // At the finest level of logging alone: what the relay gets to see of a message.
            tracing::trace!(target: "relay", frame = %Hex(frame), "message");
        }
        let request = matches!(signal.kind, SignalKind::Request { .. }).then(|| signal.clone());
        let Err(why) = self.pass_on(&to, signal) else {
            return;
        };
        if let (Undelivered::Absent, Some(request), Some(_), None) = (why, request, &self.relay.cluster, &self.awaited)
        {
            // Who has been let in by another node may ask somebody else to be asked before this one has heard of it.
            self.awaited = Some(Awaited::Whereabouts(to, request));
            return;
        }
        self.undelivered(to, chat, is_repeated, why);
    }

    fn undelivered(&mut self, to: UserName, chat: ChatId, is_repeated: bool, why: Undelivered) {
        if why == Undelivered::Absent {
            // Whoever is gone may have said goodbye before, and that comes first: it lies in the mailbox by now.
            let before = self.outputs.len();
            let ends = |outputs: &[Output]| outputs.iter().skip(before).any(|output| *output == Output::Disconnect);
            while !ends(&self.outputs)
                && let Some(letter) = self.inbox.try_receive()
            {
                self.answer(Input::Signal(letter));
            }
        }
        self.answer(Input::Undelivered { to, chat, is_repeated, why });
    }

    fn begin_log_in(&mut self, user: UserName) {
        self.visit.gets_further();
        self.sweep = self.relay.sweeps();
        let stamp = self.relay.directory.stamp(calendar());
        let moment = stamp.map(|stamp| Moment { sweep: self.sweep, stamp });
        if self.relay.known.has(&user, &self.key, moment) {
            return self.answer(Input::Registered(Some(Some(self.key))));
        }
        self.awaited = Some(Awaited::LogIn(user, moment));
    }

    fn register(&mut self, user: UserName, attempt: Attempt, held: Option<ChatId>) {
        if !self.visit.logs_in() {
            // It has just had to make room.
            self.ending = true;
            return;
        }
        self.max_frame = MAX_FRAME;
        let (id, key, mailbox) = (self.id, self.key, self.mailbox.clone());
        self.registered = Some(user.clone());
        self.relay.census.enters(id, mailbox.clone());
        match &self.relay.cluster {
            None => {
                self.relay.router.register(user.clone(), id, attempt, key, mailbox, held);
                self.is_online(user);
            }
            Some(cluster) => {
                let registration = cluster.register(user.clone(), id, attempt, key, mailbox, held);
                self.awaited = Some(Awaited::Registration(user, registration));
            }
        }
    }

    fn is_online(&mut self, user: UserName) {
        self.relay.counters.count_log_in();
        let moved_on = self.sweep != self.relay.sweeps();
        self.answer(Input::Spent(self.relay.ledger.of(&user)));
        // A removal that was carried out between the look-up and now did not find this session.
        self.awaited = moved_on.then_some(Awaited::SecondLook(user));
    }

    async fn wait_for(&mut self, awaited: Awaited) {
        let deadline = self.session.deadline().map_or_else(Deadline::now, Deadline::from_std);
        let answer = match awaited {
            Awaited::LogIn(user, moment) => tokio::select! {
                biased;
                () = self.visit.end().cancelled() => return,
                answer = self.look_up(&user, moment) => Input::Registered(answer),
                () = sleep_until(deadline) => Input::Tick,
            },
            Awaited::Registration(user, registration) => {
                let is_online = tokio::select! {
                    biased;
                    // What others have said already does not come before it is told that it is logged in.
                    () = self.visit.end().cancelled() => return self.go_offline(),
                    // Without an answer, whoever had to give it is gone.
                    answer = registration => matches!(answer, Ok(Ok(()))),
                };
                self.now = now();
                let deferred = std::mem::take(&mut self.deferred);
                if is_online {
                    self.outputs = deferred;
                    self.is_online(user);
                    return self.carry_out();
                }
                self.go_offline();
                // It is not to be told that it is logged in.
                return self.input(Input::End(ServerError::Unavailable));
            }
            Awaited::SecondLook(user) => Input::Registered(self.look_up(&user, None).await),
            Awaited::Whereabouts(to, request) => return self.ask_elsewhere(to, request).await,
            Awaited::Refusal => tokio::select! {
                biased;
                () = self.visit.end().cancelled() => return,
                () = sleep_until(deadline) => Input::Tick,
            },
        };
        self.now = now();
        self.input(answer);
        if self.goes_on() && self.session.user().is_none() {
            self.awaited = Some(Awaited::Refusal);
        }
    }

    /// Passes on a request to somebody of whom this node has not heard.
    async fn ask_elsewhere(&mut self, to: UserName, request: Signal) {
        let found = match &self.relay.cluster {
            Some(cluster) => tokio::select! {
                biased;
                () = self.visit.end().cancelled() => None,
                found = cluster.find(&to) => found,
            },
            None => None,
        };
        self.now = now();
        let chat = request.chat;
        let sent = found.ok_or(Undelivered::Absent).and_then(|node| self.relay.router.send_by(node, &to, request));
        if let Err(why) = sent {
            self.undelivered(to, chat, false, why);
        }
        self.outputs.append(&mut self.deferred);
        self.carry_out();
    }

    /// Gives the session of `to` the signal. A message goes to the mailbox where the last one went, unless that is no
    /// longer the one of the user's session.
    fn pass_on(&mut self, to: &UserName, signal: Signal) -> Result<(), Undelivered> {
        if !matches!(signal.kind, SignalKind::Message(_)) {
            return self.relay.router.send(to, signal);
        }
        if !self.peer.as_ref().is_some_and(|(peer, mailbox)| peer == to && mailbox.is_current()) {
            self.peer = self.relay.router.mailbox(to).map(|mailbox| (to.clone(), mailbox));
        }
        match &self.peer {
            Some((_, mailbox)) => mailbox.send(signal),
            None => self.relay.router.send(to, signal),
        }
    }

    /// What the directory says, which is noted as true of `moment`, before which it must not have been asked.
    async fn look_up(&self, user: &UserName, moment: Option<Moment>) -> Option<Option<PublicKey>> {
        let found = self.relay.directory.key_of(user).await;
        if let Ok(Some(key)) = found {
            self.relay.known.note(user, key, moment);
        }
        // Strangers can ask for this again and again; the watch on the directory says it where the operator looks.
        found.inspect_err(|error| tracing::debug!(%error, "the directory cannot be asked")).ok()
    }

    async fn close(&mut self) {
        self.go_offline();
        // A client that does not read what it is told is not waited for.
        let farewell = timeout(self.relay.config.shutdown_timeout, self.transport.close());
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
            self.is_counted(false);
            self.relay.census.leaves(self.id);
        }
    }

    /// What there is to count of a turn, which all connections count in one place: once for all of its frames.
    fn is_counted(&mut self, is_chatting: bool) {
        let relayed = std::mem::take(&mut self.relayed);
        if relayed != Relayed::default() {
            self.relay.counters.count_relayed(relayed);
        }
        if is_chatting != std::mem::replace(&mut self.is_chatting, is_chatting) {
            self.relay.census.counts_chatting(is_chatting);
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

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands out the time")]
fn calendar() -> SystemTime {
    SystemTime::now()
}
