//! Servers that are not what they should be, or not the one that was meant: what a client makes of them, and what people
//! see. None of them hears a log-in, and so no user's name.

use std::{
    cell::Cell,
    env, fs,
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PublicKeyData as _,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    bent::{
        HANDSHAKE, Heard, KEY_UPDATE, NEW_SESSION_TICKET,
        caller::{OF_CLIENT, OF_SERVER},
        certificate_verify,
        hello::{
            ALPN, CLIENT_CERTIFICATE_TYPE, COOKIE, EARLY_DATA, ECDSA_P256, ED25519, Extension, HYBRID, KEY_SHARE,
            PRE_SHARED_KEY, SERVER_CERTIFICATE_TYPE, ServerHello, VERSIONS, protocols,
        },
        host::{Host, Identity, proof_wanted},
        message, vector8, vector16,
    },
    common::World,
};

/// A world whose own server plays no part but for its authority and its certificate.
struct Scene {
    world: World,
    identity: Identity,
    clients: Cell<usize>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let identity = Identity::of(&world);
        Self { world, identity, clients: Cell::new(0) }
    }

    /// A fresh profile that dials a listener.
    fn profile(&self, listener: &TcpListener) -> String {
        self.clients.set(self.clients.get() + 1);
        let folder = format!("alice{}", self.clients.get());
        let dial = format!("localhost:{}", listener.local_addr().unwrap().port());
        self.world.profile_at(&folder, "alice", &dial);
        folder
    }

    /// Lets a client meet a server that does as `play` says, and then waits for what the client has to say to it. The
    /// code that the client fails with, which heard nothing that it should act on.
    #[track_caller]
    fn code(&self, play: impl FnOnce(&mut Host, &Identity)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = self.world.client(&self.profile(&listener));
        let mut host = Host::accept(&listener);
        play(&mut host, &self.identity);
        let has_finished = host.is_left();
        let (code, why) = client.failed();
        assert!(!has_finished, "the client went along to the end: {code}, {why}");
        code
    }

    /// As [`Self::code`], for a server that bends its hello and is honest otherwise.
    #[track_caller]
    fn code_of_hello(&self, bend: impl FnOnce(ServerHello) -> ServerHello) -> String {
        self.code(|host, identity| {
            host.greets(bend);
            host.proves(identity);
        })
    }

    /// As [`Self::code`], for a server that bends its extensions under the keys.
    #[track_caller]
    fn code_of_extensions(&self, extensions: &[Extension]) -> String {
        self.code(|host, identity| {
            host.greets(|hello| hello);
            host.says_extensions(extensions);
            host.asks_for_proof();
            host.shows(&identity.chain);
            host.signs(identity);
            host.finishes();
        })
    }

    /// As [`Self::code`], for a server with these certificates and this key.
    #[track_caller]
    fn code_of_certificate(&self, chain: Vec<Vec<u8>>, key: &KeyPair) -> String {
        let identity = Identity::new(chain, key.serialized_der());
        self.code(|host, _| {
            host.greets(|hello| hello);
            host.proves(&identity);
        })
    }
}

#[test]
fn the_same_server_unbent_is_talked_to() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = scene.world.client(&scene.profile(&listener));
    let mut host = Host::lets_in(&listener, &scene.identity);
    let told = client.expect("logged_in");
    assert_eq!((&told["group"], &told["suite"]), (&"X25519MLKEM768".into(), &"TLS13_AES_256_GCM_SHA384".into()));
    client.types("--l");
    assert_eq!(host.hears_frame(), protocol::ToServer::List(protocol::Page::default()));
}

