//! XMPP (RFC 6120): a message is a `<message>` stanza to the other's full address.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem::find;

use crate::{
    connect::{HOST, Tls},
    fault::Fault,
    wire::{End, Line, Protocol, Talker, name_of},
};

/// The password of every user.
pub(crate) const PASSWORD: &str = "bench";
const RESOURCE: &str = "b";

/// Speaks to an XMPP server.
pub(crate) struct Xmpp;

impl Protocol for Xmpp {
    type Talker = Stanzas;

    fn tls(&self) -> Tls {
        Tls::CLASSICAL
    }

    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault> {
        open(line).await?;
        let who = STANDARD.encode(format!("\0{}\0{PASSWORD}", name_of(user)));
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{who}</auth>");
        line.send(auth.as_bytes()).await?;
        answer(line, b"<success").await?;
        open(line).await?;
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>";
        let bind = format!("<iq type='set' id='1'>{bind}<resource>{RESOURCE}</resource></bind></iq>");
        line.send(bind.as_bytes()).await?;
        let bound = line.through(b"</iq>").await?;
        let address = format!("<jid>{}</jid>", address(user));
        if find(&bound, address.as_bytes()).is_some() { Ok(()) } else { Err(said(&bound)) }
    }

    async fn log_off(&self, line: &mut Line) -> Result<(), Fault> {
        line.send(b"</stream:stream>").await
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Stanzas, Stanzas), Fault> {
        Ok((Stanzas::to(callee.user), Stanzas::to(caller.user)))
    }
}

/// Opens a stream, and waits for what the server offers in it.
async fn open(line: &mut Line) -> Result<(), Fault> {
    let stream = format!(
        "<?xml version='1.0'?><stream:stream to='{HOST}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    line.send(stream.as_bytes()).await?;
    line.through(b"</stream:features>").await.map(|_| ())
}

/// The next element, which has to begin like this.
async fn answer(line: &mut Line, start: &[u8]) -> Result<(), Fault> {
    let element = line.through(b">").await?;
    if element.starts_with(start) { Ok(()) } else { Err(said(&element)) }
}

fn address(user: u64) -> String {
    format!("{}@{HOST}/{RESOURCE}", name_of(user))
}

fn said(bytes: &[u8]) -> Fault {
    Fault::Said(String::from_utf8_lossy(bytes).into_owned())
}

/// Talks to an address.
pub(crate) struct Stanzas {
    before: Vec<u8>,
}

const AFTER: &[u8] = b"</body></message>";

impl Stanzas {
    fn to(user: u64) -> Self {
        Self { before: format!("<message to='{}' type='chat'><body>", address(user)).into_bytes() }
    }
}

impl Talker for Stanzas {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend(&self.before);
        out.extend(payload);
        out.extend(AFTER);
    }

    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
        _answers: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        const END: &[u8] = b"</message>";
        let mut rest = bytes;
        while let Some((stanza, after)) =
            find(rest, END).and_then(|at| rest.split_at_checked(at.saturating_add(END.len())))
        {
            rest = after;
            take(body(stanza).ok_or_else(|| said(stanza))?)?;
        }
        // Anything else than a message, or the beginning of one, is a complaint of the server's or the end.
        const START: &[u8] = b"<message ";
        let is_message = rest.iter().zip(START).all(|(byte, expected)| byte == expected);
        if is_message { Ok(bytes.len().saturating_sub(rest.len())) } else { Err(said(rest)) }
    }
}

/// What a message says, if it is one, and one that a client sent.
fn body(stanza: &[u8]) -> Option<&[u8]> {
    const BODY: &[u8] = b"<body>";
    let head = find(stanza, BODY)?;
    let (before, rest) = stanza.split_at_checked(head)?;
    let body = rest.get(BODY.len()..)?;
    let is_error = find(before, b"type='error'").or_else(|| find(before, b"type=\"error\"")).is_some();
    let is_message = before.starts_with(b"<message ") && !is_error;
    body.get(..find(body, b"</body>")?).filter(|_| is_message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{complaint, read_in_pieces};

    #[test]
    fn a_message_is_a_stanza() {
        let mut bytes = Vec::new();
        Stanzas::to(7).write(b"one", &mut bytes);
        assert_eq!(bytes, b"<message to='u7@localhost/b' type='chat'><body>one</body></message>");
        Stanzas::to(7).write(b"two", &mut bytes);
        for piece in [1, 13, 1000] {
            assert_eq!(read_in_pieces(&mut Stanzas::to(6), &bytes, piece).0, [b"one", b"two"]);
        }
    }

    #[test]
    fn what_servers_put_into_a_message_is_passed_over() {
        let bytes = b"<message xml:lang='en' to=\"u7@localhost/b\" from='u6@localhost/b' type='chat'><body>one</body>\
            <delay xmlns='urn:xmpp:delay'/></message>";
        assert_eq!(read_in_pieces(&mut Stanzas::to(6), bytes, 10).0, [b"one"]);
    }

    #[test]
    fn errors_and_the_end_are_noticed() {
        for bytes in [
            &b"<message type='error' from='u6@localhost/b'><body>one</body><error/></message>"[..],
            b"<stream:error><policy-violation/></stream:error>",
            b"</stream:stream>",
            b"<presence/><message from='u6@localhost/b'><body>one</body></message>",
        ] {
            assert!(matches!(complaint(&mut Stanzas::to(6), bytes), Fault::Said(_)));
        }
    }
}
