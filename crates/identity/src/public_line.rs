use protocol::PublicKey;
use ssh_key::public::{Ed25519PublicKey, KeyData};

use crate::key::can_prove;

/// The type of key that this program knows, as OpenSSH names it (RFC 8709).
pub(crate) const KEY_TYPE: &str = "ssh-ed25519";

/// Why a text is not the public key of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicLineError {
    /// Nothing but blank lines and comments.
    #[error("there is no public key here; give the one line of the user's .pub file, `ssh-ed25519 AAAA…`")]
    Empty,
    /// A private key.
    #[error(
        "this is a PRIVATE key, which only its owner may have; give the one line of the .pub file beside it instead. If it came from somebody else, that person needs a new key"
    )]
    Private,
    /// More than one line with something in it.
    #[error("there are several lines here; give one public key at a time")]
    Several,
    /// A key of another type; the type is one or more of `a-z 0-9 - . @`.
    #[error("this key is of type {0}; only ssh-ed25519 is accepted here: make a key with `ssh-keygen -t ed25519`")]
    WrongType(String),
    /// Something stands before the type of the key, as in an `authorized_keys` file.
    #[error("the line has options before the key; give it without them, starting with `ssh-ed25519`")]
    Options,
    /// No public key at all, or one that was cut or mistyped.
    #[error("this is not a whole public key; copy the one line of the .pub file again, `ssh-ed25519 AAAA…`")]
    Damaged,
    /// A key that is no point of the curve, or one that needs no secret to sign.
    #[error("this key cannot prove who anybody is; no honest tool makes such a key")]
    Weak,
}

/// Reads the public key in `line`: one line `ssh-ed25519 AAAA… comment`, the comment left out or not, with blank lines
/// and lines starting with `#` around it or not.
///
/// # Errors
/// [`PublicLineError`] says what is there instead.
pub fn parse_public_line(line: &str) -> Result<PublicKey, PublicLineError> {
    if line.contains("PRIVATE KEY-----") {
        return Err(PublicLineError::Private);
    }
    let mut lines = line.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or(PublicLineError::Empty)?;
    if lines.next().is_some() {
        return Err(PublicLineError::Several);
    }

    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    if first != KEY_TYPE {
        return Err(if is_type(first) {
            PublicLineError::WrongType(first.to_owned())
        } else if words.any(is_type) {
            PublicLineError::Options
        } else {
            PublicLineError::Damaged
        });
    }
    let key = words.next().and_then(decode).ok_or(PublicLineError::Damaged)?;
    if !can_prove(&key) {
        return Err(PublicLineError::Weak);
    }
    Ok(key)
}

/// Writes the key as the one line of a `.pub` file, without a line end. Control characters in the comment are left
/// out, so that it stays one line.
pub fn public_line(key: &PublicKey, comment: &str) -> String {
    let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
    let key = ssh_key::PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(*key.as_bytes())), comment);
    // Encoding fails for lengths beyond memory alone; a caller could do nothing about it.
    key.to_openssh().unwrap_or_default()
}

/// Reads the second word of a line whose first is [`KEY_TYPE`].
pub(crate) fn decode(base64: &str) -> Option<PublicKey> {
    let key = ssh_key::PublicKey::from_openssh(&format!("{KEY_TYPE} {base64}")).ok()?;
    Some(PublicKey::from_bytes(key.key_data().ed25519()?.0))
}

fn is_type(word: &str) -> bool {
    let named = ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| word.starts_with(prefix));
    named && word.len() <= 64 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserKey;

    /// Made by `ssh-keygen -t rsa`, cut in the middle, which its type is seen without.
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 alice@host";

    fn key() -> PublicKey {
        UserKey::from_seed(&[7; 32]).public()
    }

    #[test]
    fn reads_what_it_writes() {
        let line = public_line(&key(), "alice@laptop");
        assert!(line.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") && line.ends_with(" alice@laptop"), "{line}");
        let bare = public_line(&key(), "");
        let forms = [
            line.clone(),
            bare.clone(),
            format!("{line}\n"),
            format!("\n# alice's key\r\n\r\n{line}\r\n\n"),
            format!("  {}  ", line.replace(' ', "\t")),
            format!("{bare} a comment of several words, ssh-rsa among them"),
        ];
        for form in forms {
            assert_eq!(parse_public_line(&form), Ok(key()), "{form:?}");
        }
        let sly = public_line(&key(), "alice\nssh-ed25519 AAAA mallory\x1b[2J");
        assert_eq!(parse_public_line(&sly), Ok(key()), "{sly:?}");
        assert!(!sly.contains('\x1b'));
    }

    #[test]
    fn says_what_is_there_instead() {
        let line = public_line(&key(), "alice");
        let cases = [
            (String::new(), PublicLineError::Empty),
            ("\n# nothing here\n".to_owned(), PublicLineError::Empty),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n".to_owned(), PublicLineError::Private),
            ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n".to_owned(), PublicLineError::Private),
            (format!("{line}\n{line}\n"), PublicLineError::Several),
            (RSA.to_owned(), PublicLineError::WrongType("ssh-rsa".to_owned())),
            (
                "sk-ssh-ed25519@openssh.com AAAA x".to_owned(),
                PublicLineError::WrongType("sk-ssh-ed25519@openssh.com".to_owned()),
            ),
            (format!("no-pty,command=\"x\" {line}"), PublicLineError::Options),
            ("ssh-\u{202e}evil AAAA".to_owned(), PublicLineError::Damaged),
            ("alice".to_owned(), PublicLineError::Damaged),
            ("ssh-ed25519".to_owned(), PublicLineError::Damaged),
            (line.chars().take(70).collect(), PublicLineError::Damaged),
            (RSA.replace("ssh-rsa", "ssh-ed25519"), PublicLineError::Damaged),
            (public_line(&PublicKey::from_bytes([0; 32]), ""), PublicLineError::Weak),
        ];
        for (text, error) in cases {
            assert_eq!(parse_public_line(&text), Err(error), "{text:?}");
        }
    }
}