/// OpenSSL 3.0 does not know the hybrid; a newer one is told to do without.
#[test]
fn openssl_as_a_server_with_less_than_ours_has_no_client() {
    let scene = Scene::new();
    let dir = scene.world.server_dir();
    for arguments in [
        &["-tls1_2"][..],
        &["-tls1_2", "-cipher", "ALL:@SECLEVEL=0"],
        &["-tls1_3", "-groups", "X25519"],
        &["-tls1_3", "-groups", "P-256:P-384:X448"],
        &["-tls1_3", "-groups", "ffdhe2048"],
        &["-tls1_3", "-groups", "X25519", "-early_data", "-Verify", "1"],
    ] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-alpn", "sottovoce/1"]).args(arguments);
        openssl.arg("-cert").arg(dir.join("server.pem")).arg("-key").arg(dir.join("server.key"));
        let started = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut openssl = match started {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(env::var_os("CI").is_none(), "openssl is not installed, and this machine's word counts");
                return eprintln!("left out: openssl is not installed");
            }
            started => started.unwrap(),
        };
        let mut lines = BufReader::new(openssl.stdout.take().unwrap()).lines().map(Result::unwrap);
        let port = lines.find_map(|line| Some(line.strip_prefix("ACCEPT 127.0.0.1:")?.to_owned()));
        scene.clients.set(scene.clients.get() + 1);
        let folder = format!("alice{}", scene.clients.get());
        let dial = format!("localhost:{}", port.unwrap_or_else(|| panic!("openssl takes no {arguments:?}")));
        scene.world.profile_at(&folder, "alice", &dial);
        let (code, why) = scene.world.client(&folder).failed();
        let _ = (openssl.kill(), openssl.wait());
        assert_eq!(code, "protocol", "{arguments:?}: {why}");
    }
}

#[test]
fn a_server_that_talks_a_client_down_is_left_before_a_log_in() {
    let scene = Scene::new();
    let code = |bend: &dyn Fn(ServerHello) -> ServerHello| scene.code_of_hello(bend);
    // Versions, in the old field and in the new one, with the marks that servers leave which were talked down.
    for marked in [false, true] {
        for version in [[3, 3], [3, 2], [3, 1], [3, 0], [2, 0]] {
            let told = code(&|mut hello| {
                if marked {
                    hello.random[24..].copy_from_slice(if version == [3, 3] { b"DOWNGRD\x01" } else { b"DOWNGRD\x00" });
                }
                ServerHello { version, ..hello }.without(VERSIONS)
            });
            assert_eq!(told, "protocol", "{version:02x?}");
        }
    }
    for version in [[3, 3], [3, 2], [3, 5], [0x7f, 0x1c], [0, 0]] {
        assert_eq!(code(&|hello| hello.with(VERSIONS, version.to_vec())), "protocol", "{version:02x?}");
    }
    for suite in [0x1301, 0x1304, 0x1305, 0xc02b, 0x009c, 0x0005, 0x0000, 0x00ff, 0xc0b4] {
        assert_eq!(code(&|hello| ServerHello { suite, ..hello }), "protocol", "{suite:#x}");
    }
    for (group, length) in [(29u16, 32), (23, 65), (24, 97), (0x0201, 1088), (0x11eb, 1153), (256, 256), (0, 32)] {
        let share = [&group.to_be_bytes()[..], &vector16(&vec![4; length])].concat();
        assert_eq!(code(&|hello| hello.with(KEY_SHARE, share.clone())), "protocol", "{group:#x}");
    }
    assert_eq!(code(&|hello| hello.without(KEY_SHARE)), "protocol", "no key exchange");
    assert_eq!(code(&|hello| hello.with(PRE_SHARED_KEY, vec![0, 0])), "protocol", "a session of before");
    assert_eq!(code(&|hello| hello.without(KEY_SHARE).with(PRE_SHARED_KEY, vec![0, 0])), "protocol");
    assert_eq!(code(&|hello| ServerHello { compression: 1, ..hello }), "protocol");
    for (number, body) in [(ALPN, protocols(&[protocol::ALPN])), (0xff01, vec![0]), (23, vec![]), (0x1234, vec![])] {
        assert_eq!(code(&|hello| hello.with(number, body.clone())), "protocol", "an extension that was not asked for");
    }
}

