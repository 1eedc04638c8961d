//! The server against the client that every machine has. OpenSSL 3.0 knows neither X25519MLKEM768 nor raw public keys;
//! a newer one knows both, and is told to offer what an older one would.

use std::{
    io::Read as _,
    net::{Shutdown, TcpListener},
    thread,
    time::Duration,
};

use identity::{server_config, tls_error};
use rustls::{Error, PeerIncompatible, ServerConnection};
use tempfile::tempdir;

use crate::common::{issued, now, run, text, write};

/// Connects `openssl s_client` to a server, and gives what each of them says about how it failed.
fn s_client(arguments: &[&str]) -> Option<(String, Error)> {
    let issued = issued("localhost", now());
    let config = server_config(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
    let dir = tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", issued.authority.certificate_pem.as_bytes());

    run("openssl", &["version"])?;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut connection = ServerConnection::new(config).unwrap();
        let error = connection.complete_io(&mut socket).unwrap_err();
        // What is left unread when a socket closes can cost the other side the alert.
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
        tls_error(&error).expect("a fault of TLS").clone()
    });
    let fixed = ["s_client", "-connect", &address, "-CAfile", ca.to_str().unwrap(), "-alpn", "sottovoce/1"];
    let output = run("openssl", &[fixed.as_slice(), arguments].concat())?;
    assert!(!output.status.success());
    Some((text(&output.stderr), server.join().unwrap()))
}

#[test]
fn an_older_protocol_is_refused() {
    let Some((client, server)) = s_client(&["-tls1_2"]) else { return };
    assert!(client.contains("alert protocol version") && client.contains("SSL alert number 70"), "{client}");
    assert_eq!(server, Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired));
}

#[test]
fn groups_that_a_quantum_computer_breaks_are_refused() {
    for group in ["X25519", "P-256", "X448:P-521:P-384:P-256:X25519"] {
        let Some((client, server)) = s_client(&["-tls1_3", "-groups", group]) else { return };
        assert!(client.contains("alert handshake failure") && client.contains("SSL alert number 40"), "{client}");
        assert_eq!(server, Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon), "{group}");
    }
}
