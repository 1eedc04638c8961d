use std::sync::OnceLock;

use identity::{
    Authority, Roots, UserKey, certificate_bears, certifies, check_authority, client_config, server_config,
};
use protocol::ServerName;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Takes the bytes for the files of certificates and keys that a server and a client are given.
///
/// Whatever a file holds, it is taken in or refused; a chain that a server takes in is one that can be asked whose it is,
/// and what is then said is what its first certificate says; and an authority that a client takes in can be used.
pub fn certificates(bytes: &[u8]) {
    static KEY: OnceLock<UserKey> = OnceLock::new();
    let key = KEY.get_or_init(|| UserKey::from_seed(&[1; 32]));
    let names = ["relay.example", "localhost", "::1", "127.0.0.1"].map(|name| name.parse::<ServerName>().unwrap());

    let is_authority = check_authority(bytes);
    assert_eq!(client_config(key, Roots::Pem(bytes.to_vec())).is_ok(), is_authority.is_ok());
    if let Err(error) = &is_authority {
        assert!(!error.to_string().is_empty());
    }
    // A chain and a key may stand in one file.
    let is_server = server_config(bytes, bytes);
    let first = CertificateDer::pem_slice_iter(bytes).next().and_then(Result::ok);
    assert!(first.is_some() || (is_authority.is_err() && is_server.is_err()), "taken in without a certificate");
    for name in &names {
        match certifies(bytes, name) {
            Ok(is_its) => assert_eq!(is_its, certificate_bears(first.as_ref().unwrap(), name)),
            Err(error) => assert!(is_server.is_err(), "{error}"),
        }
        let _ = certificate_bears(&CertificateDer::from(bytes), name);
    }
    let mut parts = bytes.split(|byte| *byte == 0);
    if let (Some(certificate), Some(key)) = (parts.next(), parts.next())
        && let (Ok(certificate_pem), Ok(key_pem)) = (str::from_utf8(certificate), str::from_utf8(key))
    {
        let authority = Authority { certificate_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned().into() };
        // Its certificate is checked against the authority before it is given out.
        let _ = identity::issue(&authority, &names[0], std::time::UNIX_EPOCH);
    }
}