#[test]
fn a_key_share_of_a_server_that_is_not_one_agrees_on_nothing() {
    let scene = Scene::new();
    let with = |bend: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        scene.code_of_hello(|hello| {
            let share = bend(hello.extension(KEY_SHARE).unwrap()[4..].to_vec());
            hello.with(KEY_SHARE, [&HYBRID.to_be_bytes()[..], &vector16(&share)].concat())
        })
    };
    // ML-KEM's 1088 bytes come first, X25519's 32 last.
    assert_eq!(with(&|share| share[..1119].to_vec()), "protocol", "short");
    assert_eq!(with(&|share| [&share[..], &[0]].concat()), "protocol", "long");
    assert_eq!(with(&|share| share[1088..].to_vec()), "protocol", "X25519 alone");
    assert_eq!(with(&|share| share[..1088].to_vec()), "protocol", "ML-KEM alone");
    assert_eq!(with(&|share| [&share[..1088], &[0; 32]].concat()), "protocol", "a point that gives nothing");
    // Either half by itself is enough to come to another secret.
    for place in [0, 1087, 1088, 1119] {
        let told = with(&|mut share| {
            share[place] ^= 1;
            share
        });
        assert_eq!(told, "protocol", "byte {place} of another's");
    }
}

#[test]
fn a_server_that_asks_for_another_group_first_gets_none() {
    let scene = Scene::new();
    let asks = |group: u16| scene.code(|host, _| host.asks_again(|retry| retry, group));
    for group in [29, 23, 24, 0x0201, 0x11eb, 256, 0] {
        assert_eq!(asks(group), "protocol", "{group:#x}");
    }
    assert_eq!(asks(HYBRID), "protocol", "which it has had");
    let nothing = scene.code(|host, _| host.asks_again(|retry| retry.without(KEY_SHARE), 0));
    assert_eq!(nothing, "protocol", "nothing new");
    let older = scene.code(|host, _| host.asks_again(|retry| retry.with(VERSIONS, vec![3, 3]), 29));
    assert_eq!(older, "protocol");
    // A cookie may be asked for, once; it comes back, and the group is the same.
    let cookie = |retry: ServerHello| retry.without(KEY_SHARE).with(COOKIE, vector16(b"crumbs"));
    let told = scene.code(|host, _| {
        host.asks_again(cookie, 0);
        let Heard::Message(second) = host.wire.hears() else { panic!("no second hello") };
        assert!(second.windows(6).any(|window| window == b"crumbs"));
        assert_eq!(crate::bent::hello::read_client_hello(&second).1.len(), 1216);
        host.asks_again(cookie, 0);
    });
    assert_eq!(told, "protocol", "twice");
}

#[test]
fn extensions_of_a_server_that_were_not_agreed_on_end_the_handshake() {
    let scene = Scene::new();
    let with = |number: u16, body: Vec<u8>| {
        let mut extensions = Host::extensions();
        extensions.retain(|extension| extension.0 != number);
        extensions.push((number, body));
        scene.code_of_extensions(&extensions)
    };
    assert_eq!(with(EARLY_DATA, vec![]), "protocol", "early data that nobody sent");
    assert_eq!(with(SERVER_CERTIFICATE_TYPE, vec![2]), "protocol", "a raw key of the server");
    assert_eq!(with(CLIENT_CERTIFICATE_TYPE, vec![0]), "protocol", "X.509 of the client");
    assert_eq!(with(CLIENT_CERTIFICATE_TYPE, vec![1]), "protocol");
    assert_eq!(with(0x1234, vec![]), "protocol");
    assert_eq!(with(KEY_SHARE, vec![0, 29]), "protocol");
    let (alpn, types): (Vec<_>, Vec<_>) = Host::extensions().into_iter().partition(|extension| extension.0 == ALPN);
    assert_eq!(scene.code_of_extensions(&alpn), "protocol", "no type of the client's proof");
    // Without a protocol the handshake is whole; the client knows what it wants, and leaves.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = scene.world.client(&scene.profile(&listener));
    let mut host = Host::accept(&listener);
    host.greets(|hello| hello);
    host.says_extensions(&types);
    host.asks_for_proof();
    host.shows(&scene.identity.chain);
    host.signs(&scene.identity);
    host.finishes();
    assert!(host.is_left());
    assert_eq!(client.failed().0, "protocol", "no protocol");
    for names in [&[&b"h2"[..]][..], &[b"sottovoce/2"], &[protocol::ALPN, protocol::ALPN]] {
        assert_eq!(with(ALPN, protocols(names)), "protocol", "{names:?}");
    }
}

