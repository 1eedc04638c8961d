//! The way between a client and its session: a socket, and the [`Channel`] over it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt as _;
use identity::TlsError;
use protocol::PublicKey;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};

use crate::{
    channel::{Channel, SEALING},
    gate::Visit,
};

/// Bytes that are read in one go. No record is longer.
const READ_AT_ONCE: usize = 32 * 1024;

thread_local! {
    /// Where what comes from a socket is read to and decrypted, for all connections that this thread serves: between two
    /// reads a connection holds the beginning of a record at most.
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AT_ONCE]);
    /// Where records are sealed. What the socket does not take is kept by the connection.
    static OUTGOING: RefCell<Vec<u8>> = RefCell::new(vec![0; SEALING]);
}

/// A connection over which frames come and go, once the handshake is through.
pub(crate) struct Transport {
    socket: TcpStream,
    channel: Channel,
}

impl Transport {
    /// Carries out the handshake: each step of it takes its turn among those of others, and a client sends no more than
    /// its visit allows.
    ///
    /// # Errors
    /// The socket's, or what is wrong with what the client sends, which the client has been told.
    pub(crate) async fn accept(socket: TcpStream, config: Arc<ServerConfig>, visit: &Visit) -> io::Result<Self> {
        let mut transport = Self { socket, channel: Channel::new(config).map_err(io::Error::other)? };
        let mut is_answered = false;
        while transport.channel.tls().is_handshaking() {
            // Who has sent nothing does not wait for a turn, but for the first: tokio takes each new socket for one that has.
            transport.socket.readable().await?;
            let turn = visit.turn(is_answered).await;
            // All that a handshake computes, it computes on what it has just read.
            let received = poll_fn(|cx| transport.poll_receive(cx, visit)).now_or_never();
            drop(turn);
            if let Some(Err(error)) = received {
                // The alert. Whoever does not take it now is not waited for.
                let _ = transport.socket.try_write(transport.channel.sealed());
                return Err(error);
            }
            if transport.channel.is_over() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !transport.channel.sealed().is_empty() {
                // The first thing that a server writes answers a hello: the client has sent a whole one.
                if !std::mem::replace(&mut is_answered, true) {
                    visit.gets_further();
                }
                poll_fn(|cx| transport.poll_send(cx)).await?;
            }
        }
        visit.gets_further();
        Ok(transport)
    }

    /// The key that the client has proved to hold.
    ///
    /// # Errors
    /// [`TlsError`], of a client that speaks something else than our protocol.
    pub(crate) fn client_key(&self) -> Result<PublicKey, TlsError> {
        identity::client_key(self.channel.tls())
    }

    /// The bytes that wait.
    pub(crate) fn channel(&mut self) -> &mut Channel {
        &mut self.channel
    }

    /// Reads some of what there is, but no more than `visit` allows. [`Channel::is_over`] is to be asked before.
    ///
    /// # Errors
    /// The socket's, and of what does not belong there. Then nothing more comes.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, visit: &Visit) -> Poll<io::Result<()>> {
        let Self { socket, channel } = self;
        INCOMING.with_borrow_mut(|incoming| {
            let mut buffer = ReadBuf::new(channel.room(incoming).unwrap_or_default());
            // Without room nothing can be read, which is as if there were nothing.
            let read = ready!(Pin::new(socket).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            let received = read.and_then(|()| take_in(channel, incoming, count, visit));
            if received.is_err() {
                channel.end();
            }
            Poll::Ready(received)
        })
    }

    /// Sends all that is to be sent: ready when it is. What was sent is gone from it.
    ///
    /// # Errors
    /// The socket's, or that TLS has come to its end.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.channel.sealed().is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, self.channel.sealed()))?;
            self.channel.sent(some(written)?);
        }
        while self.channel.unsent() > 0 {
            ready!(OUTGOING.with_borrow_mut(|outgoing| self.poll_seal_and_send(cx, outgoing)))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Seals frames, and sends them; pending if the socket did not take all.
    fn poll_seal_and_send(&mut self, cx: &mut Context<'_>, outgoing: &mut [u8]) -> Poll<io::Result<()>> {
        let count = self.channel.seal(outgoing).map_err(io::Error::other)?;
        let mut records = outgoing.get(..count).unwrap_or_default();
        while !records.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Ready(written) => records = records.get(some(written?)?..).unwrap_or_default(),
                Poll::Pending => {
                    self.channel.keep(records);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends all that is to be sent, and that it was the last.
    ///
    /// # Errors
    /// As [`Self::poll_send`].
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await?;
        self.channel.close().map_err(io::Error::other)?;
        poll_fn(|cx| self.poll_send(cx)).await?;
        self.socket.shutdown().await
    }
}

/// The bytes that were read, if so many may come.
fn take_in(channel: &mut Channel, incoming: &mut [u8], count: usize, visit: &Visit) -> io::Result<()> {
    if !visit.lets_in(count) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too much before the log-in"));
    }
    channel.take_in(incoming, count).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A socket that takes nothing takes nothing for ever.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}
