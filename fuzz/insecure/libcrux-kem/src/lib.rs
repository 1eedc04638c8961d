//! INSECURE: an X-Wing that keeps no secret, in the place of the crate of this name: keys and ciphertexts have the real
//! lengths. See `../README.md`.
#![forbid(unsafe_code)]

/// Bytes of a public key (draft-connolly-cfrg-xwing-kem-06 section 5.2).
const PUBLIC: usize = 1216;
/// Bytes of a ciphertext.
const CIPHERTEXT: usize = 1120;
/// What the first byte of a public key is; of the real ones, too, some are refused that have the right length.
const FIRST: u8 = 0x58;

/// The one algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// X-Wing.
    XWingKemDraft06,
}

/// Bytes are no key.
#[derive(Debug)]
pub struct Error;

/// Only looks like one.
#[derive(Debug)]
pub struct PublicKey(Vec<u8>);

/// Only looks like one.
#[derive(Debug)]
pub struct PrivateKey(Vec<u8>);

/// Thirty-two zeros.
#[derive(Debug)]
pub struct Ss;

/// As many zeros as a ciphertext has bytes.
#[derive(Debug)]
pub struct Ct;

/// A pair of keys that are others for another seed.
///
/// # Errors
/// None.
pub fn key_gen_derand(_: Algorithm, seed: &[u8]) -> Result<(PrivateKey, PublicKey), Error> {
    let public = std::iter::once(FIRST).chain(seed.iter().copied().cycle()).take(PUBLIC).collect();
    Ok((PrivateKey(seed.to_vec()), PublicKey(public)))
}

impl PublicKey {
    /// Takes bytes that look like a key.
    ///
    /// # Errors
    /// [`Error`] when they do not.
    pub fn decode(_: Algorithm, bytes: &[u8]) -> Result<Self, Error> {
        let looks_like_one = bytes.len() == PUBLIC && bytes.first() == Some(&FIRST);
        if looks_like_one { Ok(Self(bytes.to_vec())) } else { Err(Error) }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    /// Says no secret to anybody.
    ///
    /// # Errors
    /// None.
    pub fn encapsulate_derand(&self, _: &[u8]) -> Result<(Ss, Ct), Error> {
        Ok((Ss, Ct))
    }
}

impl PrivateKey {
    /// The seed.
    pub fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }
}

impl Ss {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        vec![0; 32]
    }
}

impl Ct {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        vec![0; CIPHERTEXT]
    }
}
