//! TLS 1.3 without I/O: records in and plain bytes out, and the other way. A connection that has nothing to say holds no
//! buffer here: what it reads and what it writes lies where its driver has it, for as long as it is needed.

use std::sync::Arc;

use rustls::{
    CommonState, Error, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

use crate::buffer::Buffer;

/// The most that a record holds (RFC 8446 section 5.1).
const MAX_PLAIN: usize = 16 * 1024;
/// Bytes before what is in a record.
const RECORD_HEADER: usize = 5;
/// Bytes that a record has beside what is in it: its header, the type of its content, and the tag of its AEAD.
const RECORD: usize = RECORD_HEADER + 1 + 16;

/// One connection's TLS, on the server's side.
pub(crate) struct Tls {
    connection: Box<UnbufferedServerConnection>,
    /// Why it is over. rustls is to be asked nothing from then on.
    failed: Option<Error>,
}

/// What came of taking in records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Bytes at the front that have been dealt with. The others are to be handed in again, with what comes behind them.
    pub(crate) used: usize,
    /// The other side has said that nothing more comes.
    pub(crate) is_closed: bool,
}

impl Tls {
    /// The beginning of a handshake.
    ///
    /// # Errors
    /// rustls's, of a configuration that cannot be used.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config)
            .map(|connection| Self { connection: Box::new(connection), failed: None })
    }

    /// What was negotiated, and whether the handshake is over.
    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Takes in all records that are whole, which are decrypted in place. What was in them is put into `plain`, and what
    /// they are answered with, records as well, into `answers`.
    ///
    /// # Errors
    /// rustls's, of records that are not what they have to be: the connection is over, and `answers` ends with the alert
    /// that says so (RFC 8446 section 6.2), if there is one for it.
    pub(crate) fn open(
        &mut self,
        records: &mut [u8],
        plain: &mut Buffer,
        answers: &mut Buffer,
    ) -> Result<Opened, Error> {
        self.advance(records, plain, answers, |_| Ok(0)).map(|(opened, _)| opened)
    }

    /// Seals `plain` into `records`, which should have room for [`sealed_length`]. How many bytes they are. `rest` is what
    /// [`Self::open`] has left over.
    ///
    /// # Errors
    /// rustls's, when the keys have served for as much as they may, or the handshake is not over.
    pub(crate) fn seal(&mut self, rest: &mut [u8], plain: &[u8], records: &mut [u8]) -> Result<usize, Error> {
        self.write(rest, |traffic| traffic.encrypt(plain, records))
    }

    /// Writes the word that nothing more comes into `record` (RFC 8446 section 6.1). How many bytes it has. `rest` as in
    /// [`Self::seal`].
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(crate) fn close(&mut self, rest: &mut [u8], record: &mut [u8]) -> Result<usize, Error> {
        self.write(rest, |traffic| traffic.queue_close_notify(record))
    }

    fn write(
        &mut self,
        rest: &mut [u8],
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> Result<usize, EncryptError>,
    ) -> Result<usize, Error> {
        // All that was to be read, and to be answered, was when `rest` was left over.
        let [mut plain, mut answers] = [(); 2].map(|()| Buffer::default());
        let write = |traffic: &mut WriteTraffic<'_, _>| write(traffic).map_err(cannot_write);
        let (_, written) = self.advance(rest, &mut plain, &mut answers, write)?;
        written.ok_or(Error::HandshakeNotComplete)
    }

    /// Goes on with what is in `records` until there is no more to be done; and then has `at_rest` write, if that may be.
    fn advance(
        &mut self,
        records: &mut [u8],
        plain: &mut Buffer,
        answers: &mut Buffer,
        at_rest: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> Result<usize, Error>,
    ) -> Result<(Opened, Option<usize>), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut opened = Opened { used: 0, is_closed: false };
        loop {
            let rest = records.get_mut(opened.used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let step = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discard = discard.saturating_add(record.discard);
                            plain.put(record.payload);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(()),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(|buffer| data.encode(buffer), answers),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is in its place among what is to be written.
                    data.done();
                    Ok(())
                }
                Ok(ConnectionState::PeerClosed) => {
                    opened.is_closed = true;
                    Ok(())
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    opened.used = opened.used.saturating_add(discard);
                    return at_rest(&mut traffic).map(|written| (opened, Some(written)));
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    opened.used = opened.used.saturating_add(discard);
                    return Ok((opened, None));
                }
                // The configuration has no early data, and there is nothing else.
                Ok(_) => Err(Error::General("a state of TLS that this server does not have".to_owned())),
                Err(error) => Err(error),
            };
            opened.used = opened.used.saturating_add(discard);
            if let Err(error) = step {
                self.hand_out_alert(records.get_mut(opened.used..).unwrap_or_default(), answers);
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
    }

    /// What there was to say before the connection failed, and the alert. rustls is asked for no more than that: it would
    /// go on reading.
    fn hand_out_alert(&mut self, rest: &mut [u8], answers: &mut Buffer) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(rest).state {
            let before = answers.len();
            let encoded = encode(|buffer| data.encode(buffer), answers);
            if encoded.is_err() || is_alert(answers.bytes().get(before..).unwrap_or_default()) {
                return;
            }
        }
    }
}

/// Bytes of the records that hold `plain` bytes.
pub(crate) const fn sealed_length(plain: usize) -> usize {
    plain.saturating_add(RECORD.saturating_mul(plain.div_ceil(MAX_PLAIN)))
}

/// Whether a record of ours is an alert. Nothing else that TLS 1.3 sends is as short as its two bytes.
fn is_alert(record: &[u8]) -> bool {
    const ALERT: usize = 2;
    [RECORD_HEADER, RECORD].iter().any(|beside| record.len() == beside.saturating_add(ALERT))
}

/// Puts into `answers` what `encode` writes into a buffer that it has said the size of.
fn encode(mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>, answers: &mut Buffer) -> Result<(), Error> {
    let Err(EncodeError::InsufficientSize(needed)) = encode(&mut []) else {
        return Err(Error::General("TLS had nothing to write".to_owned()));
    };
    let mut record = vec![0; needed.required_size];
    encode(&mut record).map_err(|error| Error::General(error.to_string()))?;
    answers.put(&record);
    Ok(())
}

fn cannot_write(error: EncryptError) -> Error {
    match error {
        EncryptError::EncryptExhausted => Error::EncryptError,
        error => Error::General(error.to_string()),
    }
}
