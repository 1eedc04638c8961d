//! The golden vectors of `docs/vectors/frames.json`, and the numbers that `docs/protocol.md` gives.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test may panic, and says on stderr what it skips"
)]

#[path = "vectors/document.rs"]
mod document;

use std::{collections::BTreeSet, fmt::Debug, io::ErrorKind, process::Command, str::FromStr};

use bytes::{Bytes, BytesMut};
use protocol::{
    Accept, Accepted, Asked, Attempt, ChatHeader, ChatId, ClientId, Close, CloseReason, Code, Content, DecodeError,
    Establish, Established, Held, List, Login, Message, Page, PublicKey, Request, Resume, ServerError, Text, ToClient,
    ToServer, TooFast, frame_codec,
};
use serde_json::Value;
use tls_codec::{DeserializeBytes as _, Serialize as _};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// The names of an enum's variants. With a variant left out it does not compile; and each that is in it has to have a
/// vector, or a test fails.
macro_rules! names {
    ($constant:ident, $type:ident: $($variant:ident),* $(,)?) => {
        pub(crate) const $constant: &[&str] = &[$(stringify!($variant)),*];
        const _: fn(&$type) = |value| match value { $($type::$variant { .. } => ()),* };
    };
}

/// The same for an enum whose variants are numbers.
macro_rules! numbers {
    ($constant:ident, $type:ident: $($variant:ident),* $(,)?) => {
        pub(crate) const $constant: &[(&str, $type)] = &[$((stringify!($variant), $type::$variant)),*];
        const _: fn($type) = |value| match value { $($type::$variant => ()),* };
    };
}

names!(
    TO_SERVER,
    ToServer: Exit, List, RequestToTalk, Accept, Refuse, Message, SessionEstablishment, ChatClosed, Login, Ping, Resume,
);
names!(
    TO_CLIENT,
    ToClient: List, RequestToTalk, Accept, Refuse, Message, SessionEstablishment, UserNotFound, ChatClosed, LoggedIn,
    Error, Pong, Resume, PeerAway, TooFast,
);
names!(ASKED, Asked: List, RequestToTalk);
names!(CONTENTS, Content: Receipt, Text, Goodbye);
numbers!(
    CODES,
    Code: Exit, List, RequestToTalk, Accept, Refuse, Message, SessionEstablishment, UserNotFound, ChatClosed, Login,
    LoggedIn, Error, Ping, Pong, Resume, PeerAway, TooFast,
);
numbers!(CLOSE_REASONS, CloseReason: Left, CalledOff, Expired, Busy, Failed, Overrun);
numbers!(SERVER_ERRORS, ServerError: UnknownUser, Replaced, Removed, ShuttingDown, Idle, Protocol, Unavailable);

/// The kinds of vectors in the file.
const KINDS: [&str; 5] = ["frames", "contents", "authenticated_data", "safety_numbers", "malformed"];

#[test]
fn frames_are_the_bytes_of_their_fields() {
    for vector in vectors("frames") {
        let (name, fields, expected) = (text(&vector["frame"]), Fields(&vector["fields"]), unhex(&vector["bytes"]));
        let bytes = match text(&vector["direction"]) {
            "to_server" => both_ways(to_server(name, &fields), ToServer::encode, ToServer::decode),
            "to_client" => both_ways(to_client(name, &fields), ToClient::encode, ToClient::decode),
            other => panic!("no direction: {other}"),
        };
        assert!(bytes == expected, "{vector}");

        let wire = [unhex(&vector["length"]), expected].concat();
        let mut sent = BytesMut::new();
        frame_codec().encode(Bytes::from(bytes), &mut sent).unwrap();
        assert!(sent == wire, "{vector}");
        assert!(frame_codec().decode(&mut sent).unwrap().unwrap() == wire[2..], "{vector}");
    }
}

#[test]
fn contents_are_the_bytes_of_their_fields() {
    for vector in vectors("contents") {
        let content = match text(&vector["content"]) {
            "Receipt" => Content::Receipt,
            "Text" => Content::Text(Text::try_from(long_text(&vector["fields"]["text"])).unwrap()),
            "Goodbye" => Content::Goodbye,
            other => panic!("no content: {other}"),
        };
        let encode = |content: &Content| content.tls_serialize_detached();
        assert!(
            both_ways(content, encode, Content::tls_deserialize_exact_bytes) == unhex(&vector["bytes"]),
            "{vector}"
        );
    }
}

#[test]
fn authenticated_data_is_the_head_of_the_frame() {
    for vector in vectors("authenticated_data") {
        let header = Fields(&vector["fields"]).header();
        let aad = header.aad().unwrap();
        assert_eq!(aad, unhex(&vector["bytes"]), "{vector}");
        assert_eq!(aad.len(), ChatHeader::AAD_LEN);
        let frame = ToServer::Message(Message { header, sealed: Bytes::from_static(b"sealed") }).encode().unwrap();
        assert_eq!(frame[..ChatHeader::AAD_LEN], aad, "{vector}");
        assert_eq!(ChatHeader::chat_of(&frame), Ok(header.chat), "{vector}");
    }
}

