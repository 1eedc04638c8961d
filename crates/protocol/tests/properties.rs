//! Whatever frame there is comes back from its bytes, and whatever bytes there are give a frame with just these bytes
//! or none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{collections::BTreeSet, fmt::Debug, str::FromStr};

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use protocol::{
    Accept, Accepted, Asked, Attempt, ChatHeader, ChatId, ClientId, Close, CloseReason, Content, DecodeError,
    Establish, Established, Held, List, Login, Message, NamePrefix, Page, PublicKey, Request, Resume, ServerError,
    ServerName, Text, ToClient, ToServer, TooFast, UserName, frame_codec,
    limits::{MAX_FRAME, MAX_PAGE, MAX_TEXT},
};
use tls_codec::{DeserializeBytes as _, Serialize as _};
use tokio_util::codec::{Decoder as _, Encoder as _};

proptest! {
    #[test]
    fn frames_to_the_server_come_back(frame in to_server()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(ToServer::decode(&bytes), Ok(frame));
    }

    #[test]
    fn frames_to_a_client_come_back(frame in to_client()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(ToClient::decode(&bytes), Ok(frame));
    }

    #[test]
    fn contents_come_back(content in content()) {
        let bytes = content.tls_serialize_detached().unwrap();
        prop_assert_eq!(Content::tls_deserialize_exact_bytes(&bytes).unwrap(), content);
    }

    #[test]
    fn a_header_is_the_head_of_its_frame(header in header(), sealed in opaque()) {
        let frame = ToServer::Message(Message { header, sealed: sealed.clone() }).encode().unwrap();
        prop_assert_eq!(&frame[..ChatHeader::AAD_LEN], header.aad().unwrap());
        prop_assert_eq!(ChatHeader::chat_of(&frame), Ok(header.chat));
        prop_assert_eq!(frame, ToClient::Message(Message { header, sealed }).encode().unwrap());
    }

    #[test]
    fn bytes_at_random(bytes in vec(any::<u8>(), 0..200)) {
        hold_to_their_bytes(&bytes)?;
    }

    #[test]
    fn bytes_at_random_behind_a_code(code in 0..25u8, bytes in vec(prop_oneof![any::<u8>(), Just(0), Just(1), Just(b'a')], 0..80)) {
        hold_to_their_bytes(&[&[code], bytes.as_slice()].concat())?;
    }

    #[test]
    fn frames_with_a_fault(
        mut bytes in prop_oneof![
            to_server().prop_map(|frame| frame.encode().unwrap().to_vec()),
            to_client().prop_map(|frame| frame.encode().unwrap().to_vec()),
            content().prop_map(|content| content.tls_serialize_detached().unwrap()),
        ],
        at in any::<prop::sample::Index>(),
        fault in prop_oneof![
            any::<u8>().prop_map(Fault::Changed), any::<u8>().prop_map(Fault::Added), Just(Fault::Missing), Just(Fault::Cut),
        ],
    ) {
        let at = at.index(bytes.len());
        match fault {
            Fault::Changed(byte) => bytes[at] = byte,
            Fault::Added(byte) => bytes.insert(at, byte),
            Fault::Missing => drop(bytes.remove(at)),
            Fault::Cut => bytes.truncate(at),
        }
        hold_to_their_bytes(&bytes)?;
    }

    #[test]
    fn frames_are_cut_where_they_were_joined(frames in vec(vec(any::<u8>(), 0..300), 0..8), pieces in vec(1..50usize, 1..20)) {
        let mut sent = BytesMut::new();
        for frame in &frames {
            frame_codec().encode(Bytes::copy_from_slice(frame), &mut sent).unwrap();
        }
        let (mut codec, mut arrived, mut found) = (frame_codec(), BytesMut::new(), Vec::new());
        for piece in pieces.iter().cycle() {
            while let Some(frame) = codec.decode(&mut arrived).unwrap() {
                found.push(frame.to_vec());
            }
            if sent.is_empty() {
                break;
            }
            arrived.extend_from_slice(&sent.split_to(sent.len().min(*piece)));
        }
        prop_assert_eq!(found, frames);
        prop_assert!(arrived.is_empty());
    }
}

