use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use e2e::Member;
use futures_util::{SinkExt, StreamExt as _};
use identity::{PinError, PinFile};
use protocol::{Machine as _, ServerName, UserName};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant as Deadline, sleep_until, timeout},
};
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use crate::{
    Account, Client, Command, Connection, ErrorCode, Event, Failure, Input, NoConnection, Output, connect::connect,
    network::Network,
};

/// Frames on their way to the socket. The window of a chat lets far fewer be there; a server that leaves so many
/// unread is gone.
const MAX_UNSENT: usize = 1024;
/// For the last frames to leave before the connection is dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a client from log-in to log-off, through as many connections as it takes: takes what the user wants from
/// `commands`, whose end is [`Command::Exit`], and puts what the user gets to know into `events`. When `stop` is
/// cancelled it says goodbye at once.
///
/// # Errors
/// The [`Failure`] that ended the client, which is not among the events.
pub async fn run(
    account: Account,
    rng: Box<dyn rand_core::CryptoRng + Send>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let machine = Client::new(account.user.clone(), account.key.clone(), rng);
    Driver { account, machine, link: None, connecting: None, events, stop, quit: None }.run(commands).await
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, NoConnection>> + Send>>;

struct Driver {
    account: Account,
    machine: Client,
    link: Option<Link>,
    connecting: Option<Connecting>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    quit: Option<Result<(), Failure>>,
}

/// A connection with the task that writes to it.
struct Link {
    frames: FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>,
    certificate: CertificateDer<'static>,
    unsent: mpsc::Sender<Bytes>,
    writer: JoinHandle<WriteHalf<TlsStream<TcpStream>>>,
    broken: bool,
}

impl Driver {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let mut network = Network::listen();
        self.input(Input::Start).await;
        let (mut may_command, mut may_stop) = (true, true);
        loop {
            if let Some(result) = self.quit.take() {
                return result;
            }
            let deadline = self.machine.deadline().map(Deadline::from_std);
            let is_ready = may_command && self.machine.is_ready();
            // Nothing goes first: a server that floods must not keep the user from being heard.
            let input = tokio::select! {
                // The order to stop: leave, and for the second time, so at once.
                () = stop.cancelled(), if may_stop => {
                    may_stop = false;
                    self.input(Input::Command(Command::Exit)).await;
                    Input::Command(Command::Exit)
                }
                // The server.
                frame = next_frame(&mut self.link), if self.link.is_some() => frame.map_or(Input::Lost, Input::Frame),
                // A connection that was asked for.
                connection = wait_for(&mut self.connecting), if self.connecting.is_some() => {
                    self.connecting = None;
                    self.connected(connection)
                }
                // The user.
                command = commands.recv(), if is_ready => {
                    may_command = command.is_some();
                    Input::Command(command.unwrap_or(Command::Exit))
                }
                // The system.
                () = network.changed() => Input::NetworkChanged,
                // Time.
                () = sleep_until(deadline.unwrap_or_else(Deadline::now)), if deadline.is_some() => Input::Tick,
            };
            if matches!(input, Input::Lost) {
                self.abandon();
            }
            self.input(input).await;
        }
    }

    fn abandon(&mut self) {
        self.connecting = None;
        if let Some(link) = self.link.take() {
            link.writer.abort();
        }
    }

    fn connected(&mut self, connection: Result<Connection, NoConnection>) -> Input {
        match connection {
            Ok(Connection { stream, certificate, negotiated }) => {
                self.link = Some(Link::new(stream, certificate));
                Input::Connected { negotiated }
            }
            Err(NoConnection::Unanswered(failure)) => Input::Unanswered(failure),
            Err(NoConnection::Failed(failure)) => Input::NotConnected(failure),
        }
    }

    async fn input(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.machine.handle(input, now(), &mut out);
            for output in out {
                let is_pin = matches!(output, Output::StorePin(_));
                let answer = self.carry_out(output).await;
                let failed = is_pin && answer.is_some();
                inputs.extend(answer);
                if failed {
                    // What comes after a pin, the start of the chat, is not so.
                    break;
                }
            }
        }
    }

    async fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Connect => {
                let account = self.account.clone();
                self.connecting = Some(Box::pin(async move { connect(&account).await }));
                None
            }
            Output::Send(frame) => {
                // A writer that has ended is no reason to stop reading: the server's last word, why it ended the
                // connection, may still be to come.
                if let Some(link) = &mut self.link
                    && let Err(mpsc::error::TrySendError::Full(_)) = link.unsent.try_send(frame)
                {
                    link.broken = true;
                }
                None
            }
            Output::Disconnect => {
                self.connecting = None;
                if let Some(link) = self.link.take() {
                    link.finish().await;
                }
                None
            }
            Output::Abandon => {
                self.abandon();
                None
            }
            Output::CheckServerName(name) => {
                let link = self.link.as_ref()?;
                Some(Input::ServerNameChecked(check_server_name(&link.certificate, &self.account.pins, &name)))
            }
            Output::LookUpPin(user, server) => Some(match self.account.pins.get(&user, &server) {
                Ok(pin) => Input::Pin(pin),
                Err(error) => Input::FileFailed(unusable(error)),
            }),
            Output::StorePin(member) => {
                let error = self.account.pins.pin(&member.user, &member.server, &member.key).err()?;
                Some(Input::FileFailed(unusable(error)))
            }
            Output::MarkVerified(member) => {
                let result = mark_verified(&self.account.pins, &member);
                Some(Input::Marked(member.user, result))
            }
            Output::ForgetPin(user, server) => {
                let result = forget(&self.account.pins, &user, &server);
                Some(Input::Forgotten(user, result))
            }
            Output::Event(event) => {
                tell(&self.events, event, &self.stop).await;
                None
            }
            Output::Quit(failure) => {
                self.quit = Some(failure.map_or(Ok(()), Err));
                None
            }
        }
    }
}

