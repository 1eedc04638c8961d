use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use identity::{KeyFileError, LockedKey, MAX_ROUNDS, ROUNDS, UnlockError, parse_public_line, write_key_file};
use proptest::prelude::*;
use ssh_key::{Kdf, LineEnding, PrivateKey};
use tempfile::tempdir;

use crate::common::{key, mode, rng, run, text, write};

/// Keys made by `ssh-keygen` of OpenSSH 9.2 for these tests alone, `-a 1` so that unlocking takes no time.
const ENCRYPTED: &[u8] = include_bytes!("keys/encrypted");
const ENCRYPTED_PUBLIC: &str = include_str!("keys/encrypted.pub");
const PASSWORD: &[u8] = b"correct horse";
const ED25519_START: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";

fn read(contents: &[u8]) -> Result<LockedKey, KeyFileError> {
    let dir = tempdir().unwrap();
    LockedKey::read(&write(dir.path(), "key", contents))
}

#[test]
fn a_key_comes_back_from_its_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("key");
    let key = key(1);
    write_key_file(&path, &key, b"swordfish", "alice@laptop", &mut rng(1)).unwrap();
    assert_eq!(mode(&path), 0o600);

    let locked = LockedKey::read(&path).unwrap();
    assert_eq!(locked.public(), key.public());
    assert_eq!(locked.unlock(b"Swordfish").unwrap_err(), UnlockError::WrongPassword);
    assert_eq!(locked.unlock(b"").unwrap_err(), UnlockError::WrongPassword);
    let unlocked = locked.unlock(b"swordfish").unwrap();
    assert_eq!(unlocked.public(), key.public());
    assert_eq!(unlocked.sign(b"hello"), key.sign(b"hello"));

    let file = PrivateKey::read_openssh_file(&path).unwrap();
    assert!(matches!(file.kdf(), Kdf::Bcrypt { salt, rounds: ROUNDS } if salt.len() == 16), "{:?}", file.kdf());
}

#[test]
fn debug_shows_no_secret() {
    let locked = read(ENCRYPTED).unwrap();
    assert_eq!(format!("{locked:?}"), "LockedKey { public: PublicKey(b1e08370…), .. }");
}

#[test]
fn no_two_files_are_encrypted_alike() {
    let dir = tempdir().unwrap();
    let mut rng = rng(1);
    let [one, other] = ["one", "other"].map(|name| {
        let path = dir.path().join(name);
        write_key_file(&path, &key(1), b"x", "", &mut rng).unwrap();
        PrivateKey::read_openssh_file(&path).unwrap()
    });
    assert_ne!(one.kdf(), other.kdf());
    assert_ne!(one.key_data().encrypted(), other.key_data().encrypted());
}

#[test]
fn what_ssh_keygen_makes_opens() {
    let expected = parse_public_line(ENCRYPTED_PUBLIC).unwrap();
    let locked = read(ENCRYPTED).unwrap();
    assert_eq!(locked.public(), expected);
    assert_eq!(locked.unlock(PASSWORD).unwrap().public(), expected);
    assert_eq!(locked.unlock(b"correct horse ").unwrap_err(), UnlockError::WrongPassword);

    let others: [&[u8]; 3] = [
        include_bytes!("keys/cipher-aes256-cbc"),
        include_bytes!("keys/cipher-aes256-gcm"),
        include_bytes!("keys/cipher-chacha20-poly1305"),
    ];
    for other in others {
        let locked = read(other).unwrap();
        assert_eq!(locked.unlock(PASSWORD).unwrap().public(), locked.public());
        assert_eq!(locked.unlock(b"wrong").unwrap_err(), UnlockError::WrongPassword);
    }
}

#[test]
fn ssh_keygen_and_this_program_read_each_others_files() {
    let dir = tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));

    let key = key(1);
    write_key_file(&ours, &key, b"sword fish", "alice@laptop", &mut rng(1)).unwrap();
    let Some(shown) = run("ssh-keygen", &["-y", "-P", "sword fish", "-f", ours.to_str().unwrap()]) else { return };
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    assert_eq!(parse_public_line(&text(&shown.stdout)), Ok(key.public()));
    assert!(text(&shown.stdout).contains("alice@laptop"));

    let made = run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "pass wörd", "-f", theirs.to_str().unwrap()]).unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let public = fs::read_to_string(dir.path().join("theirs.pub")).unwrap();
    let unlocked = LockedKey::read(&theirs).unwrap().unlock("pass wörd".as_bytes()).unwrap();
    assert_eq!(parse_public_line(&public), Ok(unlocked.public()));
}

#[test]
fn each_fault_has_its_error() {
    let dir = tempdir().unwrap();
    let place = |name: &str, contents: &[u8]| write(dir.path(), name, contents);
    let fault = |path: &Path| LockedKey::read(path).unwrap_err();
    let says = |path: &PathBuf, what: &str| {
        let message = fault(path).to_string();
        assert!(message.contains(what) && message.contains(path.to_str().unwrap()), "{message}");
    };

    let missing = dir.path().join("missing");
    assert!(matches!(fault(&missing), KeyFileError::Missing(_)));
    says(&missing, "sottovoce keygen");

    let unencrypted = place("unencrypted", include_bytes!("keys/unencrypted"));
    assert!(matches!(fault(&unencrypted), KeyFileError::Unencrypted(_)));
    says(&unencrypted, &format!("`ssh-keygen -p -f {}`", unencrypted.display()));

    let rsa = place("rsa", include_bytes!("keys/rsa"));
    assert!(matches!(fault(&rsa), KeyFileError::WrongType { found, .. } if found == "ssh-rsa"));
    says(&rsa, "ssh-keygen -t ed25519");
    let ecdsa = place("ecdsa", include_bytes!("keys/ecdsa"));
    assert!(matches!(fault(&ecdsa), KeyFileError::WrongType { .. }));
    let tdes = place("tdes", include_bytes!("keys/tdes"));
    assert!(matches!(fault(&tdes), KeyFileError::Cipher { cipher, .. } if cipher == "3des-cbc"));

    assert!(matches!(fault(dir.path()), KeyFileError::NotAKey(_)), "a directory");
    let foreign: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("pem", include_bytes!("keys/pem")),
        ("public", ENCRYPTED_PUBLIC.as_bytes()),
        ("binary", &[0xff; 100_000]),
        ("prose", b"my password is swordfish"),
    ];
    for (name, contents) in foreign {
        let path = place(name, contents);
        assert!(matches!(fault(&path), KeyFileError::NotAKey(_)), "{name}");
        says(&path, "not a private key");
    }
}

