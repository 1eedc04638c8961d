//! How a client proves to hold a key, and all that is no proof. Nobody who fails here gets an answer to a log-in.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use protocol::{ServerError, ToClient};
use rcgen::{CertificateParams, PublicKeyData as _};

use crate::{
    alert::{CERTIFICATE_REQUIRED, DECODE_ERROR, DECRYPT_ERROR, ILLEGAL_PARAMETER, UNEXPECTED_MESSAGE},
    bent::{
        APPLICATION_DATA, CERTIFICATE, CERTIFICATE_VERIFY, FINISHED, Heard,
        caller::{Caller, OF_CLIENT, OF_SERVER, Signer, spki},
        certificate, certificate_verify, certificates,
        hello::{ECDSA_P256, ED25519},
        message, vector8, vector16, vector24,
    },
    common::World,
};

/// What a client says after the server's Finished is `flight`; it then logs in as alice all the same. How that ends.
fn ends(world: &World, alice: &Signer, flight: impl FnOnce(&mut Caller)) -> Heard {
    let mut caller = Caller::half_way(world);
    flight(&mut caller);
    caller.takes_application_keys();
    caller.logs_in(&alice.name);
    caller.wire.is_turned_away()
}

/// A flight with this certificate, and with this scheme and signature, which may look at the transcript.
fn shows(world: &World, alice: &Signer, shown: &[u8], scheme: u16, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Heard {
    ends(world, alice, |caller| {
        caller.wire.says(&certificate(shown));
        let signature = sign(&caller.wire.transcript);
        caller.wire.says(&certificate_verify(scheme, &signature));
        let finished = caller.finished();
        caller.wire.says(&finished);
    })
}

#[test]
fn only_a_signature_over_this_very_handshake_is_a_proof() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    let mallory = Signer::registered(&world, "mallory", 8);
    let shown = alice.spki();
    let refused = |what: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        assert_eq!(shows(&world, &alice, &shown, ED25519, sign), Heard::Alert(DECRYPT_ERROR), "{what}");
    };
    refused("by another key", &|transcript| mallory.signs(OF_CLIENT, transcript));
    refused("as the server signs", &|transcript| alice.signs(OF_SERVER, transcript));
    refused("for something else", &|transcript| alice.signs("", transcript));
    refused("over a part of it", &|transcript| alice.signs(OF_CLIENT, &transcript[..transcript.len() - 1]));
    refused("over nothing", &|_| alice.signs(OF_CLIENT, &[]));
    refused("of zeros", &|_| vec![0; 64]);
    refused("too short", &|transcript| alice.signs(OF_CLIENT, transcript)[..63].to_vec());
    refused("too long", &|transcript| [alice.signs(OF_CLIENT, transcript), vec![0]].concat());
    refused("empty", &|_| vec![]);
    for bit in [0, 255, 256, 511] {
        refused("with a bit turned over", &|transcript| {
            let mut signature = alice.signs(OF_CLIENT, transcript);
            signature[bit / 8] ^= 1 << (bit % 8);
            signature
        });
    }
    // One that was good in a connection before.
    let mut before = Caller::half_way(&world);
    before.wire.says(&certificate(&shown));
    let old = alice.signs(OF_CLIENT, &before.wire.transcript);
    refused("of another connection", &|_| old.clone());

    let mut honest = Caller::half_way(&world);
    honest.proves(&alice);
    honest.logs_in(&alice.name);
    assert!(matches!(honest.hears_frame(), Some(ToClient::LoggedIn(_))));
    // A proof of one's own key does not make one somebody else.
    let mut other = Caller::half_way(&world);
    other.proves(&mallory);
    other.logs_in(&alice.name);
    assert_eq!(other.hears_frame(), Some(ToClient::Error(ServerError::UnknownUser)));
}

