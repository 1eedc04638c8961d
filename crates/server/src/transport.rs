//! The way between a client and its session: the socket, TLS over it, and the bytes that wait on either side.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use identity::TlsError;
use protocol::{DecodeError, PublicKey, first_frame};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};

use crate::{
    buffer::Buffer,
    gate::Visit,
    tls::{Opened, Tls, sealed_length},
};

/// Bytes that are read in one go. No record is longer.
const READ_AT_ONCE: usize = 32 * 1024;
/// Bytes of frames that are sealed in one go: two records.
const SEALED_AT_ONCE: usize = 32 * 1024;
/// Bytes that TLS may have to say before those: an answer to a change of keys.
const BEFORE_SEALED: usize = 1024;

thread_local! {
    /// Where what comes from a socket is read to and decrypted, for all connections that this thread serves: between two
    /// reads a connection holds the beginning of a record at most.
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AT_ONCE]);
    /// Where records are sealed. What the socket does not take is kept by the connection.
    static OUTGOING: RefCell<Vec<u8>> =
        RefCell::new(vec![0; BEFORE_SEALED.saturating_add(sealed_length(SEALED_AT_ONCE))]);
}

/// A connection over which frames come and go, once the handshake is through.
pub(crate) struct Transport {
    socket: TcpStream,
    tls: Tls,
    /// The beginning of a record.
    held: Vec<u8>,
    /// Frames that have come and were not taken, the last perhaps in part.
    received: Buffer,
    /// Frames that are to be sent.
    unsent: Buffer,
    /// Records that are to be written before those.
    sealed: Buffer,
    is_over: bool,
}

impl Transport {
    /// Carries out the handshake: each step of it takes its turn among those of others, and a client sends no more than
    /// its visit allows.
    ///
    /// # Errors
    /// The socket's, or what is wrong with what the client sends, which the client has been told.
    pub(crate) async fn accept(socket: TcpStream, config: Arc<ServerConfig>, visit: &Visit) -> io::Result<Self> {
        let tls = Tls::new(config).map_err(io::Error::other)?;
        let [received, unsent, sealed] = [(); 3].map(|()| Buffer::default());
        let mut transport = Self { socket, tls, held: Vec::new(), received, unsent, sealed, is_over: false };
        let mut is_answered = false;
        while transport.tls.state().is_handshaking() {
            // Who has sent nothing does not wait for a turn.
            transport.socket.readable().await?;
            let turn = visit.turn(is_answered).await;
            // All that a handshake computes, it computes on what it has just read.
            let received = transport.receive_now(visit);
            drop(turn);
            if let Err(error) = received {
                // The alert. Whoever does not take it now is not waited for.
                let _ = transport.socket.try_write(transport.sealed.bytes());
                return Err(error);
            }
            if transport.is_over {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !transport.sealed.is_empty() {
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
        identity::client_key(self.tls.state())
    }

    /// Reads some of what there is, but no more than `visit` allows. [`Self::is_over`] is to be asked before.
    ///
    /// # Errors
    /// The socket's, and of what does not belong there. Then nothing more comes.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, visit: &Visit) -> Poll<io::Result<()>> {
        INCOMING.with_borrow_mut(|incoming| {
            let (held, room) = self.room(incoming)?;
            let mut buffer = ReadBuf::new(room);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            let received = read.and_then(|()| self.take_in(incoming, held, count, visit));
            self.is_over |= received.is_err();
            Poll::Ready(received)
        })
    }

    /// As [`Self::poll_receive`], for a socket that is to be asked when it is readable.
    fn receive_now(&mut self, visit: &Visit) -> io::Result<()> {
        INCOMING.with_borrow_mut(|incoming| {
            let (held, room) = self.room(incoming)?;
            match self.socket.try_read(room) {
                Ok(count) => self.take_in(incoming, held, count, visit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    /// Puts the record that has begun to the front of `incoming`. Its length, and the room behind it.
    fn room<'a>(&self, incoming: &'a mut [u8]) -> io::Result<(usize, &'a mut [u8])> {
        match incoming.split_at_mut_checked(self.held.len()) {
            Some((front, room)) if !room.is_empty() => {
                front.copy_from_slice(&self.held);
                Ok((front.len(), room))
            }
            // Pieces of one message that no client of ours sends.
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// `count` bytes were read behind the `held` ones at the front of `incoming`.
    fn take_in(&mut self, incoming: &mut [u8], held: usize, count: usize, visit: &Visit) -> io::Result<()> {
        if count == 0 {
            self.is_over = true;
            return Ok(());
        }
        if !visit.lets_in(count) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too much before the log-in"));
        }
        let records = incoming.get_mut(..held.saturating_add(count)).unwrap_or_default();
        let opened = self.tls.open(records, &mut self.received, &mut self.sealed);
        let Opened { used, is_closed } = opened.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.is_over |= is_closed;
        match records.get(used..).unwrap_or_default() {
            [] => self.held = Vec::new(),
            rest => rest.clone_into(&mut self.held),
        }
        Ok(())
    }

    /// Whether the client sends nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether [`Self::take_frame`] has something to say.
    pub(crate) fn has_frame(&self, max: usize) -> bool {
        !matches!(first_frame(self.received.bytes(), max), Ok(None))
    }

    /// The next frame that is there.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when it is longer than `max`.
    pub(crate) fn take_frame(&mut self, max: usize) -> Result<Option<Bytes>, DecodeError> {
        let Some(frame) = first_frame(self.received.bytes(), max)? else {
            return Ok(None);
        };
        // Copied: a part of a buffer keeps all of it, and a mailbox is bounded by the lengths of the frames in it.
        let frame = Bytes::copy_from_slice(frame);
        self.received.take(frame.len().saturating_add(2));
        Ok(Some(frame))
    }

    /// Puts a frame behind those that are to be sent.
    pub(crate) fn enqueue(&mut self, frame: &[u8]) {
        if let Ok(length) = u16::try_from(frame.len()) {
            self.unsent.put(&length.to_be_bytes());
            self.unsent.put(frame);
        }
    }

    /// Bytes that are to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len().saturating_add(self.sealed.len())
    }

    /// Sends all that is to be sent: ready when it is. What was sent is gone from it.
    ///
    /// # Errors
    /// The socket's, or that TLS has come to its end.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, self.sealed.bytes()))?;
            self.sealed.take(some(written)?);
        }
        while !self.unsent.is_empty() {
            ready!(OUTGOING.with_borrow_mut(|outgoing| self.poll_seal_and_send(cx, outgoing)))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Seals frames, and sends them; pending if the socket did not take all. Nothing may be `sealed` before.
    fn poll_seal_and_send(&mut self, cx: &mut Context<'_>, outgoing: &mut [u8]) -> Poll<io::Result<()>> {
        let plain = self.unsent.bytes();
        let plain = plain.get(..SEALED_AT_ONCE).unwrap_or(plain);
        let count = self.tls.seal(&mut self.held, plain, outgoing).map_err(io::Error::other)?;
        let taken = plain.len();
        self.unsent.take(taken);
        let mut records = outgoing.get(..count).unwrap_or_default();
        while !records.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Ready(written) => records = records.get(some(written?)?..).unwrap_or_default(),
                Poll::Pending => {
                    self.sealed.put(records);
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
        let mut record = vec![0; BEFORE_SEALED];
        let count = self.tls.close(&mut self.held, &mut record).map_err(io::Error::other)?;
        self.sealed.put(record.get(..count).unwrap_or_default());
        poll_fn(|cx| self.poll_send(cx)).await?;
        self.socket.shutdown().await
    }
}

/// A socket that takes nothing takes nothing for ever.
fn some(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}
