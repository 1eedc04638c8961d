//! One end of a pair that talks: its socket, its TLS, and what it has sent and got. Does not wait.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::fd::{AsFd, BorrowedFd},
};

use rustls::ClientConnection;

use crate::{
    fault::Fault,
    payload::Stamp,
    sequence::Sequence,
    wire::{Line, Talker},
};

/// One end of a pair.
pub(super) struct Conversation<T> {
    socket: TcpStream,
    tls: ClientConnection,
    talker: T,
    sequence: Sequence,
    /// Bytes of each payload.
    size: usize,
    /// What has come and is no whole message yet.
    inbound: Vec<u8>,
    /// What is to be sealed next.
    outbound: Vec<u8>,
    is_blocked: bool,
}

/// Memory that all ends use in turn.
pub(super) struct Scratch {
    ciphertext: Vec<u8>,
    payload: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { ciphertext: vec![0; 64 * 1024], payload: Vec::new() }
    }
}

impl<T: Talker> Conversation<T> {
    /// Begins when both are ready to talk.
    pub(super) fn new(line: Line, talker: T, size: usize) -> Result<Self, Fault> {
        let (socket, mut tls, inbound) = line.into_parts()?;
        socket.set_nonblocking(true)?;
        tls.set_buffer_limit(None);
        Ok(Self {
            socket,
            tls,
            talker,
            sequence: Sequence::default(),
            size,
            inbound,
            outbound: Vec::new(),
            is_blocked: false,
        })
    }

    /// Lines up a message that was due at `due`, in nanoseconds since the start, in a record of TLS of its own, as if it had
    /// been typed by itself. (Some servers also lose sight of what is in a record that is longer than they read at once.)
    /// [`Self::flush`] sends it.
    pub(super) fn say(&mut self, due: u64, scratch: &mut Scratch) -> Result<(), Fault> {
        let stamp = Stamp { number: self.sequence.send(), due };
        stamp.write(&mut scratch.payload, self.size);
        self.talker.write(&scratch.payload, &mut self.outbound);
        self.seal()
    }

    fn seal(&mut self) -> Result<(), Fault> {
        if !self.outbound.is_empty() {
            self.tls.writer().write_all(&self.outbound)?;
            self.outbound.clear();
        }
        Ok(())
    }

    /// Reads all that is there, and hands `take` when each message that came was due. Answers of the protocol's own are
    /// lined up.
    ///
    /// # Errors
    /// [`Fault`] when the connection is over, or a message is not the one that should have come.
    pub(super) fn hear(&mut self, scratch: &mut Scratch, mut take: impl FnMut(u64)) -> Result<(), Fault> {
        loop {
            let read = match self.socket.read(&mut scratch.ciphertext) {
                Ok(0) => return Err(Fault::Closed),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let mut ciphertext = scratch.ciphertext.get(..read).unwrap_or_default();
            while !ciphertext.is_empty() {
                self.tls.read_tls(&mut ciphertext)?;
                let opened = self.tls.process_new_packets()?.plaintext_bytes_to_read();
                let before = self.inbound.len();
                self.inbound.resize(before.saturating_add(opened), 0);
                self.tls.reader().read_exact(self.inbound.get_mut(before..).unwrap_or_default())?;
            }
            self.understand(&mut take)?;
            if read < scratch.ciphertext.len() {
                return Ok(());
            }
        }
    }

    fn understand(&mut self, mut take: impl FnMut(u64)) -> Result<(), Fault> {
        let (sequence, size) = (&mut self.sequence, self.size);
        let take = |payload: &[u8]| {
            let stamp = Stamp::read(payload).filter(|_| payload.len() == size);
            let stamp = stamp.ok_or(Fault::Mangled { bytes: payload.len() })?;
            sequence.take(stamp.number)?;
            take(stamp.due);
            Ok(())
        };
        let used = self.talker.read(&self.inbound, take, &mut self.outbound)?;
        self.inbound.drain(..used);
        Ok(())
    }

    /// Writes what is lined up, in one go. False if some of it has to wait until the socket takes more.
    pub(super) fn flush(&mut self) -> Result<bool, Fault> {
        self.seal()?;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.is_blocked = false;
        Ok(true)
    }

    /// Whether the last [`Self::flush`] left something.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// How many messages were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sequence.sent()
    }

    /// How many have come.
    pub(super) fn got(&self) -> u64 {
        self.sequence.got()
    }
}

impl<T> AsFd for Conversation<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