#[test]
fn no_other_signature_scheme_is_taken() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    // RSA by both paddings, ECDSA by three curves, Ed448, ML-DSA, SHA-1, and what nobody has.
    for scheme in [0x0401, 0x0804, 0x0809, ECDSA_P256, 0x0503, 0x0603, 0x0808, 0x0904, 0x0201, 0x0203, 0, 0xffff] {
        let ended = shows(&world, &alice, &alice.spki(), scheme, |transcript| alice.signs(OF_CLIENT, transcript));
        assert_eq!(ended, Heard::Alert(ILLEGAL_PARAMETER), "{scheme:#x}");
    }
}

#[test]
fn no_certificate_and_no_key_of_another_kind_is_taken_for_a_raw_key() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    let refused = |what: &str, shown: &[u8]| {
        let ended = shows(&world, &alice, shown, ED25519, |transcript| alice.signs(OF_CLIENT, transcript));
        assert!(matches!(ended, Heard::Alert(_)), "{what}: {ended:?}");
    };
    // A certificate for alice's own name and key, such as anybody can make.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x509 = CertificateParams::new(vec!["alice".to_owned()]).unwrap().self_signed(&key).unwrap();
    refused("X.509", x509.der());
    // Keys of other kinds, with signatures that are good.
    let rng = SystemRandom::new();
    let p256 = rcgen::KeyPair::generate().unwrap();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, p256.serialized_der()).unwrap();
    let covered =
        |transcript: &[u8]| [&[b' '; 64], OF_CLIENT.as_bytes(), &[0], &crate::bent::keys::hash(transcript)].concat();
    let ended = shows(&world, &alice, &p256.subject_public_key_info(), ECDSA_P256, |transcript| {
        signer.sign(&rng, &covered(transcript)).unwrap().as_ref().to_vec()
    });
    assert!(matches!(ended, Heard::Alert(_)), "P-256: {ended:?}");

    let honest = alice.spki();
    refused("one byte short", &honest[..honest.len() - 1]);
    refused("one byte long", &[&honest[..], &[0]].concat());
    refused("the bare 32 bytes", &honest[12..]);
    refused("nothing", &[]);
    // The same key called X25519 or Ed448.
    for oid in [0x6e, 0x71] {
        let mut other = honest.clone();
        other[8] = oid;
        refused("another algorithm", &other);
    }
    // Points for which anybody has a signature.
    for first in [0, 1] {
        let mut small = [0; 32];
        small[0] = first;
        let forged = [small.to_vec(), vec![0; 32]].concat();
        let ended = shows(&world, &alice, &spki(&small), ED25519, |_| forged);
        assert!(matches!(ended, Heard::Alert(_)), "{ended:?}");
    }
}