#[test]
fn malformed_bytes_are_refused() {
    for vector in vectors("malformed") {
        let bytes = unhex(&vector["bytes"]);
        let result = match text(&vector["read_as"]) {
            "to_server" => ToServer::decode(&bytes).map(|frame| format!("{frame:?}")),
            "to_client" => ToClient::decode(&bytes).map(|frame| format!("{frame:?}")),
            "content" => Content::tls_deserialize_exact_bytes(&bytes)
                .map(|content| format!("{content:?}"))
                .map_err(DecodeError::from),
            other => panic!("nothing to read it as: {other}"),
        };
        let error = result.expect_err(&vector.to_string());
        let is_unknown = matches!(error, DecodeError::Unknown(_));
        assert_eq!(is_unknown, text(&vector["because"]) == "unknown", "{error:?}: {vector}");
    }
}

#[test]
fn everything_that_there_is_has_a_vector() {
    let found = |kind: &str, pointer: &str, wanted: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let chosen = vectors(kind).into_iter().filter(|vector| wanted(vector));
        chosen.map(|vector| text(vector.pointer(pointer).unwrap()).to_owned()).collect()
    };
    let to = |direction: &'static str| move |vector: &Value| vector["direction"] == direction;
    assert_eq!(found("frames", "/frame", &to("to_server")), set(TO_SERVER.iter().copied()));
    assert_eq!(found("frames", "/frame", &to("to_client")), set(TO_CLIENT.iter().copied()));
    assert_eq!(found("frames", "/frame", &|_| true), set(CODES.iter().map(|(name, _)| *name)));
    assert_eq!(found("contents", "/content", &|_| true), set(CONTENTS.iter().copied()));

    let of = |frame: &'static str| move |vector: &Value| to("to_client")(vector) && vector["frame"] == frame;
    let reasons = set(CLOSE_REASONS.iter().map(|(name, _)| *name));
    assert_eq!(found("frames", "/fields/reason", &of("ChatClosed")), reasons);
    assert_eq!(found("frames", "/fields/asked/what", &of("TooFast")), set(ASKED.iter().copied()));
    let errors = set(SERVER_ERRORS.iter().map(|(name, _)| *name));
    assert_eq!(found("frames", "/fields/reason", &of("Error")), errors);
    for kind in KINDS {
        assert!(!vectors(kind).is_empty(), "{kind}");
    }
}

#[test]
fn a_decoder_written_from_the_document_alone_agrees() {
    let script = document::root().join("scripts/decode_vectors.py");
    match Command::new("python3").arg(script).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let count: usize = KINDS.iter().map(|kind| vectors(kind).len()).sum();
            // Those of what nodes tell each other are encoded and decoded by the crate that does it.
            let nodes: Value = serde_json::from_str(&document::read("docs/vectors/nodes.json")).unwrap();
            let of_nodes =
                ["words", "presences", "leases", "malformed"].map(|kind| nodes[kind].as_array().unwrap().len());
            let count = count + of_nodes.iter().sum::<usize>();
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{count} vectors agree\n"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: there is no python3 to run scripts/decode_vectors.py");
        }
        Err(error) => panic!("python3 cannot be run: {error}"),
    }
}

/// Encodes `value`, decodes what came of it, and gives the bytes.
fn both_ways<T: PartialEq + Debug, B: AsRef<[u8]>, E: Debug, F: Debug>(
    value: T,
    encode: impl Fn(&T) -> Result<B, E>,
    decode: impl Fn(&[u8]) -> Result<T, F>,
) -> Vec<u8> {
    let bytes = encode(&value).unwrap().as_ref().to_vec();
    assert_eq!(decode(&bytes).unwrap(), value);
    bytes
}

fn to_server(name: &str, fields: &Fields<'_>) -> ToServer {
    match name {
        "Exit" => ToServer::Exit,
        "List" => ToServer::List(Page { prefix: fields.parsed("prefix"), after: fields.parsed("after") }),
        "RequestToTalk" => ToServer::RequestToTalk(Request { peer: fields.parsed("peer"), chat: fields.chat() }),
        "Accept" => ToServer::Accept(Accept { chat: fields.chat(), key_package: fields.opaque("key_package") }),
        "Refuse" => ToServer::Refuse(fields.chat()),
        "Message" => ToServer::Message(Message { header: fields.header(), sealed: fields.opaque("sealed") }),
        "SessionEstablishment" => {
            ToServer::SessionEstablishment(Establish { chat: fields.chat(), welcome: fields.opaque("welcome") })
        }
        "ChatClosed" => ToServer::ChatClosed(Close { chat: fields.chat(), reason: fields.reason(CLOSE_REASONS) }),
        "Login" => {
            ToServer::Login(Login { user: fields.parsed("user"), attempt: fields.attempt(), held: fields.held() })
        }
        "Ping" => ToServer::Ping,
        "Resume" => ToServer::Resume(fields.resume()),
        other => panic!("no frame to the server: {other}"),
    }
}

