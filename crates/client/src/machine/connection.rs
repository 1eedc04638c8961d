//! The connection to the server: made for a log-in, watched, lost, and made again.

use std::time::{Duration, Instant};

use e2e::{Own, Rng};
use protocol::{Attempt, ClientId, Close, CloseReason, Login, ServerName, ToServer};

use super::{Client, Leaving, Output, Phase, State, Timer, error, send};
use crate::{Ending, ErrorCode, Event, Failure};

/// For the server's answer to a log-in.
const LOG_IN: Duration = Duration::from_secs(15);
/// Between two pings: the server answers each, and takes a client for gone that has sent nothing for long.
const PING: Duration = Duration::from_secs(6);
/// From a ping to any frame of the server's, without which the user is told.
const SILENT: Duration = Duration::from_secs(2);
/// From a ping to any frame of the server's, without which the connection counts as dead.
const DEAD: Duration = Duration::from_secs(8);
/// The same where there is reason to doubt that the connection still stands.
const DOUBTFUL: Duration = Duration::from_secs(3);
/// From the first attempt that failed to the next. Each further wait is longer by half than the one before, so that a
/// network which comes back is found within half the time that it was gone for, and both sides are soon there together.
const RETRY: Duration = Duration::from_millis(100);
/// The longest of these waits. All are shortened or lengthened by up to a quarter at random.
const MAX_RETRY: Duration = Duration::from_secs(10);
/// The longest of them in a chat while nobody is there: the other side waits, and an attempt costs the server nothing
/// before it is there. With what is added at random and a log-in, both sides are back a second after it is.
const MAX_RETRY_IN_CHAT: Duration = Duration::from_millis(750);
/// How many attempts that failed in a row may be followed by so short a wait: those of a minute, after which the server
/// ends the chats whose clients are gone.
const RETRIES_IN_CHAT: u32 = 90;
/// After the word that the server stops, at least and at most. Another may be there in its place at once; not all of its
/// clients are to come in the same moment, where it tells all of them in one.
const RESTART_AT_LEAST: Duration = Duration::from_millis(50);
const RESTART_AT_MOST: Duration = Duration::from_millis(500);
/// Online, until attempts that failed no longer count: a server that lets in and drops at once is not hammered.
const STABLE: Duration = Duration::from_millis(500);

/// Between two attempts that are made anew because the network has changed: one that does so all the time, as somebody
/// in it may want, leaves them time to succeed.
const REROUTE: Duration = Duration::from_secs(1);

/// What a connection is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The first log-in. If it fails so does the client: its user may have to mend what it was given.
    LogIn,
    /// The log-in after a `/leave`, which worked before and so is tried again.
    ComeBack,
    /// To be online again, until it works or the user leaves.
    Reconnect,
}

/// The attempts at a connection that failed, or did not hold.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
    /// Whether nobody was there at the last one.
    is_unanswered: bool,
    /// What the user was told of the one who is there in the server's place.
    told: Option<ErrorCode>,
}

impl Attempts {
    /// How long to wait before the next attempt. `first_wait`: for the first one, which is not owed to a failure.
    /// `in_chat`: whether somebody waits for the user to be back.
    fn next(&mut self, first_wait: Duration, in_chat: bool, rng: Rng<'_>) -> Duration {
        let failed = self.failed;
        self.failed = failed.saturating_add(1);
        if failed == 0 {
            return first_wait;
        }
        let is_short = in_chat && self.is_unanswered && failed <= RETRIES_IN_CHAT;
        let most = if is_short { MAX_RETRY_IN_CHAT } else { MAX_RETRY };
        // Cut off where the longest wait is long reached.
        let longer = |wait: Duration, _| wait.saturating_add(wait.checked_div(2).unwrap_or_default()).min(most);
        let wait = (1..failed.min(32)).fold(RETRY, longer);
        let part = wait.checked_div(4).unwrap_or_default();
        between(wait.saturating_sub(part), wait.saturating_add(part), rng)
    }
}

impl Client {
    pub(super) fn connect(&mut self, purpose: Purpose, out: &mut Vec<Output>) {
        if purpose != Purpose::Reconnect {
            out.push(Output::Event(Event::Connecting));
        }
        self.phase = Phase::Connecting { purpose };
        self.is_by_old_way = false;
        self.attempts.is_unanswered = false;
        out.push(Output::Connect);
    }

