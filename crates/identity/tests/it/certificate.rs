use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use identity::{
    Authority, CertificateError, Roots, TlsError, certifies, client_config, is_untrusted, issue, make_authority,
    server_config,
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tempfile::tempdir;

use crate::{
    common::{DAY, Issued, issued, key, now, run, server, text, write},
    tls::{Broken, connect},
};

#[test]
fn hosts_that_no_certificate_can_name() {
    for bad in
        ["relay.example.", "*.example", "a..b", "[::1]", "0:0:0:0:0:0:0:1", "relay.example:7000", &"x".repeat(255)]
    {
        let error = make_authority(&server(bad), now()).unwrap_err();
        assert!(matches!(error, CertificateError::BadHost(_)), "{bad}: {error}");
    }
    for good in ["localhost", "relay.example", "192.0.2.7", "2001:db8::7", &format!("{}.example", "x".repeat(60))] {
        let Issued { chain, key, .. } = issued(good, now());
        server_config(chain.as_bytes(), key.as_bytes()).unwrap();
    }
}

#[test]
fn a_certificate_tells_which_hosts_it_is_for() {
    let chain = issued("localhost", now()).chain;
    for (host, expected) in [("localhost", true), ("127.0.0.1", true), ("localhost.", false), ("relay.example", false)]
    {
        assert_eq!(certifies(chain.as_bytes(), &server(host)).unwrap(), expected, "{host}");
    }
    assert!(matches!(certifies(b"", &server("localhost")), Err(TlsError::NoCertificate)));
    let junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(certifies(junk, &server("localhost")), Err(TlsError::BadCertificate(_))));
}

#[test]
fn times_that_no_certificate_can_say() {
    let host = server("relay.example");
    for bad in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40)] {
        assert!(matches!(make_authority(&host, bad), Err(CertificateError::BadTime)), "{bad:?}");
    }
}

#[test]
fn an_authority_vouches_for_its_host_alone() {
    let Issued { authority, .. } = issued("relay.example", now());
    for other in ["other.example", "sub.relay.example", "127.0.0.1"] {
        let error = issue(&authority, &server(other), now()).unwrap_err();
        assert!(matches!(error, CertificateError::NotForHost { .. }), "{other}: {error}");
    }
    // A certificate of one authority with the key of another.
    let mixed = Authority { key_pem: issued("relay.example", now()).authority.key_pem, ..authority.clone() };
    let error = issue(&mixed, &server("relay.example"), now()).unwrap_err();
    assert!(matches!(error, CertificateError::NotForHost { .. }), "{error}");
    let broken = Authority { key_pem: "swordfish".to_owned().into(), ..authority };
    let error = issue(&broken, &server("relay.example"), now()).unwrap_err();
    assert!(matches!(error, CertificateError::NotForHost { .. }), "{error}");
    assert!(!error.to_string().contains("swordfish"));
}

#[test]
fn an_authority_can_issue_again_years_later() {
    let host = server("relay.example");
    let authority = make_authority(&host, now() - 9 * 365 * DAY).unwrap();
    let (first, first_key) = issue(&authority, &host, now()).unwrap();
    let (second, second_key) = issue(&authority, &host, now()).unwrap();
    assert_ne!(first, second);
    assert_ne!(first_key, second_key);
}

#[test]
fn debug_shows_no_secret() {
    let Issued { authority, .. } = issued("relay.example", now());
    let shown = format!("{authority:?}");
    let secret = authority.key_pem.lines().nth(1).unwrap();
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn openssl_believes_what_is_issued() {
    for host in ["localhost", "relay.example", "192.0.2.7", "2001:db8::7"] {
        let issued = issued(host, now());
        let dir = tempdir().unwrap();
        let ca = write(dir.path(), "ca.pem", issued.authority.certificate_pem.as_bytes());
        let leaf = write(dir.path(), "server.pem", issued.chain.as_bytes());
        let Some(said) = verify(&ca, &leaf, host) else { return };
        assert!(said.ends_with(": OK\n"), "{host}: {said}");
        assert!(!verify(&ca, &leaf, "other.example").unwrap().ends_with(": OK\n"));
    }
}

#[test]
fn a_stolen_authority_is_of_no_use_against_others() {
    let cases = [
        ("relay.example", ["bank.example", "sub.relay.example", "192.0.2.7", "2001:db8::7"]),
        ("192.0.2.7", ["bank.example", "localhost", "192.0.2.8", "2001:db8::7"]),
        ("localhost", ["bank.example", "a.localhost", "127.0.0.2", "::2"]),
    ];
    for (host, others) in cases {
        let issued = issued(host, now());
        let dir = tempdir().unwrap();
        let ca = write(dir.path(), "ca.pem", issued.authority.certificate_pem.as_bytes());
        for (i, other) in others.iter().enumerate() {
            let (leaf, key) = forge(&issued.authority, host, other);
            assert!(refused(&issued.authority, &leaf, &key, other), "{host} for {other}");
            let leaf = write(dir.path(), &format!("{i}.pem"), leaf.as_bytes());
            let Some(said) = verify(&ca, &leaf, other) else { return };
            assert!(said.contains("subtree violation"), "{host} for {other}: {said}");
        }
    }
}

/// Whether a client of this program refuses a server with such a certificate.
fn refused(authority: &Authority, leaf: &str, leaf_key: &str, host: &str) -> bool {
    let client = client_config(&key(1), Roots::Pem(authority.certificate_pem.clone().into_bytes())).unwrap();
    let server = server_config(leaf.as_bytes(), leaf_key.as_bytes()).unwrap();
    match connect(&client, &server, host) {
        Err(Broken::ByClient(error)) => is_untrusted(&error),
        other => panic!("{:?}", other.err()),
    }
}

/// What a thief of an authority's key would make: a certificate for a host that the authority is not for.
pub(crate) fn forge(authority: &Authority, host: &str, other: &str) -> (String, String) {
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer.distinguished_name.push(DnType::CommonName, format!("Sottovoce authority of {host}"));
    let signer = KeyPair::from_pem(&authority.key_pem).unwrap();
    let mut params = CertificateParams::new([other.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(issuer, signer)).unwrap();
    (leaf.pem(), key.serialize_pem())
}

/// What `openssl verify` says of a certificate for a host.
fn verify(ca: &Path, leaf: &Path, host: &str) -> Option<String> {
    let named = if host.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let (ca, leaf) = (ca.to_str().unwrap(), leaf.to_str().unwrap());
    let arguments = ["verify", "-x509_strict", "-no-CApath", "-purpose", "sslserver", named, host, "-CAfile", ca, leaf];
    let output = run("openssl", &arguments)?;
    Some(text(&output.stdout) + &text(&output.stderr))
}
