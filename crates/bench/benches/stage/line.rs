//! What stands between a socket and a session.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use protocol::{first_frame, limits::MAX_FRAME};
use server::channel::{Channel, SEALING};

/// One connection's bytes, both ways: as the server has them, or in clear where the machines alone are looked at.
pub(crate) enum Line {
    InClear { received: BytesMut, unsent: BytesMut },
    OverTls { channel: Box<Channel>, incoming: Vec<u8>, outgoing: Vec<u8> },
}

impl Line {
    /// In clear.
    pub(crate) fn new() -> Self {
        Self::InClear { received: BytesMut::new(), unsent: BytesMut::new() }
    }

    /// Over TLS, its handshake done.
    pub(crate) fn over(channel: Channel) -> Self {
        Self::OverTls { channel: Box::new(channel), incoming: vec![0; 32 * 1024], outgoing: vec![0; SEALING] }
    }

    /// Bytes came: whole records, or parts of frames.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::InClear { received, .. } => received.put_slice(bytes),
            Self::OverTls { channel, incoming, .. } => {
                channel.room(incoming).unwrap()[..bytes.len()].copy_from_slice(bytes);
                channel.take_in(incoming, bytes.len()).unwrap();
            }
        }
    }

    /// The next frame that is there as a whole.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::InClear { received, .. } => {
                let frame = Bytes::copy_from_slice(first_frame(received, MAX_FRAME).unwrap()?);
                received.advance(2 + frame.len());
                Some(frame)
            }
            Self::OverTls { channel, .. } => channel.take_frame(MAX_FRAME).unwrap(),
        }
    }

    /// Puts a frame behind those that are still to be sent.
    pub(crate) fn send(&mut self, frame: &Bytes) {
        match self {
            Self::InClear { unsent, .. } => {
                unsent.put_u16(frame.len().try_into().unwrap());
                unsent.put_slice(frame);
            }
            Self::OverTls { channel, .. } => channel.enqueue(frame),
        }
    }

    /// Has a socket's part done with them.
    pub(crate) fn flush(&mut self, socket: impl FnOnce(&[u8])) {
        match self {
            Self::InClear { unsent, .. } => {
                socket(unsent);
                unsent.clear();
            }
            Self::OverTls { channel, outgoing, .. } => {
                let count = channel.seal(outgoing).unwrap();
                socket(&outgoing[..count]);
            }
        }
    }
}
