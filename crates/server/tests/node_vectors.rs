//! The golden vectors of `docs/vectors/nodes.json`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{collections::BTreeSet, str::FromStr};

use protocol::{Attempt, ChatId, ClientId, CloseReason, PublicKey};
use serde_json::Value;
use server::{
    router::{Body, Lease, Misheard, Presence, Returned, VERSION, Word},
    signal::{NodeId, SessionId, Signal, SignalKind, Undelivered},
};

#[test]
fn words_are_the_bytes_of_their_fields() {
    for vector in vectors("words") {
        let (fields, bytes) = (&vector["fields"], unhex(&vector["bytes"]));
        let body = match text(&fields["body"]) {
            "Beat" => Body::Beat,
            "Signal" => Body::Signal { to: parsed(&fields["to"]), signal: signal(&fields["signal"]) },
            "Undelivered" => Body::Undelivered(Returned {
                from: parsed(&fields["user"]),
                session: session(&fields["session"]),
                to: parsed(&fields["to"]),
                chat: chat(&fields["chat"]),
                is_repeated: fields["is_repeated"].as_bool().unwrap(),
                why: why(text(&fields["why"])),
            }),
            other => panic!("no body: {other}"),
        };
        let attachment = number(&fields["attachment"]).try_into().unwrap();
        let word =
            Word { version: VERSION, from: node(&fields["from"]), attachment, number: number(&fields["number"]), body };
        assert_eq!(word.encode().unwrap(), bytes, "{vector}");
        assert_eq!(Word::decode(&bytes).unwrap(), word, "{vector}");
    }
}

#[test]
fn what_stands_in_the_bucket_is_the_bytes_of_its_fields() {
    for vector in vectors("presences") {
        let (fields, bytes) = (&vector["fields"], unhex(&vector["bytes"]));
        let attempt = &fields["attempt"];
        let client = ClientId::from_bytes(unhex(&attempt["client"]).try_into().unwrap());
        let attempt = Attempt { client, number: number(&attempt["number"]).try_into().unwrap() };
        let held = (!fields["held"].is_null()).then(|| chat(&fields["held"]));
        let presence = Presence::new(session(&fields["session"]), attempt, held);
        assert_eq!(presence.encode().unwrap(), bytes, "{vector}");
        assert_eq!(Presence::decode(&bytes).unwrap(), presence, "{vector}");
    }
    for vector in vectors("leases") {
        let attachment = number(&vector["fields"]["attachment"]).try_into().unwrap();
        let (lease, bytes) = (Lease { version: VERSION, attachment }, unhex(&vector["bytes"]));
        assert_eq!(lease.encode().unwrap(), bytes, "{vector}");
        assert_eq!(Lease::decode(&bytes).unwrap(), lease, "{vector}");
    }
}

#[test]
fn malformed_bytes_are_refused() {
    for vector in vectors("malformed") {
        let bytes = unhex(&vector["bytes"]);
        let error = match text(&vector["read_as"]) {
            "word" => Word::decode(&bytes).map(|word| format!("{word:?}")),
            "presence" => Presence::decode(&bytes).map(|presence| format!("{presence:?}")),
            "lease" => Lease::decode(&bytes).map(|lease| format!("{lease:?}")),
            other => panic!("nothing to read it as: {other}"),
        };
        let error = error.expect_err(&vector.to_string());
        let is_version = matches!(error, Misheard::Version(_));
        assert_eq!(is_version, text(&vector["because"]) == "version", "{error:?}: {vector}");
    }
}

/// The kinds of signals that nodes tell each other. With a kind left out this does not compile.
fn kind_of(signal: &SignalKind) -> Option<&'static str> {
    Some(match signal {
        SignalKind::Request { .. } => "Request",
        SignalKind::Unavailable => "Unavailable",
        SignalKind::Refuse => "Refuse",
        SignalKind::Accept { .. } => "Accept",
        SignalKind::Establish { .. } => "Establish",
        SignalKind::Message(_) => "Message",
        SignalKind::CallOff(_) => "CallOff",
        SignalKind::Close(_) => "Close",
        SignalKind::Away => "Away",
        SignalKind::Ask(_) => "Ask",
        SignalKind::Answer(_) => "Answer",
        SignalKind::Check => "Check",
        SignalKind::Undelivered { .. } | SignalKind::Lapsed(_) => return None,
    })
}

#[test]
fn every_kind_has_a_vector() {
    let kinds: BTreeSet<_> = vectors("words")
        .iter()
        .filter(|vector| vector["fields"]["body"] == "Signal")
        .map(|vector| kind_of(&signal(&vector["fields"]["signal"]).kind).unwrap())
        .collect();
    assert_eq!(kinds.len(), 12);
    for kind in ["words", "presences", "leases", "malformed"] {
        assert!(!vectors(kind).is_empty(), "{kind}");
    }
}

fn signal(fields: &Value) -> Signal {
    let key = || PublicKey::from_bytes(unhex(&fields["key"]).try_into().unwrap());
    let opaque = |field: &str| unhex(&fields[field]).into();
    let expected = || number(&fields["expected"]);
    let reason = || match text(&fields["reason"]) {
        "Left" => CloseReason::Left,
        "CalledOff" => CloseReason::CalledOff,
        other => panic!("no reason: {other}"),
    };
    let kind = match text(&fields["kind"]) {
        "Request" => SignalKind::Request { key: key() },
        "Unavailable" => SignalKind::Unavailable,
        "Refuse" => SignalKind::Refuse,
        "Accept" => SignalKind::Accept { key: key(), key_package: opaque("key_package") },
        "Establish" => SignalKind::Establish { key: key(), welcome: opaque("welcome") },
        "Message" => SignalKind::Message(opaque("frame")),
        "CallOff" => SignalKind::CallOff(reason()),
        "Close" => SignalKind::Close(reason()),
        "Away" => SignalKind::Away,
        "Ask" => SignalKind::Ask(expected()),
        "Answer" => SignalKind::Answer(expected()),
        "Check" => SignalKind::Check,
        other => panic!("no kind: {other}"),
    };
    assert_eq!(kind_of(&kind), Some(text(&fields["kind"])));
    Signal { from: parsed(&fields["from"]), session: session(&fields["session"]), chat: chat(&fields["chat"]), kind }
}

fn why(name: &str) -> Undelivered {
    match name {
        "Absent" => Undelivered::Absent,
        "Full" => Undelivered::Full,
        "Unreachable" => Undelivered::Unreachable,
        other => panic!("no reason: {other}"),
    }
}

fn session(fields: &Value) -> SessionId {
    SessionId { node: node(&fields["node"]), number: number(&fields["number"]) }
}

fn node(value: &Value) -> NodeId {
    NodeId::new(u64::from_str_radix(text(value), 16).unwrap())
}

fn chat(value: &Value) -> ChatId {
    ChatId::from_bytes(unhex(value).try_into().unwrap())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn parsed<T: FromStr>(value: &Value) -> T {
    text(value).parse().unwrap_or_else(|_| panic!("{value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn vectors(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../../docs/vectors/nodes.json")).unwrap();
    file[kind].as_array().unwrap().clone()
}

/// Bytes in the notation of the vectors: hexadecimal, spaces between fields, and `a5*3` for `a5a5a5`.
fn unhex(value: &Value) -> Vec<u8> {
    let group = |group: &str| {
        let (digits, times) = group.split_once('*').unwrap_or((group, "1"));
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.as_bytes().chunks(2).map(byte).collect();
        bytes.repeat(times.parse().unwrap())
    };
    text(value).split_whitespace().flat_map(group).collect()
}
