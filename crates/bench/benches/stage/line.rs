//! What stands between a socket and a session.

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};

/// One connection's bytes, both ways, as the server's connection treats them behind its TLS.
///
/// To have TLS in the path, put it here: `receive` takes what a socket gives, `unsent` gives what a socket takes, and
/// nothing else looks at either.
pub(crate) struct Line {
    codec: LengthDelimitedCodec,
    received: BytesMut,
    unsent: BytesMut,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self { codec: protocol::frame_codec(), received: BytesMut::with_capacity(8 * 1024), unsent: BytesMut::new() }
    }

    /// Bytes came.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.received.put_slice(bytes);
    }

    /// The next frame that is there as a whole. Copied, as the server does: a mailbox is bounded by the lengths of frames.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.codec.decode(&mut self.received).unwrap().map(|frame| Bytes::copy_from_slice(&frame))
    }

    /// Puts a frame behind those that are still to be sent.
    pub(crate) fn send(&mut self, frame: &Bytes) {
        self.unsent.put_u16(frame.len().try_into().unwrap());
        self.unsent.put_slice(frame);
    }

    /// What is to be sent. Whoever has sent it clears it.
    pub(crate) fn unsent(&mut self) -> &mut BytesMut {
        &mut self.unsent
    }
}
