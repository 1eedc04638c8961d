//! NATS: a message is published to a subject that the other has subscribed to.

use memchr::memchr;

use crate::{
    connect::Tls,
    fault::Fault,
    wire::{End, Line, Protocol, Talker, name_of},
};

/// Speaks to a NATS server.
pub(crate) struct Nats;

impl Protocol for Nats {
    type Talker = Subject;

    fn tls(&self) -> Tls {
        Tls::CLASSICAL
    }

    /// `INFO {…}` comes in clear, and then TLS.
    fn greets(&self) -> bool {
        true
    }

    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault> {
        let name = name_of(user);
        let connect = format!("CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"{name}\"}}\r\nPING\r\n");
        line.send(connect.as_bytes()).await?;
        pong(line).await
    }

    async fn log_off(&self, _line: &mut Line) -> Result<(), Fault> {
        Ok(())
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Subject, Subject), Fault> {
        for (line, user) in [&mut *caller.line, &mut *callee.line].into_iter().zip([caller.user, callee.user]) {
            line.send(format!("SUB {} 1\r\nPING\r\n", name_of(user)).as_bytes()).await?;
            pong(line).await?;
        }
        Ok((Subject::of(callee.user), Subject::of(caller.user)))
    }
}

async fn pong(line: &mut Line) -> Result<(), Fault> {
    loop {
        let said = line.text_line().await?;
        match said.split(' ').next() {
            Some("PONG") => return Ok(()),
            Some("INFO") => {}
            Some("PING") => line.send(b"PONG\r\n").await?,
            _ => return Err(Fault::Said(said)),
        }
    }
}

/// Publishes to the subject of a user, which bears his name.
pub(crate) struct Subject {
    before: Vec<u8>,
}

impl Subject {
    fn of(user: u64) -> Self {
        Self { before: format!("PUB {} ", name_of(user)).into_bytes() }
    }
}

impl Talker for Subject {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend(&self.before);
        out.extend(payload.len().to_string().as_bytes());
        out.extend(b"\r\n");
        out.extend(payload);
        out.extend(b"\r\n");
    }

    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
        answers: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        while let Some((line, after)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
            let after = after.get(1..).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.starts_with(b"MSG ") {
                let Some(length) = last_number(line) else {
                    return Err(said(line));
                };
                let Some((payload, after)) = after.split_at_checked(length) else {
                    break;
                };
                let Some((end, after)) = after.split_at_checked(2) else {
                    break;
                };
                if end != b"\r\n" {
                    return Err(said(line));
                }
                take(payload)?;
                rest = after;
            } else if line == b"PING" {
                answers.extend(b"PONG\r\n");
                rest = after;
            } else if line == b"PONG" || line.starts_with(b"INFO ") {
                rest = after;
            } else {
                return Err(said(line));
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }
}

/// The length of a message, which is the last word of its first line.
fn last_number(line: &[u8]) -> Option<usize> {
    str::from_utf8(line.rsplit(|byte| *byte == b' ').next()?).ok()?.parse().ok()
}

fn said(line: &[u8]) -> Fault {
    Fault::Said(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{complaint, read_in_pieces};

    #[test]
    fn a_message_is_published() {
        let mut bytes = Vec::new();
        Subject::of(7).write(b"one", &mut bytes);
        assert_eq!(bytes, b"PUB u7 3\r\none\r\n");
    }

    #[test]
    fn messages_are_read_and_pings_answered() {
        // A payload may hold what ends a line.
        let bytes = b"MSG u7 1 3\r\none\r\nPING\r\nMSG u7 1 4\r\nt\r\nw\r\n";
        for piece in [1, 11, 100] {
            let (payloads, answers) = read_in_pieces(&mut Subject::of(6), bytes, piece);
            assert_eq!(payloads, [&b"one"[..], b"t\r\nw"]);
            assert_eq!(answers, b"PONG\r\n");
        }
    }

    #[test]
    fn errors_are_noticed() {
        for bytes in [&b"-ERR 'Slow Consumer'\r\n"[..], b"MSG u7 1 x\r\n", b"MSG u7 1 1\r\nabc\r\n"] {
            assert!(matches!(complaint(&mut Subject::of(6), bytes), Fault::Said(_)));
        }
    }
}
