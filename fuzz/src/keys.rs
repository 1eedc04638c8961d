use std::collections::BTreeSet;

use identity::{LockedKey, Pin, PinError, PinFile, parse_public_line, public_line};
use protocol::{PublicKey, ServerName, UserName};

use crate::scratch::Scratch;

/// Takes the bytes for a key file, the line of a public key, and the file of pins.
///
/// A key file says the same public key each time. A line is read back as it was written. Pins that are read are one for
/// each user and found one by one, and pinning, verifying and forgetting another leaves them as they were.
pub fn keys(bytes: &[u8]) {
    let scratch = Scratch::new();
    key_file(&scratch, bytes);
    if let Ok(text) = str::from_utf8(bytes) {
        line(text);
    }
    pins(&scratch, bytes);
}

fn key_file(scratch: &Scratch, bytes: &[u8]) {
    let path = scratch.file("key", bytes);
    match LockedKey::read(&path) {
        Ok(locked) => {
            assert_eq!(LockedKey::read(&path).unwrap().public(), locked.public());
            // Unlocking takes as long as the file says; what it opens is read here only where that is at once.
            let rounds = ssh_key::PrivateKey::from_openssh(bytes).ok().and_then(|file| match file.kdf() {
                ssh_key::Kdf::Bcrypt { rounds, .. } => Some(*rounds),
                _ => None,
            });
            if rounds.is_some_and(|rounds| rounds <= 1)
                && let Ok(key) = locked.unlock(b"password")
            {
                assert_eq!(key.public(), locked.public());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn line(text: &str) {
    match parse_public_line(text) {
        Ok(key) => assert_eq!(parse_public_line(&public_line(&key, "a comment\n# and more")), Ok(key)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn pins(scratch: &Scratch, bytes: &[u8]) {
    let pins = PinFile::new(scratch.file("pins", bytes));
    let before = match pins.list() {
        Ok(before) => before,
        Err(error) => return assert!(matches!(error, PinError::Damaged { line: 1.., .. })),
    };
    let whose: BTreeSet<_> = before.iter().map(|(user, server, _)| (user, server.as_str())).collect();
    assert_eq!(whose.len(), before.len(), "two pins of one user");
    for (user, server, pin) in &before {
        assert_eq!(pins.get(user, server).unwrap().as_ref(), Some(pin));
    }
    let (user, server): (UserName, ServerName) = ("mallory".parse().unwrap(), "relay.example".parse().unwrap());
    let key = PublicKey::from_bytes([7; 32]);
    if pins.get(&user, &server).unwrap().is_some() {
        return;
    }
    pins.pin(&user, &server, &key).unwrap();
    assert_eq!(pins.verify(&user, &server, &key).unwrap(), Pin { key, verified: true });
    assert!(matches!(pins.pin(&user, &server, &PublicKey::from_bytes([8; 32])), Err(PinError::Changed)));
    assert_eq!(pins.list().unwrap()[..before.len()], before);
    assert_eq!(pins.forget(&user, &server).unwrap().key, key);
    assert_eq!(pins.list().unwrap(), before);
}