#[test]
fn no_code_is_left_out_above() {
    fn known<T, S: Strategy<Value = T>>(
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
        frames: S,
        first: impl Fn(&T) -> u8,
    ) {
        let known: BTreeSet<u8> =
            (0..=255).filter(|code| !matches!(decode(&[*code]), Err(DecodeError::Unknown(_)))).collect();
        let mut runner = TestRunner::deterministic();
        let made = (0..1_000).map(|_| first(&frames.new_tree(&mut runner).unwrap().current())).collect();
        assert_eq!(known, made);
    }
    known(ToServer::decode, to_server(), |frame| frame.encode().unwrap()[0]);
    known(ToClient::decode, to_client(), |frame| frame.encode().unwrap()[0]);
    let decode = |bytes: &[u8]| Content::tls_deserialize_exact_bytes(bytes).map_err(DecodeError::from);
    known(decode, content(), |content| content.tls_serialize_detached().unwrap()[0]);
}

#[test]
fn the_longest_and_one_more() {
    let chat = ChatId::from_bytes([7; 16]);
    let accept = |length| ToServer::Accept(Accept { chat, key_package: vec![1; length].into() });
    let longest = accept(MAX_FRAME - 1 - 16 - 2).encode().unwrap();
    assert_eq!(longest.len(), MAX_FRAME);
    assert_eq!(ToServer::decode(&longest), Ok(accept(MAX_FRAME - 19)));
    for length in [0, MAX_FRAME - 18, MAX_FRAME] {
        assert_eq!(accept(length).encode(), Err(DecodeError::Malformed), "{length}");
    }

    let name: UserName = "x".repeat(32).parse().unwrap();
    let list = |count| ToClient::List(List { names: vec![name.clone(); count], more: true });
    assert_eq!(ToClient::decode(&list(MAX_PAGE).encode().unwrap()), Ok(list(MAX_PAGE)));
    assert_eq!(list(MAX_PAGE + 1).encode(), Err(DecodeError::Malformed));

    let text = Content::Text(Text::try_from("é".repeat(MAX_TEXT / 2)).unwrap());
    assert_eq!(Content::tls_deserialize_exact_bytes(&text.tls_serialize_detached().unwrap()).unwrap(), text);
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Changed(u8),
    Added(u8),
    Missing,
    Cut,
}

/// Whatever `bytes` decode to encodes to the same bytes; that nothing panics goes without saying.
fn hold_to_their_bytes(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(frame) = ToServer::decode(bytes) {
        prop_assert_eq!(frame.encode().unwrap(), bytes);
    }
    let to_client = ToClient::decode(bytes);
    if let Ok(frame) = &to_client {
        prop_assert_eq!(frame.encode().unwrap(), bytes);
    }
    if let Ok(content) = Content::tls_deserialize_exact_bytes(bytes) {
        prop_assert_eq!(content.tls_serialize_detached().unwrap(), bytes);
    }
    let chat = ChatHeader::chat_of(bytes);
    if let Ok(ToClient::Message(message)) = to_client {
        prop_assert_eq!(chat, Ok(message.header.chat));
    }
    Ok(())
}

fn to_server() -> impl Strategy<Value = ToServer> {
    prop_oneof![
        Just(ToServer::Exit),
        (name_prefix(), name_prefix()).prop_map(|(prefix, after)| ToServer::List(Page { prefix, after })),
        (user_name(), chat()).prop_map(|(peer, chat)| ToServer::RequestToTalk(Request { peer, chat })),
        (chat(), opaque()).prop_map(|(chat, key_package)| ToServer::Accept(Accept { chat, key_package })),
        chat().prop_map(ToServer::Refuse),
        (header(), opaque()).prop_map(|(header, sealed)| ToServer::Message(Message { header, sealed })),
        (chat(), opaque()).prop_map(|(chat, welcome)| ToServer::SessionEstablishment(Establish { chat, welcome })),
        close().prop_map(ToServer::ChatClosed),
        (user_name(), attempt(), prop::option::of(held())).prop_map(|(user, attempt, held)| ToServer::Login(Login {
            user,
            attempt,
            held
        })),
        Just(ToServer::Ping),
        resume().prop_map(ToServer::Resume),
    ]
}

