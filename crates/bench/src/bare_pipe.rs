//! The bare pipe: what tokio and rustls cost by themselves. It accepts TLS connections and copies frames between two of
//! them; it knows no users, no state and no limits. `wire/pipe.rs` says what it speaks.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, BytesMut};
use clap::Args;
use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    connect::Tls,
    fault::Fault,
    say,
    wire::{put_frame, split_frame},
};

/// Bytes that are read before they are written, at most.
const BUFFER: usize = 64 * 1024;
const BACKLOG: u32 = 4096;

/// How the bare pipe is to be.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Its chain of certificates, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// The private key of the first of them, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Writes all frames that are ready in one go, instead of each by itself.
    #[arg(long)]
    gather: bool,
    /// X25519 instead of X25519MLKEM768.
    #[arg(long)]
    no_ml_kem: bool,
    /// Asks clients for no raw public key.
    #[arg(long)]
    no_client_keys: bool,
    /// Drops the frame of this number, counted from 1 over all pairs: to see the load generator notice.
    #[arg(long, conflicts_with = "gather")]
    drop_frame: Option<u64>,
}

/// Runs the bare pipe until its process is ended.
///
/// # Errors
/// [`Fault::File`] and [`Fault::Io`] when it cannot begin.
pub(crate) fn run(options: &Options) -> Result<(), Fault> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| Fault::file(path, error));
    let tls = Tls { is_hybrid: !options.no_ml_kem, has_client_keys: !options.no_client_keys };
    let tls = tls.server(&read(&options.certificate)?, &read(&options.key)?)?;
    let pipe = Arc::new(Pipe {
        acceptor: TlsAcceptor::from(tls),
        gathers: options.gather,
        drops: options.drop_frame,
        copied: AtomicU64::new(0),
        waiting: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(options.listen)?;
        let listener = socket.listen(BACKLOG)?;
        say(format_args!("listening on {}", listener.local_addr()?));
        // Not on this thread, which would hand each connection over to another.
        tokio::spawn(pipe.accept(listener)).await.unwrap_or_else(|fault| Err(Fault::Said(fault.to_string())))
    })
}

struct Pipe {
    acceptor: TlsAcceptor,
    gathers: bool,
    drops: Option<u64>,
    /// Frames so far, if one of them is to be dropped.
    copied: AtomicU64,
    /// Connections that have named a pair whose other end is not there yet.
    waiting: Mutex<BTreeMap<Vec<u8>, Connection>>,
}

struct Connection {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    inbound: BytesMut,
}

impl Pipe {
    async fn accept(self: Arc<Self>, listener: TcpListener) -> Result<(), Fault> {
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let pipe = self.clone();
            // A connection that fails is noticed at its other end.
            tokio::spawn(async move { pipe.serve(socket).await.unwrap_or_default() });
        }
    }

    async fn serve(self: Arc<Self>, socket: TcpStream) -> io::Result<()> {
        let (reader, writer) = tokio::io::split(self.acceptor.accept(socket).await?);
        let mut connection = Connection { reader, writer, inbound: BytesMut::new() };
        while let Some(frame) = connection.frame().await? {
            if frame.is_empty() {
                connection.send(&frame).await?;
                continue;
            }
            let Some((mut connection, mut other)) = self.pair(frame.clone(), connection) else {
                return Ok(());
            };
            other.send(&frame).await?;
            connection.send(&frame).await?;
            let there = self.clone();
            tokio::spawn(async move { there.copy(other.reader, connection.writer).await.unwrap_or_default() });
            return self.copy(connection.reader, other.writer).await;
        }
        connection.writer.shutdown().await
    }

    /// This connection and the one that has named the same pair before, or nothing while there is none, and this one waits.
    fn pair(&self, name: Vec<u8>, connection: Connection) -> Option<(Connection, Connection)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.entry(name) {
            Entry::Occupied(other) => Some((connection, other.remove())),
            Entry::Vacant(place) => {
                place.insert(connection);
                None
            }
        }
    }

    /// Copies until one of the ends is gone.
    async fn copy(
        &self,
        mut from: ReadHalf<TlsStream<TcpStream>>,
        mut to: WriteHalf<TlsStream<TcpStream>>,
    ) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(BUFFER);
        while from.read_buf(&mut buffer).await? > 0 {
            if self.gathers {
                while buffer.len() < BUFFER
                    && let Some(read) = from.read_buf(&mut buffer).now_or_never()
                {
                    if read? == 0 {
                        break;
                    }
                }
                let whole = whole_frames(&buffer);
                to.write_all(buffer.get(..whole).unwrap_or_default()).await?;
                buffer.advance(whole);
                to.flush().await?;
            } else {
                while let Some((frame, _)) = split_frame(&buffer) {
                    let length = frame.len().saturating_add(2);
                    if !self.is_dropped() {
                        to.write_all(buffer.get(..length).unwrap_or_default()).await?;
                        to.flush().await?;
                    }
                    buffer.advance(length);
                }
            }
        }
        to.shutdown().await
    }

    fn is_dropped(&self) -> bool {
        let number = |_| self.copied.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.drops.is_some_and(|dropped| number(()) == dropped)
    }
}

impl Connection {
    async fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some((frame, rest)) = split_frame(&self.inbound) {
                let (frame, used) = (frame.to_vec(), self.inbound.len().saturating_sub(rest.len()));
                self.inbound.advance(used);
                return Ok(Some(frame));
            }
            if self.reader.read_buf(&mut self.inbound).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        put_frame(frame, &mut bytes);
        self.writer.write_all(&bytes).await?;
        self.writer.flush().await
    }
}

/// Bytes of the frames at the front of `bytes` that are whole.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((_, after)) = split_frame(rest) {
        rest = after;
    }
    bytes.len().saturating_sub(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_are_passed_on() {
        let mut bytes = Vec::new();
        put_frame(b"one", &mut bytes);
        put_frame(b"two", &mut bytes);
        for (length, whole) in [(0, 0), (1, 0), (4, 0), (5, 5), (9, 5), (10, 10)] {
            assert_eq!(whole_frames(&bytes[..length]), whole, "{length}");
        }
    }
}