#[test]
fn no_proof_left_out_or_put_in_another_order_lets_anybody_in() {
    let world = World::new();
    let alice = Signer::registered(&world, "alice", 7);
    let shown = alice.spki();
    let unexpected = Heard::Alert(UNEXPECTED_MESSAGE);
    let finishes = |caller: &mut Caller| {
        let finished = caller.finished();
        caller.wire.says(&finished);
    };
    let verifies = |caller: &mut Caller| {
        let signature = alice.signs(OF_CLIENT, &caller.wire.transcript);
        caller.wire.says(&certificate_verify(ED25519, &signature));
    };

    let none = ends(&world, &alice, |caller| {
        caller.wire.says(&certificates(&[], &[]));
        finishes(caller);
    });
    assert_eq!(none, Heard::Alert(CERTIFICATE_REQUIRED));
    let none_but_signed = ends(&world, &alice, |caller| {
        caller.wire.says(&certificates(&[], &[]));
        verifies(caller);
        finishes(caller);
    });
    assert_eq!(none_but_signed, Heard::Alert(CERTIFICATE_REQUIRED));
    assert_eq!(ends(&world, &alice, finishes), unexpected, "no certificate message at all");
    let unsigned = ends(&world, &alice, |caller| {
        caller.wire.says(&certificate(&shown));
        finishes(caller);
    });
    assert_eq!(unsigned, unexpected);
    let turned_round = ends(&world, &alice, |caller| {
        verifies(caller);
        caller.wire.says(&certificate(&shown));
        finishes(caller);
    });
    assert_eq!(turned_round, unexpected);
    let twice = ends(&world, &alice, |caller| {
        caller.wire.says(&certificate(&shown));
        caller.wire.says(&certificate(&shown));
    });
    assert_eq!(twice, unexpected);
    let two_keys = ends(&world, &alice, |caller| {
        caller.wire.says(&certificates(&[], &[&shown, &shown]));
        verifies(caller);
        finishes(caller);
    });
    assert!(matches!(two_keys, Heard::Alert(_)), "{two_keys:?}");
    let other_context = ends(&world, &alice, |caller| {
        caller.wire.says(&certificates(&[1, 2, 3], &[&shown]));
        verifies(caller);
        finishes(caller);
    });
    assert!(matches!(other_context, Heard::Alert(_)), "{other_context:?}");
    let unasked_extension = ends(&world, &alice, |caller| {
        let entry = [vector24(&shown), vector16(&[0, 5, 0, 1, 1])].concat();
        caller.wire.says(&message(CERTIFICATE, &[vector8(&[]), vector24(&entry)].concat()));
        verifies(caller);
        finishes(caller);
    });
    assert!(matches!(unasked_extension, Heard::Alert(_)), "{unasked_extension:?}");
    let compressed = ends(&world, &alice, |caller| {
        // RFC 8879: zlib, the length, and what would be zlib's.
        caller.wire.says(&message(25, &[&[0, 1, 0, 0, 50][..], &vector24(&[0x78; 30])].concat()));
    });
    assert_eq!(compressed, unexpected);
    let garbled = ends(&world, &alice, |caller| caller.wire.says(&message(CERTIFICATE, &[0, 0, 0, 9, 1])));
    assert_eq!(garbled, Heard::Alert(DECODE_ERROR));
    let garbled = ends(&world, &alice, |caller| {
        caller.wire.says(&certificate(&shown));
        caller.wire.says(&message(CERTIFICATE_VERIFY, &[8]));
    });
    assert_eq!(garbled, Heard::Alert(DECODE_ERROR));
}

#[test]
fn a_handshake_that_is_not_finished_is_no_handshake() {
    let world = World::with("handshake_timeout = \"1s\"");
    let alice = Signer::registered(&world, "alice", 7);
    let proves = |caller: &mut Caller| {
        caller.wire.says(&certificate(&alice.spki()));
        let signature = alice.signs(OF_CLIENT, &caller.wire.transcript);
        caller.wire.says(&certificate_verify(ED25519, &signature));
    };
    for (what, finished) in [("of zeros", vec![0; 48]), ("of another hash's length", vec![0; 32]), ("empty", vec![])] {
        let ended = ends(&world, &alice, |caller| {
            proves(caller);
            caller.wire.says(&message(FINISHED, &finished));
        });
        assert!(matches!(ended, Heard::Alert(DECRYPT_ERROR | DECODE_ERROR)), "{what}: {ended:?}");
    }
    // A log-in instead of a Finished, under either kind of keys, and before any proof.
    for (is_proven, is_under_new_keys) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut caller = Caller::half_way(&world);
        if is_proven {
            proves(&mut caller);
        }
        if is_under_new_keys {
            caller.takes_application_keys();
        }
        caller.logs_in(&alice.name);
        let ended = caller.wire.socket_ends();
        assert!(ended, "{is_proven} {is_under_new_keys}");
    }
    // One in clear, in the middle of the handshake.
    let mut caller = Caller::half_way(&world);
    caller.wire.writes = None;
    caller.wire.sends(APPLICATION_DATA, &[0, 7, 16, 5, b'a', b'l', b'i', b'c', b'e']);
    assert!(caller.wire.socket_ends());
}