fn to_client() -> impl Strategy<Value = ToClient> {
    prop_oneof![
        (vec(user_name(), 0..40), any::<bool>()).prop_map(|(names, more)| ToClient::List(List { names, more })),
        (user_name(), chat()).prop_map(|(peer, chat)| ToClient::RequestToTalk(Request { peer, chat })),
        (chat(), key(), opaque()).prop_map(|(chat, key, key_package)| ToClient::Accept(Accepted {
            chat,
            key,
            key_package
        })),
        chat().prop_map(ToClient::Refuse),
        (header(), opaque()).prop_map(|(header, sealed)| ToClient::Message(Message { header, sealed })),
        (chat(), key(), opaque()).prop_map(|(chat, key, welcome)| ToClient::SessionEstablishment(Established {
            chat,
            key,
            welcome
        })),
        chat().prop_map(ToClient::UserNotFound),
        close().prop_map(ToClient::ChatClosed),
        parsed::<ServerName>("[!-?\\[-~]{1,255}").prop_map(ToClient::LoggedIn),
        server_error().prop_map(ToClient::Error),
        Just(ToClient::Pong),
        resume().prop_map(ToClient::Resume),
        chat().prop_map(ToClient::PeerAway),
        (prop_oneof![Just(Asked::List), chat().prop_map(Asked::RequestToTalk)], any::<u32>())
            .prop_map(|(asked, retry_in_ms)| ToClient::TooFast(TooFast { asked, retry_in_ms })),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Receipt),
        "\\PC{1,300}|[\\x00-\\x7f]{1,300}".prop_map(|text| Content::Text(Text::try_from(text).unwrap())),
        Just(Content::Goodbye),
    ]
}

fn header() -> impl Strategy<Value = ChatHeader> {
    (chat(), any::<u64>(), any::<u64>()).prop_map(|(chat, counter, ack)| ChatHeader::new(chat, counter, ack))
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (any::<[u8; 16]>(), any::<u32>())
        .prop_map(|(client, number)| Attempt { client: ClientId::from_bytes(client), number })
}

fn held() -> impl Strategy<Value = Held> {
    (user_name(), resume()).prop_map(|(peer, resume)| Held { peer, resume })
}

fn resume() -> impl Strategy<Value = Resume> {
    (chat(), any::<u64>()).prop_map(|(chat, expected)| Resume { chat, expected })
}

fn close() -> impl Strategy<Value = Close> {
    use CloseReason::{Busy, CalledOff, Expired, Failed, Left, Overrun};
    let reason = prop::sample::select(vec![Left, CalledOff, Expired, Busy, Failed, Overrun]);
    (chat(), reason).prop_map(|(chat, reason)| Close { chat, reason })
}

fn server_error() -> impl Strategy<Value = ServerError> {
    use ServerError::{Idle, Protocol, Removed, Replaced, ShuttingDown, Unavailable, UnknownUser};
    prop::sample::select(vec![UnknownUser, Replaced, Removed, ShuttingDown, Idle, Protocol, Unavailable])
}

fn chat() -> impl Strategy<Value = ChatId> {
    any::<[u8; 16]>().prop_map(ChatId::from_bytes)
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::from_bytes)
}

fn opaque() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..400).prop_map(Bytes::from)
}

fn user_name() -> impl Strategy<Value = UserName> {
    parsed("[a-z0-9][a-z0-9._-]{0,31}")
}

fn name_prefix() -> impl Strategy<Value = NamePrefix> {
    parsed("[a-z0-9._-]{0,32}")
}

fn parsed<T: FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text| text.parse().unwrap())
}