#[test]
fn a_server_without_a_certificate_that_counts_is_not_trusted() {
    let scene = Scene::new();
    let dir = scene.world.server_dir();
    let pem = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let der = |name: &str| CertificateDer::from_pem_slice(pem(name).as_bytes()).unwrap().to_vec();
    let key = |name: &str| KeyPair::from_pem(&pem(name)).unwrap();
    let named = |name: &str| CertificateParams::new([name.to_owned()]).unwrap();
    let fresh = KeyPair::generate().unwrap();
    let authority = {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Sottovoce authority of localhost");
        Issuer::new(params, key("ca.key"))
    };
    let signed = |params: &CertificateParams| params.signed_by(&fresh, &authority).unwrap().der().to_vec();
    let code = |chain: Vec<Vec<u8>>| scene.code_of_certificate(chain, &fresh);

    let own = named("localhost").self_signed(&fresh).unwrap().der().to_vec();
    assert_eq!(code(vec![own.clone()]), "untrusted_server", "self-signed");
    assert_eq!(code(vec![own, der("ca.pem")]), "untrusted_server", "self-signed, beside the authority");
    let mut expired = named("localhost");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    assert_eq!(code(vec![signed(&expired)]), "untrusted_server", "expired");
    let mut early = named("localhost");
    (early.not_before, early.not_after) = (date_time_ymd(2100, 1, 1), date_time_ymd(2101, 1, 1));
    assert_eq!(code(vec![signed(&early)]), "untrusted_server", "not valid yet");
    assert_eq!(code(vec![signed(&named("bank.example"))]), "untrusted_server", "of another name");
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name.push(DnType::CommonName, "localhost");
    assert_eq!(code(vec![signed(&nameless)]), "untrusted_server", "with its name in the old place");
    let mut for_clients = named("localhost");
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(code(vec![signed(&for_clients)]), "untrusted_server", "for clients");
    let mut of_authority = named("localhost");
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(code(vec![signed(&of_authority)]), "untrusted_server", "an authority's, below the authority");

    // The server's own certificate in the place of an authority.
    let leaf = Issuer::new(CertificateParams::default(), key("server.key"));
    let below = named("localhost").signed_by(&fresh, &leaf).unwrap().der().to_vec();
    assert_eq!(code(vec![below, der("server.pem")]), "untrusted_server", "of a leaf");
    // The right certificate with another's key, and what is none at all.
    assert_eq!(code(vec![der("server.pem")]), "untrusted_server", "without its key");
    assert_eq!(scene.code_of_certificate(vec![der("ca.pem")], &key("ca.key")), "untrusted_server", "the authority's");
    assert_eq!(code(vec![fresh.subject_public_key_info()]), "untrusted_server", "a raw public key");
    assert_eq!(code(vec![]), "untrusted_server", "none");
    // That it is not the way of making them: this one counts.
    let good = named("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = scene.world.client(&scene.profile(&listener));
    let _host = Host::lets_in(&listener, &Identity::new(vec![signed(&good)], fresh.serialized_der()));
    client.expect("logged_in");
}

#[test]
fn a_server_whose_proof_is_not_of_this_handshake_is_not_trusted() {
    let scene = Scene::new();
    let code = |scheme: u16, sign: &dyn Fn(&Identity, &[u8]) -> Vec<u8>| {
        scene.code(|host, identity| {
            host.greets(|hello| hello);
            host.says_extensions(&Host::extensions());
            host.asks_for_proof();
            host.shows(&identity.chain);
            let signature = sign(identity, &host.wire.transcript);
            host.wire.says(&certificate_verify(scheme, &signature));
            host.finishes();
        })
    };
    let untrusted = |what: &str, sign: &dyn Fn(&Identity, &[u8]) -> Vec<u8>| {
        assert_eq!(code(ECDSA_P256, sign), "untrusted_server", "{what}");
    };
    untrusted("as a client signs", &|identity, transcript| identity.signs(OF_CLIENT, transcript));
    untrusted("of another connection", &|identity, _| identity.signs(OF_SERVER, b"another"));
    untrusted("empty", &|_, _| vec![]);
    untrusted("of zeros", &|_, _| vec![0; 70]);
    // Other schemes than the key's, older ones, and those that were not offered.
    for scheme in [0x0401, 0x0201, 0x0203, 0x0804, 0x0503, ED25519, 0x0808, 0] {
        let told = code(scheme, &|identity, transcript| identity.signs(OF_SERVER, transcript));
        assert!(["protocol", "untrusted_server"].contains(&told.as_str()), "{scheme:#x}: {told}");
    }

    let unsigned = scene.code(|host, identity| {
        host.greets(|hello| hello);
        host.says_extensions(&Host::extensions());
        host.asks_for_proof();
        host.shows(&identity.chain);
        host.finishes();
    });
    assert_eq!(unsigned, "protocol", "no signature");
    let nothing = scene.code(|host, _| {
        host.greets(|hello| hello);
        host.says_extensions(&Host::extensions());
        host.finishes();
    });
    assert_eq!(nothing, "protocol", "neither certificate nor signature");
    let compressed = scene.code(|host, _| {
        host.greets(|hello| hello);
        host.says_extensions(&Host::extensions());
        host.asks_for_proof();
        host.wire.says(&message(25, &[0; 40]));
    });
    assert_eq!(compressed, "protocol");
    for finished in [vec![0; 48], vec![0; 32], vec![]] {
        let told = scene.code(|host, identity| {
            host.greets(|hello| hello);
            host.says_extensions(&Host::extensions());
            host.asks_for_proof();
            host.shows(&identity.chain);
            host.signs(identity);
            host.wire.says(&message(20, &finished));
            host.writes_under_application_keys();
        });
        assert_eq!(told, "protocol", "finished with {finished:?}");
    }
}

#[test]
fn a_server_that_asks_for_no_proof_hears_a_key_by_no_other_way() {
    let scene = Scene::new();
    // It has proven itself, so it is told who wants to log in; whether it asks for a proof is its own affair.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = scene.profile(&listener);
    let mut client = scene.world.client(&folder);
    let mut host = Host::accept(&listener);
    host.greets(|hello| hello);
    host.says_extensions(&Host::extensions()[..1]);
    host.shows(&scene.identity.chain);
    host.signs(&scene.identity);
    host.finishes();
    assert!(host.hears_proof().is_err(), "a client has a raw key, or does not come");
    assert_eq!(client.failed().0, "protocol");
}

#[test]
fn tickets_are_forgotten_and_nothing_is_negotiated_again() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = scene.world.client(&scene.profile(&listener));
    let mut host = Host::lets_in(&listener, &scene.identity);
    client.expect("logged_in");
    let early = (EARLY_DATA, 0xffff_ffff_u32.to_be_bytes().to_vec());
    for number in 0..3 {
        let extensions = vector16(&crate::bent::hello::encode(std::slice::from_ref(&early)));
        let ticket =
            [&[0, 0, 0x70, 0, 0, 0, 0, number][..], &vector8(&[number]), &vector16(&[number; 64]), &extensions];
        host.wire.sends(HANDSHAKE, &message(NEW_SESSION_TICKET, &ticket.concat()));
    }
    client.types("--l");
    assert_eq!(host.hears_frame(), protocol::ToServer::List(protocol::Page::default()));
    // Each of these ends the connection; the client comes back with a whole handshake, and with nothing of before.
    for again in [
        message(0, &[]),
        host.hello.clone(),
        proof_wanted(&[]),
        proof_wanted(&[1, 2, 3]),
        ServerHello::honest(&[], &[]).message(),
        message(KEY_UPDATE, &[2]),
    ] {
        host.wire.sends(HANDSHAKE, &again);
        let told = host.wire.is_turned_away();
        assert!(matches!(told, Heard::Alert(alert) if alert != 0), "{again:02x?}: {told:?}");
        host = Host::lets_in(&listener, &scene.identity);
        for number in [PRE_SHARED_KEY, EARLY_DATA] {
            assert!(!crate::bent::hello::offers(&host.hello, number), "{number}");
        }
        client.expect("reconnected");
    }
}
