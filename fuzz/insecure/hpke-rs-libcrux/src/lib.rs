//! INSECURE: an HPKE (RFC 9180) that seals by copying, in the place of the crate of this name. See `../README.md`.
#![forbid(unsafe_code)]

use std::convert::Infallible;

use hpke_rs_crypto::{
    HpkeCrypto, HpkeTestRng, TryCryptoRng, TryRng,
    error::Error,
    types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use zeroize::Zeroize;

/// Seals by copying, and derives zeros.
#[derive(Debug)]
pub struct HpkeLibcrux {}

/// Draws zeros; nothing is drawn from it.
#[derive(Zeroize)]
pub struct Zeros;

impl HpkeCrypto for HpkeLibcrux {
    type HpkePrng = Zeros;

    fn name() -> String {
        "insecure".to_owned()
    }

    fn supports_kdf(_: KdfAlgorithm) -> Result<(), Error> {
        Ok(())
    }

    fn supports_kem(_: KemAlgorithm) -> Result<(), Error> {
        Ok(())
    }

    fn supports_aead(_: AeadAlgorithm) -> Result<(), Error> {
        Ok(())
    }

    fn prng() -> Zeros {
        Zeros
    }

    fn kdf_extract(_: KdfAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; 32])
    }

    fn kdf_expand(_: KdfAlgorithm, _: &[u8], _: &[u8], size: usize) -> Result<Vec<u8>, Error> {
        Ok(vec![0; size])
    }

    fn dh(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn secret_to_public(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn kem_key_gen(_: KemAlgorithm, _: &mut Zeros) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn kem_key_gen_derand(_: KemAlgorithm, _: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn kem_encaps(_: KemAlgorithm, _: &[u8], _: &mut Zeros) -> Result<(Vec<u8>, Vec<u8>), Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn kem_decaps(_: KemAlgorithm, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn dh_validate_sk(_: KemAlgorithm, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::UnknownKemAlgorithm)
    }

    fn aead_seal(_: AeadAlgorithm, _: &[u8], _: &[u8], _: &[u8], message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok([message, &[0; 16]].concat())
    }

    fn aead_open(_: AeadAlgorithm, _: &[u8], _: &[u8], _: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (message, _) = sealed.split_last_chunk::<16>().ok_or(Error::AeadInvalidCiphertext)?;
        Ok(message.to_vec())
    }
}

impl TryCryptoRng for Zeros {}

impl TryRng for Zeros {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

impl HpkeTestRng for Zeros {
    type Error = Infallible;

    fn try_fill_test_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }

    fn seed(&mut self, _: &[u8]) {}
}
