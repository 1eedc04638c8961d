//! IRC (RFC 2812): a message is a `PRIVMSG` to the other's nickname.

use memchr::memchr;

use crate::{
    connect::Tls,
    fault::Fault,
    wire::{End, Line, Protocol, Talker, name_of},
};

/// Speaks to an IRC server.
pub(crate) struct Irc;

impl Protocol for Irc {
    type Talker = Nick;

    fn tls(&self) -> Tls {
        Tls::CLASSICAL
    }

    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault> {
        let name = name_of(user);
        line.send(format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n").as_bytes()).await?;
        loop {
            let said = line.text_line().await?;
            let mut words = said.split(' ');
            match (words.next(), words.next()) {
                (Some("PING"), Some(token)) => line.send(format!("PONG {token}\r\n").as_bytes()).await?,
                // The message of the day is over, or there is none: the last of the greeting.
                (Some(_), Some("376" | "422")) => return Ok(()),
                (Some("ERROR"), _) => return Err(Fault::Said(said)),
                (Some(_), Some(number)) if is_error(number.as_bytes()) => return Err(Fault::Said(said)),
                _ => {}
            }
        }
    }

    async fn log_off(&self, line: &mut Line) -> Result<(), Fault> {
        line.send(b"QUIT\r\n").await
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Nick, Nick), Fault> {
        Ok((Nick::to(callee.user), Nick::to(caller.user)))
    }
}

/// `401` to `599` are errors (RFC 2812 section 5.2).
fn is_error(number: &[u8]) -> bool {
    number.len() == 3 && matches!(number.first(), Some(b'4' | b'5')) && number.iter().all(u8::is_ascii_digit)
}

/// Talks to a nickname.
pub(crate) struct Nick {
    before: Vec<u8>,
}

impl Nick {
    fn to(user: u64) -> Self {
        Self { before: format!("PRIVMSG {} :", name_of(user)).into_bytes() }
    }
}

impl Talker for Nick {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend(&self.before);
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
            rest = after.get(1..).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let said = || Fault::Said(String::from_utf8_lossy(line).into_owned());
            if let Some(token) = line.strip_prefix(b"PING ") {
                answers.extend(b"PONG ");
                answers.extend(token);
                answers.extend(b"\r\n");
                continue;
            }
            // `:source command …`
            let command = line.strip_prefix(b":").and_then(|line| line.get(memchr(b' ', line)?.checked_add(1)?..));
            let command = command.ok_or_else(said)?;
            if let Some(message) = command.strip_prefix(b"PRIVMSG ") {
                let text = memchr(b':', message).and_then(|at| message.get(at.checked_add(1)?..));
                take(text.ok_or_else(said)?)?;
            } else if command.get(..3).is_some_and(is_error) {
                return Err(said());
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{complaint, read_in_pieces};

    #[test]
    fn a_message_is_a_privmsg() {
        let mut bytes = Vec::new();
        Nick::to(7).write(b"0123..", &mut bytes);
        assert_eq!(bytes, b"PRIVMSG u7 :0123..\r\n");
    }

    #[test]
    fn messages_are_read_and_pings_answered() {
        let bytes = b":u6!u6@host PRIVMSG u7 :one\r\nPING :bench.localhost\r\n:bench NOTICE u7 :hello\r\n\
            :u6!u6@host PRIVMSG u7 :two\r\n";
        for piece in [1, 9, 1000] {
            let (payloads, answers) = read_in_pieces(&mut Nick::to(6), bytes, piece);
            assert_eq!(payloads, [b"one", b"two"]);
            assert_eq!(answers, b"PONG :bench.localhost\r\n");
        }
    }

    #[test]
    fn errors_are_noticed() {
        for bytes in [&b":bench 401 u7 u6 :No such nick\r\n"[..], b"ERROR :Closing link\r\n"] {
            assert!(matches!(complaint(&mut Nick::to(6), bytes), Fault::Said(_)));
        }
    }
}
