//! TLS 1.3 without I/O: records in and plain bytes out, and the other way. A connection that has nothing to say holds no
//! buffer here: what it has read and what it writes lies where its driver has it, for as long as it is needed.

use std::sync::Arc;

use bytes::BytesMut;
use rustls::{
    CommonState, Error, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};

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

    /// Takes in all records that are whole, which are decrypted in place. What was in them is put behind `plain`, and
    /// what they are answered with, records as well, behind `answers`.
    ///
    /// # Errors
    /// rustls's, of records that are not what they have to be: the connection is over, and `answers` ends with the alert
    /// that says so (RFC 8446 section 6.2).
    pub(crate) fn open(
        &mut self,
        records: &mut [u8],
        plain: &mut BytesMut,
        answers: &mut BytesMut,
    ) -> Result<Opened, Error> {
        let mut opened = Opened { used: 0, is_closed: false };
        self.advance(records, &mut opened, plain, answers, |_, _| Ok(())).map(|_| opened)
    }

    /// Puts `plain` behind `records`, sealed. `rest` is what [`Self::open`] has left over.
    ///
    /// # Errors
    /// rustls's, when the keys have served for as much as they may, or the handshake is not over.
    pub(crate) fn seal(&mut self, rest: &mut [u8], plain: &[u8], records: &mut BytesMut) -> Result<(), Error> {
        let room = plain.len().saturating_add(RECORD.saturating_mul(plain.len().div_ceil(MAX_PLAIN)));
        self.write(rest, records, room, |traffic, buffer| traffic.encrypt(plain, buffer))
    }

    /// Puts the word that nothing more comes behind `records` (RFC 8446 section 6.1). `rest` as in [`Self::seal`].
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(crate) fn close(&mut self, rest: &mut [u8], records: &mut BytesMut) -> Result<(), Error> {
        self.write(rest, records, 0, |traffic, buffer| traffic.queue_close_notify(buffer))
    }

    fn write(
        &mut self,
        rest: &mut [u8],
        records: &mut BytesMut,
        room: usize,
        write: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), Error> {
        let mut opened = Opened { used: 0, is_closed: false };
        let is_written = self.advance(rest, &mut opened, &mut BytesMut::new(), records, |traffic, records| {
            append(records, room, |buffer| write(traffic, buffer).map_err(NoRoom::from))
        })?;
        if is_written { Ok(()) } else { Err(Error::HandshakeNotComplete) }
    }

    /// Goes on with what is in `records`, behind what was used of it, until there is no more to be done; and then has
    /// `at_rest` write, if that may be. Whether it was.
    fn advance(
        &mut self,
        records: &mut [u8],
        opened: &mut Opened,
        plain: &mut BytesMut,
        answers: &mut BytesMut,
        at_rest: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut BytesMut) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            match self.step(records, opened, plain, answers, &at_rest) {
                Ok(None) => {}
                Ok(Some(is_at_rest)) => return Ok(is_at_rest),
                Err(error) => {
                    self.failed = Some(error.clone());
                    self.hand_out_alert(records.get_mut(opened.used..).unwrap_or_default(), answers);
                    return Err(error);
                }
            }
        }
    }

    /// What there was to say before the connection failed, and the alert. rustls is asked for no more than that: it would
    /// go on reading.
    fn hand_out_alert(&mut self, rest: &mut [u8], answers: &mut BytesMut) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(rest).state {
            let start = answers.len();
            let written = append(answers, 0, |buffer| data.encode(buffer).map_err(NoRoom::from));
            let record = answers.get(start..).unwrap_or_default();
            if written.is_err() || is_alert(record) {
                return;
            }
        }
    }

    /// One step of [`Self::advance`]: `None` if there is another.
    fn step(
        &mut self,
        records: &mut [u8],
        opened: &mut Opened,
        plain: &mut BytesMut,
        answers: &mut BytesMut,
        at_rest: impl Fn(&mut WriteTraffic<'_, ServerConnectionData>, &mut BytesMut) -> Result<(), Error>,
    ) -> Result<Option<bool>, Error> {
        let rest = records.get_mut(opened.used..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
        let state = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard = discard.saturating_add(record.discard);
                    plain.extend_from_slice(record.payload);
                }
                Ok(None)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                append(answers, 0, |buffer| data.encode(buffer).map_err(NoRoom::from)).map(|()| None)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It is in its place among what is to be written.
                data.done();
                Ok(None)
            }
            Ok(ConnectionState::PeerClosed) => {
                opened.is_closed = true;
                Ok(None)
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => at_rest(&mut traffic, answers).map(|()| Some(true)),
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Some(false)),
            // The configuration has no early data, and there is nothing else.
            Ok(_) => Err(Error::General("a state of TLS that this server does not have".to_owned())),
            Err(error) => Err(error),
        };
        opened.used = opened.used.saturating_add(discard);
        state
    }
}

/// Whether a record of ours is an alert. Nothing else that TLS 1.3 sends is as short as its two bytes.
fn is_alert(record: &[u8]) -> bool {
    const ALERT: usize = 2;
    let sealed = RECORD.saturating_add(ALERT);
    let open = RECORD_HEADER.saturating_add(ALERT);
    record.len() == sealed || record.len() == open
}

/// Why rustls did not write.
enum NoRoom {
    /// It needs so many bytes.
    Needs(usize),
    Failed(Error),
}

impl From<EncodeError> for NoRoom {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(needs) => Self::Needs(needs.required_size),
            error => Self::Failed(Error::General(error.to_string())),
        }
    }
}

impl From<EncryptError> for NoRoom {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(needs) => Self::Needs(needs.required_size),
            EncryptError::EncryptExhausted => Self::Failed(Error::EncryptError),
        }
    }
}

/// Has `write` write behind `bytes`, where it has `room`, or as much as it says that it needs.
fn append(
    bytes: &mut BytesMut,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, NoRoom>,
) -> Result<(), Error> {
    let start = bytes.len();
    let mut room = room;
    loop {
        bytes.resize(start.saturating_add(room), 0);
        let written = write(bytes.get_mut(start..).unwrap_or_default());
        bytes.truncate(start.saturating_add(*written.as_ref().unwrap_or(&0)));
        match written {
            Ok(_) => return Ok(()),
            Err(NoRoom::Needs(needs)) if needs > room => room = needs,
            Err(NoRoom::Needs(_)) => return Err(Error::General("TLS has no room for what it writes".to_owned())),
            Err(NoRoom::Failed(error)) => return Err(error),
        }
    }
}
