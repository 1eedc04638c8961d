//! What stands between a socket and a session.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use protocol::{limits::MAX_FRAME, split_frame};
use server::tls::Tls;

/// Bytes that a frame may keep in memory beyond its own.
const SLACK: usize = 64;

/// One connection's bytes, both ways, as the server's connection treats them between two calls to the system: over TLS,
/// or in clear where the machines alone are looked at.
pub(crate) struct Line {
    tls: Option<Tls>,
    /// Where what comes is read to and decrypted.
    incoming: Vec<u8>,
    received: BytesMut,
    unsent: BytesMut,
}

impl Line {
    /// In clear.
    pub(crate) fn new() -> Self {
        Self { tls: None, incoming: Vec::new(), received: BytesMut::new(), unsent: BytesMut::new() }
    }

    /// Over TLS, its handshake done.
    pub(crate) fn over(tls: Tls) -> Self {
        Self { tls: Some(tls), ..Self::new() }
    }

    /// Bytes came: whole records, or parts of frames.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            return self.received.put_slice(bytes);
        };
        bytes.clone_into(&mut self.incoming);
        let opened = tls.open(&mut self.incoming, &mut self.received, &mut BytesMut::new()).unwrap();
        assert_eq!(opened.used, bytes.len());
    }

    /// The next frame that is there as a whole: the buffer itself where there is nothing else in it.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let (frame, rest) = split_frame(&self.received, MAX_FRAME).unwrap()?;
        let (length, is_last) = (frame.len(), rest.is_empty());
        let whole = self.received.len() - rest.len();
        if is_last && self.received.capacity() <= whole + SLACK {
            return Some(std::mem::take(&mut self.received).split_off(whole - length).freeze());
        }
        let frame = Bytes::copy_from_slice(frame);
        self.received.advance(whole);
        if is_last {
            self.received = BytesMut::new();
        }
        Some(frame)
    }

    /// Puts a frame behind those that are still to be sent.
    pub(crate) fn send(&mut self, frame: &Bytes) {
        self.unsent.put_u16(frame.len().try_into().unwrap());
        self.unsent.put_slice(frame);
    }

    /// What a socket would be given of them.
    pub(crate) fn unsent(&mut self) -> BytesMut {
        let unsent = std::mem::take(&mut self.unsent);
        let Some(tls) = &mut self.tls else {
            return unsent;
        };
        let mut records = BytesMut::new();
        if !unsent.is_empty() {
            tls.seal(&mut [], &unsent, &mut records).unwrap();
        }
        records
    }
}
