//! What stands between a socket and a session, without the socket: TLS, the frames in it, and the bytes that wait on
//! either side.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{DecodeError, first_frame};
use rustls::{CommonState, Error, ServerConfig};

use crate::{
    buffer::Buffer,
    tls::{Opened, Tls, sealed_length},
};

/// Bytes of frames that are sealed in one go: two records.
const SEALED_AT_ONCE: usize = 32 * 1024;
/// Bytes that TLS may have to say before those: an answer to a change of keys.
const BEFORE_SEALED: usize = 1024;
/// Bytes of records that one byte of a frame may take. The shortest frame in a record of its own takes eight.
const MAX_SPENT_ON_A_BYTE: usize = 16;
/// Bytes that may be taken beyond those: enough for a handshake, and for what TLS has to say from time to time.
const MAX_WASTED: usize = 64 * 1024;
/// Bytes of a buffer in which [`Channel::seal`] always finds room.
pub const SEALING: usize = BEFORE_SEALED.saturating_add(sealed_length(SEALED_AT_ONCE));

/// A connection's bytes, both ways. It holds what could not be dealt with yet, and nothing in between.
pub struct Channel {
    tls: Tls,
    /// The beginning of a record.
    held: Vec<u8>,
    /// Frames that have come and were not taken, the last perhaps in part.
    received: Buffer,
    /// Frames that are to be sent.
    unsent: Buffer,
    /// Records that are to be written before those.
    sealed: Buffer,
    /// Bytes of records that came beyond [`MAX_SPENT_ON_A_BYTE`].
    wasted: usize,
    is_over: bool,
}

impl Channel {
    /// The beginning of a handshake.
    ///
    /// # Errors
    /// rustls's, of a configuration that cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let [received, unsent, sealed] = [(); 3].map(|()| Buffer::default());
        Ok(Self { tls: Tls::new(config)?, held: Vec::new(), received, unsent, sealed, wasted: 0, is_over: false })
    }

    /// What was negotiated, and whether the handshake is over.
    pub fn tls(&self) -> &CommonState {
        self.tls.state()
    }

    /// The room in `incoming` for what comes next, behind the record that has begun; `None` if that leaves none, which
    /// is for pieces of one message that no client of ours sends.
    pub fn room<'a>(&self, incoming: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (front, room) = incoming.split_at_mut_checked(self.held.len())?;
        front.copy_from_slice(&self.held);
        if room.is_empty() { None } else { Some(room) }
    }

    /// `count` bytes have come into the [`Self::room`] of `incoming`; none means that nothing more comes.
    ///
    /// # Errors
    /// Of records that are not what they have to be, which the client is told by what is [`Self::sealed`]; and of records
    /// without end that hold next to nothing (empty ones, padding, changes of keys), which cost work that no frame accounts
    /// for. Nothing more is to come.
    pub fn take_in(&mut self, incoming: &mut [u8], count: usize) -> Result<(), Error> {
        let end = self.held.len().saturating_add(count);
        let records = incoming.get_mut(..end).unwrap_or_default();
        let before = self.received.len();
        let opened = self.tls.open(records, &mut self.received, &mut self.sealed);
        let come = self.received.len().saturating_sub(before);
        self.wasted = self.wasted.saturating_add(count).saturating_sub(come.saturating_mul(MAX_SPENT_ON_A_BYTE));
        let opened = if self.wasted > MAX_WASTED {
            Err(Error::General("records without end that hold next to nothing".to_owned()))
        } else {
            opened
        };
        self.is_over |= count == 0 || opened.is_err();
        let Opened { used, is_closed } = opened?;
        self.is_over |= is_closed;
        match records.get(used..).unwrap_or_default() {
            [] => self.held = Vec::new(),
            rest => rest.clone_into(&mut self.held),
        }
        Ok(())
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether the client sends nothing more.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether [`Self::take_frame`] has something to say.
    pub fn has_frame(&self, max: usize) -> bool {
        !matches!(first_frame(self.received.bytes(), max), Ok(None))
    }

    /// The next frame that is there.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when it is longer than `max`.
    pub fn take_frame(&mut self, max: usize) -> Result<Option<Bytes>, DecodeError> {
        let Some(frame) = first_frame(self.received.bytes(), max)? else {
            return Ok(None);
        };
        // Copied: a part of a buffer keeps all of it, and a mailbox is bounded by the lengths of the frames in it.
        let frame = Bytes::copy_from_slice(frame);
        self.received.take(frame.len().saturating_add(2));
        Ok(Some(frame))
    }

    /// Puts a frame behind those that are to be sent.
    pub fn enqueue(&mut self, frame: &[u8]) {
        if let Ok(length) = u16::try_from(frame.len()) {
            self.unsent.put(&length.to_be_bytes());
            self.unsent.put(frame);
        }
    }

    /// Bytes that are to be sent.
    pub fn unsent(&self) -> usize {
        self.unsent.len().saturating_add(self.sealed.len())
    }

    /// Records that are to be written before all else.
    pub fn sealed(&self) -> &[u8] {
        self.sealed.bytes()
    }

    /// The first `count` bytes of [`Self::sealed`] have been written.
    pub fn sent(&mut self, count: usize) {
        self.sealed.take(count);
    }

    /// Records that were not written, to be kept as [`Self::sealed`].
    pub fn keep(&mut self, records: &[u8]) {
        self.sealed.put(records);
    }

    /// Seals the frames that are to be sent, as many as fit, into `outgoing`, which has [`SEALING`] bytes. How many bytes
    /// that makes: 0 when there are none. Nothing may be [`Self::sealed`] before.
    ///
    /// # Errors
    /// rustls's, when the keys have served for as much as they may, or the connection has failed.
    pub fn seal(&mut self, outgoing: &mut [u8]) -> Result<usize, Error> {
        let plain = self.unsent.bytes();
        let plain = plain.get(..SEALED_AT_ONCE).unwrap_or(plain);
        if plain.is_empty() {
            return Ok(0);
        }
        let (taken, count) = (plain.len(), self.tls.seal(&mut self.held, plain, outgoing)?);
        self.unsent.take(taken);
        Ok(count)
    }

    /// Seals the word that nothing more is sent. Nothing is to be taken in from then on either: rustls cannot complain any
    /// more.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn close(&mut self) -> Result<(), Error> {
        self.is_over = true;
        let mut record = vec![0; BEFORE_SEALED];
        let count = self.tls.close(&mut self.held, &mut record)?;
        self.sealed.put(record.get(..count).unwrap_or_default());
        Ok(())
    }
}
