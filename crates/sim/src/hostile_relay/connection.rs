//! Sockets: a task that accepts, and one for each direction of each connection.

use bytes::Bytes;
use futures_util::StreamExt as _;
use protocol::PublicKey;
use tokio::{
    io::{AsyncWriteExt as _, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::codec::FramedRead;

use super::{hub::Happening, notes::Link};

/// Pieces of what is to be written that may wait for one client.
const MAX_UNSENT: usize = 16 * 1024;

/// What a new connection hands the hub.
pub(super) struct Arrival {
    pub(super) link: Link,
    pub(super) key: PublicKey,
    /// Takes bytes of the stream: frames with their lengths, or anything else.
    pub(super) to_client: mpsc::Sender<Bytes>,
}

/// Takes connections, and tells the hub of what their clients send.
pub(super) async fn accept(listener: TcpListener, acceptor: TlsAcceptor, hub: mpsc::Sender<Happening>) {
    let mut link = 0;
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        link += 1;
        tokio::spawn(serve(link, socket, acceptor.clone(), hub.clone()));
    }
}

async fn serve(link: Link, socket: TcpStream, acceptor: TlsAcceptor, hub: mpsc::Sender<Happening>) {
    let _ = socket.set_nodelay(true);
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let Ok(key) = identity::client_key(stream.get_ref().1) else { return };
    let (reader, writer) = tokio::io::split(stream);
    let (to_client, unsent) = mpsc::channel(MAX_UNSENT);
    let writer = tokio::spawn(write(writer, unsent));
    if hub.send(Happening::Came(Arrival { link, key, to_client })).await.is_err() {
        return;
    }
    let mut frames = FramedRead::new(reader, protocol::frame_codec());
    while let Some(Ok(frame)) = frames.next().await {
        if hub.send(Happening::Sent(link, frame.freeze())).await.is_err() {
            return;
        }
    }
    let _ = hub.send(Happening::Went(link)).await;
    // The hub has let go of its end, so the writer comes to its own.
    let _ = writer.await;
}

/// Writes until the hub lets go of the connection, then ends it.
async fn write(mut writer: WriteHalf<TlsStream<TcpStream>>, mut unsent: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = unsent.recv().await {
        let mut next = Some(bytes);
        while let Some(bytes) = next {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            next = unsent.try_recv().ok();
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