impl Link {
    fn new(stream: TlsStream<TcpStream>, certificate: CertificateDer<'static>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (unsent, queue) = mpsc::channel(MAX_UNSENT);
        Self {
            frames: FramedRead::new(reader, protocol::frame_codec()),
            certificate,
            unsent,
            writer: tokio::spawn(write(writer, queue)),
            broken: false,
        }
    }

    /// Lets the last frames out, then waits for the server to end the connection. Were it closed here first, with
    /// something of the server's unread, it would be reset, and a goodbye on its way could go with it.
    async fn finish(self) {
        let Self { mut frames, unsent, mut writer, .. } = self;
        drop(unsent);
        let abort = writer.abort_handle();
        let taken_leave = async {
            // A server that cannot get rid of what it has to say may take in nothing either.
            let written = loop {
                tokio::select! {
                    written = &mut writer => break written,
                    frame = frames.next() => if !matches!(frame, Some(Ok(_))) {
                        break (&mut writer).await;
                    },
                }
            };
            let Ok(writer) = written else { return };
            let mut stream = frames.into_inner().unsplit(writer);
            // The server may be gone already; there is nobody to tell.
            let _ = stream.shutdown().await;
            // Read below TLS: after its own farewell rustls must not come upon a damaged record, which it answers with
            // an alert, and it asserts that a farewell is the last (rustls issue 959).
            let (mut socket, _) = stream.into_inner();
            while let Ok(1..) = socket.read(&mut [0; 4096]).await {}
        };
        // What cannot leave in time is lost with the connection; the user has been told what is undelivered.
        if timeout(FAREWELL, taken_leave).await.is_err() {
            abort.abort();
        }
    }
}

/// Hands the face an event. One that does not take it holds the client up until it is told to stop, no longer.
async fn tell(events: &mpsc::Sender<Event>, event: Event, stop: &CancellationToken) {
    tokio::select! {
        biased;
        // A face that is gone has nobody left to tell; its end of input ends the client.
        place = events.reserve() => {
            if let Ok(place) = place {
                place.send(event);
            }
        }
        () = stop.cancelled() => {}
    }
}

/// Whether the server may call itself `name`. A certificate can bear several names, and under another name a server
/// could hand out other keys for people whose keys are pinned: so a profile with pins keeps to the name they stand under.
fn check_server_name(certificate: &CertificateDer<'_>, pins: &PinFile, name: &ServerName) -> Result<(), Failure> {
    if !identity::certificate_bears(certificate, name) {
        let message = "the server gives itself a name that its certificate does not bear; ask its operator";
        return Err(Failure::new(ErrorCode::UntrustedServer, message));
    }
    let pinned = pins.list().map_err(unusable)?;
    match pinned.first() {
        Some((_, before, _)) if !pinned.iter().any(|(_, server, _)| server == name) => Err(Failure::new(
            ErrorCode::UntrustedServer,
            format!(
                "this profile's pins are of people on {before}, and the server now calls itself {name}; ask its \
                 operator, and if that is so, `sottovoce pins forget NAME --profile DIR` for each"
            ),
        )),
        _ => Ok(()),
    }
}

/// Notes that the key of `member` was verified. A chat that runs has been checked against its pin and can go on if that
/// fails; the next one finds out whether the file can be used.
fn mark_verified(pins: &PinFile, member: &Member) -> Result<(), Failure> {
    let Member { user, server, key } = member;
    pins.verify(user, server, key).map(drop).map_err(|error| match error {
        // Another program has changed it since the chat began.
        PinError::Changed | PinError::NoPin => Failure::new(
            ErrorCode::KeyChanged,
            format!(
                "the key of {user} in this chat is no longer the one that is pinned, so nothing was noted; end the chat \
                 and see `sottovoce pins list --profile DIR`"
            ),
        ),
        _ => unusable(error),
    })
}

fn forget(pins: &PinFile, user: &UserName, server: &ServerName) -> Result<(), Failure> {
    pins.forget(user, server).map(drop).map_err(|error| match error {
        PinError::NoPin => Failure::new(
            ErrorCode::BadName,
            format!(
                "no key of {user} is pinned, so there is none to forget; `sottovoce pins list --profile DIR` has all"
            ),
        ),
        error => unusable(error),
    })
}

fn unusable(error: PinError) -> Failure {
    Failure::new(ErrorCode::BadFile, error)
}

/// Writes all that is ready, then flushes, until the queue ends or the connection does.
async fn write(
    writer: WriteHalf<TlsStream<TcpStream>>,
    mut queue: mpsc::Receiver<Bytes>,
) -> WriteHalf<TlsStream<TcpStream>> {
    let mut sink = FramedWrite::new(writer, protocol::frame_codec());
    while let Some(frame) = queue.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if sink.feed(frame).await.is_err() {
                return sink.into_inner();
            }
            next = queue.try_recv().ok();
        }
        if SinkExt::<Bytes>::flush(&mut sink).await.is_err() {
            break;
        }
    }
    sink.into_inner()
}

/// The next frame; `None` when the connection has ended.
async fn next_frame(link: &mut Option<Link>) -> Option<Bytes> {
    let link = link.as_mut()?;
    if link.broken {
        return None;
    }
    Some(link.frames.next().await?.ok()?.freeze())
}

async fn wait_for(connecting: &mut Option<Connecting>) -> Result<Connection, NoConnection> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver that hands the machine its time")]
fn now() -> Instant {
    Instant::now()
}