    pub(super) fn unanswered(&mut self, failure: Failure, now: Instant, out: &mut Vec<Output>) {
        self.attempts.is_unanswered = true;
        self.not_connected(failure, now, out);
    }

    pub(super) fn connected(&mut self, negotiated: identity::Negotiated, now: Instant, out: &mut Vec<Output>) {
        let Phase::Connecting { purpose } = self.phase else {
            return;
        };
        if purpose != Purpose::Reconnect {
            out.push(Output::Event(Event::Connected));
        }
        let held = self.state.conversation().map(|conversation| conversation.held());
        let chat = held.as_ref().map(|held| held.resume.chat);
        self.phase = Phase::LoggingIn { purpose, negotiated, held: chat, claimed: None };
        self.timers.start_after(Timer::LogIn, now, LOG_IN);
        let attempt = self.log_in();
        send(out, &ToServer::Login(Login { user: self.user.clone(), attempt, held }));
    }

    /// Which log-in of this client's the one is that goes out now, so that the server knows one that comes late from the
    /// last.
    fn log_in(&mut self) -> Attempt {
        let attempt = self.next_log_in.unwrap_or_else(|| {
            let mut id = [0; 16];
            self.rng.fill_bytes(&mut id);
            Attempt::first(ClientId::from_bytes(id))
        });
        self.next_log_in = Some(attempt.next());
        attempt
    }