#[test]
fn a_file_that_others_may_open_is_refused() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "key", ENCRYPTED);
    for loose in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
        let error = LockedKey::read(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::LooseMode(_)), "{loose:o}");
        assert!(error.to_string().contains(&format!("`chmod 600 {}`", path.display())), "{error}");
    }
    for tight in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, fs::Permissions::from_mode(tight)).unwrap();
        assert!(LockedKey::read(&path).is_ok(), "{tight:o}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_left_unprotected() {
    let dir = tempdir().unwrap();
    let path = write(dir.path(), "key", b"precious");
    let error = write_key_file(&path, &key(1), b"x", "", &mut rng(1)).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let other = dir.path().join("other");
    let error = write_key_file(&other, &key(1), b"", "", &mut rng(1)).unwrap_err();
    assert!(matches!(error, KeyFileError::EmptyPassword), "{error}");
    assert!(!other.exists());

    let nowhere = dir.path().join("no/such/directory");
    let error = write_key_file(&nowhere, &key(1), b"x", "", &mut rng(1)).unwrap_err();
    assert!(matches!(error, KeyFileError::Io { .. }), "{error}");
}

#[test]
fn a_file_cannot_ask_for_hours_of_work() {
    let bytes = PrivateKey::from_openssh(ENCRYPTED).unwrap().to_bytes().unwrap();
    // kdfoptions: the length of the salt, the salt, the rounds.
    let salt = bytes.windows(4).position(|window| window == [0, 0, 0, 16]).unwrap();
    let with_rounds = |rounds: u32| {
        let mut bytes = bytes.to_vec();
        bytes[salt + 20..salt + 24].copy_from_slice(&rounds.to_be_bytes());
        read(PrivateKey::from_bytes(&bytes).unwrap().to_openssh(LineEnding::LF).unwrap().as_bytes())
    };
    for absurd in [MAX_ROUNDS + 1, u32::MAX] {
        let error = with_rounds(absurd).unwrap_err();
        assert!(matches!(error, KeyFileError::TooManyRounds { rounds, .. } if rounds == absurd), "{error}");
    }
    assert!(with_rounds(MAX_ROUNDS).is_ok());
    assert!(with_rounds(0).unwrap().unlock(PASSWORD).is_err());
    assert!(with_rounds(1).unwrap().unlock(PASSWORD).is_ok());
}

#[test]
fn a_file_cut_short_is_damaged() {
    let whole = ENCRYPTED.trim_ascii_end().len();
    for length in 0..whole {
        let error = read(&ENCRYPTED[..length]).unwrap_err();
        let started = length >= ED25519_START.trim_end().len();
        assert!(matches!(error, KeyFileError::Damaged(_) if started) || !started, "{length}: {error}");
    }
    assert!(read(&ENCRYPTED[..whole]).is_ok(), "without the last line end");
}

#[test]
fn a_flipped_bit_never_gives_another_key() {
    let file = PrivateKey::from_openssh(ENCRYPTED).unwrap();
    let bytes = file.to_bytes().unwrap();
    let salt = bytes.windows(4).position(|window| window == [0, 0, 0, 16]).unwrap();
    let expected = parse_public_line(ENCRYPTED_PUBLIC).unwrap();
    let genuine = read(ENCRYPTED).unwrap().unlock(PASSWORD).unwrap().sign(b"hello");
    let (mut opened, mut tried) = (0, 0);
    for place in 0..bytes.len() {
        // The rounds: nothing to learn, and each flip there would cost its share of time.
        if (salt + 20..salt + 24).contains(&place) {
            continue;
        }
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1 << (place % 8);
        let Ok(flipped) = PrivateKey::from_bytes(&bytes) else { continue };
        tried += 1;
        let Ok(locked) = read(flipped.to_openssh(LineEnding::LF).unwrap().as_bytes()) else { continue };
        if let Ok(key) = locked.unlock(PASSWORD) {
            // aes256-ctr has no tag: a flip in the comment, or in a length that the parser does without, goes unseen
            // and does no harm.
            assert_eq!(key.public(), expected, "byte {place}");
            assert_eq!(key.sign(b"hello"), genuine, "byte {place}");
            opened += 1;
        }
    }
    assert!(tried > 150, "{tried} flips got past the parser");
    assert!(opened < tried / 4, "{opened} of {tried} flips went unseen");
}

proptest! {
    #[test]
    fn hostile_files_are_refused(
        garbage in proptest::collection::vec(any::<u8>(), 0..600),
        place in 0..400usize,
        text in "[A-Za-z0-9+/=\\n -]{0,40}",
    ) {
        let _ = read(&garbage);
        let _ = read(&[ED25519_START.as_bytes(), &garbage].concat());
        let mut spliced = ENCRYPTED.to_vec();
        spliced.splice(place..place, text.bytes());
        if let Ok(locked) = read(&spliced) {
            let _ = locked.public();
        }
    }
}
