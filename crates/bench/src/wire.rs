//! The protocols that the load generator speaks, behind one trait, and the line that a log-in is spoken on.

pub(crate) mod irc;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod pipe;
pub(crate) mod sottovoce;
pub(crate) mod xmpp;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ClientConnection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{connect::Tls, fault::Fault};

/// A server that is silent for longer has lost something.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that says more than this without what is waited for does not speak the protocol.
const MAX_ANSWER: usize = 1 << 20;

/// A protocol in which two who are logged in exchange messages. Users are numbers; 2n and 2n + 1 are a pair.
pub(crate) trait Protocol: Sync {
    /// What speaks for one end of a pair.
    type Talker: Talker;

    /// How connections are protected.
    fn tls(&self) -> Tls;

    /// Whether the server says a line before TLS begins.
    fn greets(&self) -> bool {
        false
    }

    /// Says who the user is, and waits until the server has let him in.
    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault>;

    /// Takes leave, so that the server ends the connection.
    async fn log_off(&self, line: &mut Line) -> Result<(), Fault>;

    /// Shows that a user who does nothing is there, and waits for the answer, where the protocol's clients do so by
    /// themselves.
    async fn show_life(&self, _line: &mut Line) -> Result<(), Fault> {
        Ok(())
    }

    /// Has two who are logged in begin to talk: what speaks for each of them.
    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Self::Talker, Self::Talker), Fault>;
}

/// One of two who begin to talk.
pub(crate) struct End<'a> {
    /// The connection of the user.
    pub(crate) line: &'a mut Line,
    /// The number of the user.
    pub(crate) user: u64,
}

/// Writes and reads messages of one end of a pair. Reads and writes no socket.
pub(crate) trait Talker: Send {
    /// Puts a message with this payload behind what is in `out`.
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>);

    /// Hands `take` the payload of each message that is whole in `bytes`, and puts what the server wants to hear behind
    /// what is in `answers`. Gives how many bytes were used up.
    fn read(
        &mut self,
        bytes: &[u8],
        take: impl FnMut(&[u8]) -> Result<(), Fault>,
        answers: &mut Vec<u8>,
    ) -> Result<usize, Fault>;
}

/// A connection while its user logs in or off.
pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    inbound: BytesMut,
}

impl Line {
    /// A connection whose handshake is over.
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, inbound: BytesMut::new() }
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends a frame behind its length, two bytes.
    pub(crate) async fn send_frame(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        put_frame(frame, &mut bytes);
        self.send(&bytes).await
    }

    /// The next bytes through `mark`.
    pub(crate) async fn through(&mut self, mark: &[u8]) -> Result<Bytes, Fault> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.inbound, mark) {
                return Ok(self.inbound.split_to(at.saturating_add(mark.len())).freeze());
            }
            self.fill().await?;
        }
    }

    /// The next line, without its end.
    pub(crate) async fn text_line(&mut self) -> Result<String, Fault> {
        let line = self.through(b"\n").await?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The next so many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Bytes, Fault> {
        while self.inbound.len() < count {
            self.fill().await?;
        }
        Ok(self.inbound.split_to(count).freeze())
    }

    /// The next frame, without the two bytes of its length.
    pub(crate) async fn frame(&mut self) -> Result<Bytes, Fault> {
        let length = self.exactly(2).await?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.exactly(length).await
    }

    /// Ends the connection, and waits until the server has ended it as well.
    pub(crate) async fn end(mut self) -> Result<(), Fault> {
        // A server may have ended it already, in whatever way.
        let _ = self.stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.map_err(|_| Fault::Silent)?;
        Ok(())
    }

    /// Waits until the server ends the connection; what it says before that is not looked at.
    pub(crate) async fn closed(&mut self) -> Fault {
        loop {
            self.inbound.clear();
            match self.stream.read_buf(&mut self.inbound).await {
                Ok(0) => return Fault::Closed,
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
    }

    /// The socket, TLS, and what has been read and not been used.
    pub(crate) fn into_parts(self) -> Result<(std::net::TcpStream, ClientConnection, Vec<u8>), Fault> {
        let (socket, tls) = self.stream.into_inner();
        Ok((socket.into_std()?, tls, self.inbound.to_vec()))
    }

    async fn fill(&mut self) -> Result<(), Fault> {
        if self.inbound.len() > MAX_ANSWER {
            return Err(Fault::Said("more than an answer should be".to_owned()));
        }
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.inbound)).await.map_err(|_| Fault::Silent)?;
        if read? == 0 { Err(Fault::Closed) } else { Ok(()) }
    }
}

/// Puts a frame behind its length, two bytes.
pub(crate) fn put_frame(frame: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(frame.iter().take(usize::from(length)));
}

/// The first frame in `bytes` that is whole, and what comes after it.
pub(crate) fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let frame = protocol::first_frame(bytes, usize::from(u16::MAX)).ok()??;
    Some((frame, bytes.get(frame.len().checked_add(2)?..)?))
}

/// The name of user number `user`, in every protocol.
pub(crate) fn name_of(user: u64) -> String {
    format!("u{user}")
}

/// The other of a pair.
pub(crate) fn peer_of(user: u64) -> u64 {
    user ^ 1
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Has `talker` read `bytes` in pieces of every size, as a network might bring them: the payloads, and the answers.
    pub(crate) fn read_in_pieces<T: Talker>(talker: &mut T, bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut inbound, mut payloads, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            inbound.extend(piece);
            let take = |payload: &[u8]| {
                payloads.push(payload.to_vec());
                Ok(())
            };
            let used = talker.read(&inbound, take, &mut answers).unwrap();
            inbound.drain(..used);
        }
        assert!(inbound.is_empty(), "{:?} is left", String::from_utf8_lossy(&inbound));
        (payloads, answers)
    }

    /// What `talker` says to this, when it must not be content.
    pub(crate) fn complaint<T: Talker>(talker: &mut T, bytes: &[u8]) -> Fault {
        talker.read(bytes, |_| Ok(()), &mut Vec::new()).unwrap_err()
    }

    #[test]
    fn a_frame_is_split_off_when_it_is_whole() {
        let mut bytes = Vec::new();
        put_frame(b"first", &mut bytes);
        put_frame(b"", &mut bytes);
        let (first, rest) = split_frame(&bytes).unwrap();
        assert_eq!((first, rest), (&b"first"[..], &b"\0\0"[..]));
        assert_eq!(split_frame(rest), Some((&b""[..], &b""[..])));
        assert_eq!(split_frame(&bytes[..6]), None);
        assert_eq!(split_frame(&[0]), None);
    }

    #[test]
    fn pairs_are_of_two() {
        assert_eq!([0, 1, 2, 3].map(peer_of), [1, 0, 3, 2]);
    }
}
