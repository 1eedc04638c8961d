//! MQTT 3.1.1: a message is a publication, with quality of service 0, to a topic that the other has subscribed to.

use crate::{
    connect::Tls,
    fault::Fault,
    wire::{End, Line, Protocol, Talker, name_of},
};

/// First bytes of packets (MQTT 3.1.1 section 2.2.1).
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

/// Speaks to an MQTT broker.
pub(crate) struct Mqtt;

impl Protocol for Mqtt {
    type Talker = Topic;

    fn tls(&self) -> Tls {
        Tls::CLASSICAL
    }

    async fn log_in(&self, line: &mut Line, user: u64) -> Result<(), Fault> {
        let (mut body, mut packet) = (Vec::new(), Vec::new());
        put_text(b"MQTT", &mut body);
        // Version 4, a clean session, no keep-alive.
        body.extend([4, 2, 0, 0]);
        put_text(name_of(user).as_bytes(), &mut body);
        put_packet(CONNECT, &[&body], &mut packet);
        line.send(&packet).await?;
        expect(&line.exactly(4).await?, &[CONNACK, 2, 0, 0])
    }

    async fn log_off(&self, line: &mut Line) -> Result<(), Fault> {
        line.send(&[DISCONNECT, 0]).await
    }

    async fn pair_up(&self, caller: End<'_>, callee: End<'_>) -> Result<(Topic, Topic), Fault> {
        for end in [&mut *caller.line, &mut *callee.line].into_iter().zip([caller.user, callee.user]) {
            let (line, user) = end;
            let (mut body, mut packet) = (vec![0, 1], Vec::new());
            put_text(name_of(user).as_bytes(), &mut body);
            body.push(0);
            put_packet(SUBSCRIBE, &[&body], &mut packet);
            line.send(&packet).await?;
            expect(&line.exactly(5).await?, &[SUBACK, 3, 0, 1, 0])?;
        }
        Ok((Topic::of(callee.user), Topic::of(caller.user)))
    }
}

fn expect(got: &[u8], expected: &[u8]) -> Result<(), Fault> {
    if got == expected { Ok(()) } else { Err(Fault::Said(format!("{got:02x?}"))) }
}

/// Publishes to the topic of a user, which bears his name.
pub(crate) struct Topic {
    topic: Vec<u8>,
}

impl Topic {
    fn of(user: u64) -> Self {
        let mut topic = Vec::new();
        put_text(name_of(user).as_bytes(), &mut topic);
        Self { topic }
    }
}

impl Talker for Topic {
    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        put_packet(PUBLISH, &[&self.topic, payload], out);
    }

    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Fault>,
        _answers: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        let mut rest = bytes;
        while let Some((kind, body, after)) = split_packet(rest)? {
            rest = after;
            if kind != PUBLISH {
                return Err(Fault::Said(format!("a packet of kind {kind:02x}")));
            }
            let topic = body.split_first_chunk::<2>();
            let payload = topic.and_then(|(length, rest)| rest.get(usize::from(u16::from_be_bytes(*length))..));
            take(payload.ok_or(Fault::Mangled { bytes: body.len() })?)?;
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }
}

/// A text behind its length (section 1.5.3).
fn put_text(text: &[u8], out: &mut Vec<u8>) {
    crate::wire::put_frame(text, out);
}

/// A packet: its kind, the length of what follows in groups of seven bits (section 2.2.3), and what follows.
fn put_packet(kind: u8, body: &[&[u8]], out: &mut Vec<u8>) {
    out.push(kind);
    let mut length = body.iter().map(|part| part.len()).fold(0, usize::saturating_add);
    loop {
        let group = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        out.push(if length == 0 { group } else { group | 0x80 });
        if length == 0 {
            break;
        }
    }
    body.iter().for_each(|part| out.extend(*part));
}

type Packet<'a> = (u8, &'a [u8], &'a [u8]);

/// The kind and the body of the first packet in `bytes` if it is whole, and what comes after it.
fn split_packet(bytes: &[u8]) -> Result<Option<Packet<'_>>, Fault> {
    let Some((kind, mut rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let Some((group, after)) = rest.split_first() else {
            return Ok(None);
        };
        rest = after;
        length |= usize::from(group & 0x7f) << shift;
        if group & 0x80 == 0 {
            return Ok(rest.split_at_checked(length).map(|(body, after)| (*kind, body, after)));
        }
    }
    Err(Fault::Said("a packet whose length has no end".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{complaint, read_in_pieces};

    #[test]
    fn a_message_is_a_publication() {
        let mut bytes = Vec::new();
        Topic::of(7).write(b"one", &mut bytes);
        assert_eq!(bytes, b"\x30\x07\0\x02u7one");
        for piece in [1, 5, 100] {
            assert_eq!(read_in_pieces(&mut Topic::of(6), &bytes, piece).0, [b"one"]);
        }
    }

    #[test]
    fn lengths_are_in_groups_of_seven_bits() {
        for (length, header) in [(127, &[0x30, 127][..]), (128, &[0x30, 0x80, 1]), (16_384, &[0x30, 0x80, 0x80, 1])] {
            let (mut bytes, body) = (Vec::new(), vec![9; length]);
            put_packet(PUBLISH, &[&body], &mut bytes);
            assert!(bytes.starts_with(header), "{length}");
            assert_eq!(split_packet(&bytes).unwrap(), Some((PUBLISH, &body[..], &[][..])));
            assert_eq!(split_packet(&bytes[..bytes.len() - 1]).unwrap(), None);
        }
        assert!(split_packet(&[0x30, 0x80, 0x80, 0x80, 0x80, 1]).is_err());
    }

    #[test]
    fn what_is_no_publication_is_noticed() {
        assert!(matches!(complaint(&mut Topic::of(6), &[DISCONNECT, 0]), Fault::Said(_)));
        assert!(matches!(complaint(&mut Topic::of(6), &[PUBLISH, 2, 0, 9]), Fault::Mangled { bytes: 2 }));
    }
}
