//! The safety numbers of `docs/vectors/frames.json`, whose digits were worked out apart from this code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use identity::safety_number;
use protocol::{PublicKey, UserName};
use serde_json::Value;

#[test]
fn safety_numbers_are_those_of_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/frames.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vectors = file["safety_numbers"].as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let server = vector["server"].as_str().unwrap().parse().unwrap();
        let [one, other] = vector["parties"].as_array().unwrap().as_slice() else { panic!("not two: {vector}") };
        let (one, other) = (party(one), party(other));
        let number = safety_number(&server, (&one.0, &one.1), (&other.0, &other.1));
        assert_eq!(number.to_string(), vector["number"], "{vector}");
    }
}

fn party(party: &Value) -> (UserName, PublicKey) {
    let digits = party["key"].as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
    (party["user"].as_str().unwrap().parse().unwrap(), PublicKey::from_bytes(bytes.try_into().unwrap()))
}
