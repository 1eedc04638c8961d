use std::fmt;

use aws_lc_rs::digest;
use protocol::{PublicKey, ServerName, UserName};

/// What two people read to each other to be sure that nobody put a key of their own between them (B4): 60 digits in
/// twelve groups of five, single spaces between them.
///
/// It is not a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber(String);

/// Derives the number that belongs to two users of one server, each with the public key that the other believes in.
/// Both sides get the same one, whichever comes first.
///
/// It is cut from SHA-512 over this structure, in the presentation language of TLS (RFC 8446 section 3):
///
/// ```text
/// struct {
///     opaque user<1..32>;
///     opaque key[32];
/// } Party;
///
/// struct {
///     opaque label<1..255> = "sottovoce safety number 1";
///     opaque server<1..255>;
///     Party parties[2];
/// } SafetyNumberInput;
/// ```
///
/// The parties are sorted, by the bytes of the user name and then by those of the key. The first 60 bytes of the hash
/// are taken five at a time; each five, as a big-endian integer modulo 100,000, are one group, with leading zeros.
pub fn safety_number(
    server: &ServerName,
    one: (&UserName, &PublicKey),
    other: (&UserName, &PublicKey),
) -> SafetyNumber {
    let mut parties = [one, other].map(|(user, key)| (user.as_str().as_bytes(), key.as_bytes()));
    parties.sort_unstable();

    let mut input = Vec::new();
    opaque(b"sottovoce safety number 1", &mut input);
    opaque(server.as_str().as_bytes(), &mut input);
    for (user, key) in parties {
        opaque(user, &mut input);
        input.extend_from_slice(key);
    }

    let hash = digest::digest(&digest::SHA512, &input);
    let groups: Vec<String> = hash.as_ref().chunks_exact(5).take(12).map(group).collect();
    SafetyNumber(groups.join(" "))
}

/// `opaque bytes<..255>`; names and label are never longer, so the lowest byte of their length is all of it.
fn opaque(bytes: &[u8], input: &mut Vec<u8>) {
    let [.., length] = bytes.len().to_be_bytes();
    input.push(length);
    input.extend_from_slice(bytes);
}

fn group(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    format!("{:05}", number % 100_000)
}

impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyNumber({})", self.0)
    }
}