fn to_client(name: &str, fields: &Fields<'_>) -> ToClient {
    match name {
        "List" => ToClient::List(List { names: fields.names(), more: fields.0["more"].as_bool().unwrap() }),
        "RequestToTalk" => ToClient::RequestToTalk(Request { peer: fields.parsed("peer"), chat: fields.chat() }),
        "Accept" => {
            let (chat, key, key_package) = (fields.chat(), fields.key(), fields.opaque("key_package"));
            ToClient::Accept(Accepted { chat, key, key_package })
        }
        "Refuse" => ToClient::Refuse(fields.chat()),
        "Message" => ToClient::Message(Message { header: fields.header(), sealed: fields.opaque("sealed") }),
        "SessionEstablishment" => {
            let (chat, key, welcome) = (fields.chat(), fields.key(), fields.opaque("welcome"));
            ToClient::SessionEstablishment(Established { chat, key, welcome })
        }
        "UserNotFound" => ToClient::UserNotFound(fields.chat()),
        "ChatClosed" => ToClient::ChatClosed(Close { chat: fields.chat(), reason: fields.reason(CLOSE_REASONS) }),
        "LoggedIn" => ToClient::LoggedIn(fields.parsed("server")),
        "Error" => ToClient::Error(fields.reason(SERVER_ERRORS)),
        "Pong" => ToClient::Pong,
        "Resume" => ToClient::Resume(fields.resume()),
        "PeerAway" => ToClient::PeerAway(fields.chat()),
        "TooFast" => {
            let retry_in_ms = fields.0["retry_in_ms"].as_u64().unwrap().try_into().unwrap();
            ToClient::TooFast(TooFast { asked: fields.asked(), retry_in_ms })
        }
        other => panic!("no frame to a client: {other}"),
    }
}

/// The fields of a vector.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn parsed<T: FromStr<Err: Debug>>(&self, field: &str) -> T {
        text(&self.0[field]).parse().unwrap()
    }

    fn names<T: FromStr<Err: Debug>>(&self) -> Vec<T> {
        self.0["names"].as_array().unwrap().iter().map(|name| text(name).parse().unwrap()).collect()
    }

    fn opaque(&self, field: &str) -> Bytes {
        unhex(&self.0[field]).into()
    }

    fn chat(&self) -> ChatId {
        ChatId::from_bytes(unhex(&self.0["chat"]).try_into().unwrap())
    }

    fn key(&self) -> PublicKey {
        PublicKey::from_bytes(unhex(&self.0["key"]).try_into().unwrap())
    }

    fn header(&self) -> ChatHeader {
        let number = |field: &str| self.0[field].as_u64().unwrap();
        let version = number("version").try_into().unwrap();
        ChatHeader { version, chat: self.chat(), counter: number("counter"), ack: number("ack") }
    }

    fn resume(&self) -> Resume {
        Resume { chat: self.chat(), expected: self.0["expected"].as_u64().unwrap() }
    }

    fn attempt(&self) -> Attempt {
        let attempt = &self.0["attempt"];
        let client = ClientId::from_bytes(unhex(&attempt["client"]).try_into().unwrap());
        Attempt { client, number: attempt["number"].as_u64().unwrap().try_into().unwrap() }
    }

    fn held(&self) -> Option<Held> {
        let held = Some(Fields(&self.0["held"])).filter(|held| !held.0.is_null())?;
        Some(Held { peer: held.parsed("peer"), resume: held.resume() })
    }

    fn asked(&self) -> Asked {
        let asked = Fields(&self.0["asked"]);
        match text(&asked.0["what"]) {
            "List" => Asked::List,
            "RequestToTalk" => Asked::RequestToTalk(asked.chat()),
            other => panic!("nothing to ask for: {other}"),
        }
    }

    fn reason<T: Copy>(&self, known: &[(&str, T)]) -> T {
        let reason = text(&self.0["reason"]);
        known.iter().find(|(name, _)| *name == reason).unwrap_or_else(|| panic!("no reason: {reason}")).1
    }
}

fn vectors(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(&document::read("docs/vectors/frames.json")).unwrap();
    file[kind].as_array().unwrap().clone()
}

fn set<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.map(str::to_owned).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A text, or `repeat` so many `times`.
fn long_text(value: &Value) -> String {
    match value.as_object() {
        Some(long) => text(&long["repeat"]).repeat(long["times"].as_u64().unwrap().try_into().unwrap()),
        None => text(value).to_owned(),
    }
}

/// Bytes in the notation of the vectors: hexadecimal, spaces between fields, and `a5*3` for `a5a5a5`.
fn unhex(value: &Value) -> Vec<u8> {
    let group = |group: &str| {
        let (digits, times) = group.split_once('*').unwrap_or((group, "1"));
        assert!(digits.len().is_multiple_of(2), "half a byte: {group}");
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
        bytes.repeat(times.parse().unwrap())
    };
    text(value).split_whitespace().flat_map(group).collect()
}
