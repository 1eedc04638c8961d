use std::{fmt, io::Write, str::FromStr};

use arrayvec::ArrayString;
use tls_codec::{DeserializeBytes, Error, Serialize, Size};

use crate::{
    limits::{MAX_NAME, MAX_SERVER_NAME},
    vector,
};

/// What a user is called: 1 to 32 of `a-z 0-9 . _ -`, the first a letter or digit.
///
/// Made by [`str::parse`], which lowers case first; on the wire (`opaque user<1..32>`) upper case is malformed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(ArrayString<MAX_NAME>);

/// Why a text is not a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name is needed here")]
    Blank,
    /// Something that no name can be.
    #[error("a name has 1 to 32 of the characters a-z 0-9 . _ - and starts with a letter or digit")]
    Bad,
    /// Something that no server can be called.
    #[error("a server's name is a host name or an IP address, without blanks and of at most 255 characters")]
    BadServer,
}

impl UserName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Blank);
        }
        let name = in_lower_case(text)?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts_well || !are_name_characters(&name) {
            return Err(NameError::Bad);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Size for UserName {
    fn tls_serialized_len(&self) -> usize {
        vector::len_u8(self.0.as_bytes())
    }
}

impl Serialize for UserName {
    fn tls_serialize<W: Write>(&self, writer: &mut W) -> Result<usize, Error> {
        vector::write_u8(self.0.as_bytes(), writer)
    }
}

impl DeserializeBytes for UserName {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (name, rest) = NamePrefix::tls_deserialize_bytes(bytes)?;
        let name = name.0.parse().map_err(|_| Error::InvalidInput)?;
        Ok((name, rest))
    }
}

/// The beginning of a user name, or all of one, or nothing: 0 to 32 of a name's characters.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NamePrefix(ArrayString<MAX_NAME>);

impl NamePrefix {
    /// The characters, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamePrefix {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let prefix = in_lower_case(text)?;
        if !are_name_characters(&prefix) {
            return Err(NameError::Bad);
        }
        Ok(Self(prefix))
    }
}

impl From<&UserName> for NamePrefix {
    fn from(name: &UserName) -> Self {
        Self(name.0)
    }
}

impl fmt::Debug for NamePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.0)
    }
}

impl Size for NamePrefix {
    fn tls_serialized_len(&self) -> usize {
        vector::len_u8(self.0.as_bytes())
    }
}

impl Serialize for NamePrefix {
    fn tls_serialize<W: Write>(&self, writer: &mut W) -> Result<usize, Error> {
        vector::write_u8(self.0.as_bytes(), writer)
    }
}

impl DeserializeBytes for NamePrefix {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (vector, rest) = vector::read_u8(bytes)?;
        let text = str::from_utf8(vector.as_slice()).map_err(|_| Error::InvalidInput)?;
        if !are_name_characters(text) || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Error::InvalidInput);
        }
        Ok((Self(ArrayString::from(text).map_err(|_| Error::InvalidInput)?), rest))
    }
}

/// The text itself, not on the heap: the relay names two users with each message that it passes on.
fn in_lower_case(text: &str) -> Result<ArrayString<MAX_NAME>, NameError> {
    let mut name = ArrayString::from(text).map_err(|_| NameError::Bad)?;
    name.make_ascii_lowercase();
    Ok(name)
}

fn are_name_characters(text: &str) -> bool {
    text.len() <= MAX_NAME && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// What a server calls itself: a host name or IP address, 1 to 255 visible ASCII characters, in lower case.
///
/// Together with a user name it is that user's MLS credential, `name@server`, so both ends of a chat must hold the
/// same one; a client believes it only when it stands on the server's certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Box<str>);

impl ServerName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Blank);
        }
        let fits = text.len() <= MAX_SERVER_NAME && text.bytes().all(|b| b.is_ascii_graphic() && b != b'@');
        if !fits {
            return Err(NameError::BadServer);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Size for ServerName {
    fn tls_serialized_len(&self) -> usize {
        vector::len_u8(self.0.as_bytes())
    }
}

impl Serialize for ServerName {
    fn tls_serialize<W: Write>(&self, writer: &mut W) -> Result<usize, Error> {
        vector::write_u8(self.0.as_bytes(), writer)
    }
}

impl DeserializeBytes for ServerName {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (vector, rest) = vector::read_u8(bytes)?;
        let text = str::from_utf8(vector.as_slice()).map_err(|_| Error::InvalidInput)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Error::InvalidInput);
        }
        let name = text.parse().map_err(|_| Error::InvalidInput)?;
        Ok((name, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_every_border() {
        for good in ["a", "9", "a.b_c-d", &"x".repeat(32)] {
            assert_eq!(good.parse::<UserName>().unwrap().as_str(), good);
        }
        assert_eq!("Alice".parse::<UserName>().unwrap().as_str(), "alice");
        assert_eq!("".parse::<UserName>(), Err(NameError::Blank));
        for bad in [".a", "-a", "_a", "a b", "a@b", "é", "a\n", &"x".repeat(33)] {
            assert_eq!(bad.parse::<UserName>(), Err(NameError::Bad), "{bad:?}");
        }
    }

    #[test]
    fn upper_case_is_malformed_on_the_wire() {
        assert!(UserName::tls_deserialize_bytes(b"\x01a").is_ok());
        assert!(UserName::tls_deserialize_bytes(b"\x01A").is_err());
        assert!(UserName::tls_deserialize_bytes(b"\x00").is_err());
        assert!(NamePrefix::tls_deserialize_bytes(b"\x01A").is_err());
        assert!(NamePrefix::tls_deserialize_bytes(b"\x00").is_ok());
        assert!(ServerName::tls_deserialize_bytes(b"\x01A").is_err());
        assert!(ServerName::tls_deserialize_bytes(b"\x00").is_err());
    }
}