    pub(super) fn not_connected(&mut self, failure: Failure, now: Instant, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Connecting { .. } if failure.code == ErrorCode::Unreachable => {
                self.lost(&failure.message, Duration::ZERO, now, out);
            }
            // Whoever is at the server's address now, as the log-in page of a foreign network is, has been sent nothing.
            // The server itself may be there again soon, and is no less trusted for that.
            Phase::Connecting { purpose: Purpose::ComeBack | Purpose::Reconnect }
                if matches!(failure.code, ErrorCode::UntrustedServer | ErrorCode::Protocol) =>
            {
                let Failure { code, message } = failure;
                if self.attempts.told.replace(code) != Some(code) {
                    error(out, code, &message);
                }
                self.phase = Phase::Connecting { purpose: Purpose::Reconnect };
                self.lost(&message, Duration::ZERO, now, out);
            }
            Phase::Connecting { .. } => self.fail(failure, out),
            _ => {}
        }
    }

    pub(super) fn server_name_checked(&mut self, checked: Result<(), Failure>, now: Instant, out: &mut Vec<Output>) {
        let Phase::LoggingIn { negotiated, held, claimed: Some(server), .. } = &self.phase else {
            return;
        };
        let held = *held;
        if let Err(failure) = checked.and_then(|()| self.is_as_before(server)) {
            return self.fail(failure, out);
        }
        // Whoever was told of a log-off, by a /leave whose way back took long, is told of a log-in.
        out.push(Output::Event(match self.own {
            Some(_) => Event::Reconnected,
            None => Event::LoggedIn {
                user: self.user.to_string(),
                server: server.to_string(),
                group: negotiated.group.clone(),
                suite: negotiated.suite.clone(),
            },
        }));
        self.own = Some(Own::new(self.user.clone(), server.clone(), self.key.clone()));
        self.phase = Phase::Online;
        self.attempts.told = None;
        self.timers.stop(Timer::LogIn);
        self.timers.start_after(Timer::Ping, now, PING);
        self.timers.start_after(Timer::Stable, now, STABLE);
        if let Some(chat) = held.filter(|chat| self.state.chat() != Some(*chat)) {
            // It has ended since the log-in went out, and the server took it up.
            send(out, &ToServer::ChatClosed(Close { chat, reason: CloseReason::Left }));
        }
        self.await_peer(now);
        // What follows a /leave among them waits for the log-in after it.
        self.do_what_waited(now, out);
    }

    /// Pins and safety numbers are of people on one server, so it keeps its name while the user is logged in.
    fn is_as_before(&self, server: &ServerName) -> Result<(), Failure> {
        match self.own.as_ref().map(|own| &own.member().server) {
            Some(before) if before != server => {
                let message = format!("the server called itself {before} before, and now {server}; ask its operator");
                Err(Failure::new(ErrorCode::UntrustedServer, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the connection was lost and the client is on its way back, so that commands are not kept for the log-in.
    pub(super) fn is_reconnecting(&self) -> bool {
        matches!(
            self.phase,
            Phase::Waiting
                | Phase::Connecting { purpose: Purpose::Reconnect }
                | Phase::LoggingIn { purpose: Purpose::Reconnect, .. }
        )
    }

    /// Whether there is a connection; what comes late from one that was ended from here means nothing.
    pub(super) fn has_connection(&self) -> bool {
        matches!(self.phase, Phase::LoggingIn { .. } | Phase::Online)
    }

    /// Something came from the server: it is there.
    pub(super) fn heard(&mut self, out: &mut Vec<Output>) {
        self.timers.stop(Timer::Silent);
        self.timers.stop(Timer::Dead);
        if std::mem::take(&mut self.said_silent) {
            out.push(Output::Event(Event::ServerHeard));
        }
    }

    /// Nothing came from the server for a while.
    pub(super) fn silent(&mut self, out: &mut Vec<Output>) {
        // Whoever was held up has asked again, and may have told of it before.
        if !std::mem::replace(&mut self.said_silent, true) {
            out.push(Output::Event(Event::ServerSilent));
        }
    }

    pub(super) fn ping(&mut self, now: Instant, out: &mut Vec<Output>) {
        send(out, &ToServer::Ping);
        self.timers.start_after(Timer::Ping, now, PING);
        // Counted from the ping, not from the last frame: a process that was held up asks before it judges.
        if !self.timers.is_running(Timer::Dead) {
            self.timers.start_after(Timer::Dead, now, DEAD);
            self.timers.start_after(Timer::Silent, now, SILENT);
        }
    }

    /// The connection is gone, for a reason that the network may have.
    pub(super) fn cut(&mut self, what: &str, now: Instant, out: &mut Vec<Output>) {
        self.lost(&format!("{what}; if that happens again, check the network"), Duration::ZERO, now, out);
    }

    /// How long to wait for a server that stops, if nothing else says so.
    pub(super) fn wait_for_restart(&mut self) -> Duration {
        between(RESTART_AT_LEAST, RESTART_AT_MOST, &mut *self.rng)
    }

    /// The connection is gone, or could not be made, and may come back: `why`, for people, and how long to wait unless
    /// an attempt failed before.
    pub(super) fn lost(&mut self, why: &str, first_wait: Duration, now: Instant, out: &mut Vec<Output>) {
        let why = Failure::new(ErrorCode::Unreachable, why);
        match &self.phase {
            Phase::Idle | Phase::Waiting | Phase::Ended => return,
            Phase::Connecting { purpose: Purpose::LogIn } | Phase::LoggingIn { purpose: Purpose::LogIn, .. } => {
                return self.fail(why, out);
            }
            // It was to end anyway, to come back or not; but a goodbye is worth another connection.
            Phase::Online if self.leaving.is_some() && !matches!(self.state, State::Chatting(_)) => {
                self.end_chat(Ending::Lost, None, out);
                return self.log_off(out);
            }
            Phase::Online => out.push(Output::Event(why.into())),
            Phase::Connecting { purpose } | Phase::LoggingIn { purpose, .. } => {
                // Told once, not for each attempt.
                if *purpose == Purpose::ComeBack {
                    out.push(Output::Event(why.into()));
                }
                // An attempt that the user asked for has failed no less.
                self.attempts.failed = self.attempts.failed.max(1);
            }
        }
        let in_chat = match self.state.conversation() {
            Some(conversation) => {
                conversation.breaks();
                true
            }
            None => {
                self.end_chat(Ending::Lost, None, out);
                false
            }
        };
        self.stop_what_needs_a_connection();
        let wait = self.attempts.next(first_wait, in_chat, &mut *self.rng);
        let in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        out.extend([Output::Abandon, Output::Event(Event::Reconnecting { in_ms })]);
        if wait.is_zero() {
            self.connect(Purpose::Reconnect, out);
        } else {
            self.phase = Phase::Waiting;
            self.timers.start_after(Timer::Reconnect, now, wait);
        }
        // Of a way back after a /leave, which has turned out to be long.
        self.do_what_waited(now, out);
    }

    /// What is about the chat goes on: its set-up does not take for ever, a renewal becomes due, a leave comes to its end.
    fn stop_what_needs_a_connection(&mut self) {
        for timer in
            [Timer::LogIn, Timer::Stable, Timer::Ping, Timer::Silent, Timer::Dead, Timer::Receipt, Timer::Behind]
        {
            self.timers.stop(timer);
        }
        self.said_silent = false;
        self.lists_asked.clear();
    }

    /// The connection may have died unnoticed: while nobody looked at it for a while, or with the network that it went
    /// through. The server is asked before that is judged, but need not be waited for as long as otherwise.
    pub(super) fn doubt(&mut self, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Online) {
            self.timers.stop(Timer::Silent);
            self.timers.stop(Timer::Dead);
            self.ping(now, out);
            self.timers.start_after(Timer::Dead, now, DOUBTFUL);
        }
    }

    /// Attempts go out at once, by the new way.
    pub(super) fn network_changed(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.phase {
            // One that was asked already is waited for.
            Phase::Online if self.timers.is_running(Timer::Dead) => {}
            Phase::Online => self.doubt(now, out),
            // Whoever has the network change all the time neither makes attempts follow one another, nor cuts them short.
            Phase::Waiting | Phase::Connecting { .. } if self.timers.is_running(Timer::Reroute) => {
                self.is_by_old_way = true;
            }
            Phase::Waiting | Phase::Connecting { .. } => self.reroute(now, out),
            Phase::Idle | Phase::LoggingIn { .. } | Phase::Ended => {}
        }
    }

    fn reroute(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.is_by_old_way = false;
        self.timers.start_after(Timer::Reroute, now, REROUTE);
        if matches!(self.phase, Phase::Waiting) {
            self.timers.stop(Timer::Reconnect);
            out.push(Output::Event(Event::Reconnecting { in_ms: 0 }));
            self.connect(Purpose::Reconnect, out);
        } else {
            out.extend([Output::Abandon, Output::Connect]);
        }
    }

    /// An attempt may be made anew again, and is if the network has changed since it began.
    pub(super) fn rerouted(&mut self, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Waiting | Phase::Connecting { .. }) && self.is_by_old_way {
            self.reroute(now, out);
        }
    }

    pub(super) fn do_what_waited(&mut self, now: Instant, out: &mut Vec<Output>) {
        for command in std::mem::take(&mut self.early) {
            self.command(command, now, out);
        }
    }

    /// Ends the client: it cannot go on.
    pub(super) fn fail(&mut self, failure: Failure, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Ended) {
            self.end_chat(Ending::Lost, None, out);
            self.end([Output::Disconnect, Output::Quit(Some(failure))], out);
        }
    }

    /// Ends the client, which is not online, because the user wants it.
    pub(super) fn give_up(&mut self, out: &mut Vec<Output>) {
        let unfinished = self.unfinished.take();
        self.end([Output::Abandon, Output::Quit(unfinished)], out);
    }

    fn end(&mut self, last: [Output; 2], out: &mut Vec<Output>) {
        if self.own.take().is_some() {
            out.push(Output::Event(Event::LoggedOut));
        }
        self.leaving = None;
        self.timers.stop_all();
        self.said_silent = false;
        self.phase = Phase::Ended;
        out.extend(last);
    }

    /// Logs off and ends, or comes back, as the user wanted.
    pub(super) fn log_off(&mut self, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Online) {
            return;
        }
        let comes_back = self.leaving.take() == Some(Leaving::ToComeBack);
        self.timers.stop_all();
        self.said_silent = false;
        self.lists_asked.clear();
        self.own = None;
        send(out, &ToServer::Exit);
        out.extend([Output::Disconnect, Output::Event(Event::LoggedOut)]);
        if comes_back {
            self.connect(Purpose::ComeBack, out);
        } else {
            self.phase = Phase::Ended;
            out.push(Output::Quit(self.unfinished.take()));
        }
    }
}

/// A time from `least` to `most`, in whole milliseconds: as much as the user is told.
fn between(least: Duration, most: Duration, rng: Rng<'_>) -> Duration {
    let [least, most] = [least, most].map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let span = most.saturating_sub(least).saturating_add(1);
    Duration::from_millis(least.saturating_add(rng.next_u64().checked_rem(span).unwrap_or(0)))
}
