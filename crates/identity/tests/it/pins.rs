use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use identity::{Pin, PinError, PinFile, Trust, public_line};
use protocol::PublicKey;
use tempfile::{TempDir, tempdir};

use crate::common::{self, mode, server, user, write};

fn pins() -> (TempDir, PathBuf, PinFile) {
    let dir = tempdir().unwrap();
    let path = dir.path().join("pins");
    (dir, path.clone(), PinFile::new(path))
}

fn key(number: u8) -> PublicKey {
    common::key(number).public()
}

#[test]
fn a_pin_through_its_life() {
    let (_dir, path, pins) = pins();
    let (bob, relay) = (user("bob"), server("relay.example"));
    assert_eq!(pins.get(&bob, &relay).unwrap(), None);
    assert!(pins.list().unwrap().is_empty());
    assert!(!path.exists(), "reading makes no file");
    assert!(matches!(pins.verify(&bob, &relay, &key(1)), Err(PinError::NoPin)));
    assert!(matches!(pins.forget(&bob, &relay), Err(PinError::NoPin)));

    pins.pin(&bob, &relay, &key(1)).unwrap();
    assert_eq!(mode(&path), 0o600);
    let pin = pins.get(&bob, &relay).unwrap().unwrap();
    assert_eq!((pin.key, pin.trust()), (key(1), Trust::Pinned));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("bob@relay.example {} pinned\n", public_line(&key(1), "")));

    assert!(matches!(pins.verify(&bob, &relay, &key(2)), Err(PinError::Changed)), "that key was never pinned");
    assert_eq!(pins.get(&bob, &relay).unwrap().unwrap().trust(), Trust::Pinned);
    assert_eq!(pins.verify(&bob, &relay, &key(1)).unwrap(), Pin { key: key(1), verified: true });
    pins.pin(&bob, &relay, &key(1)).unwrap();
    assert_eq!(pins.get(&bob, &relay).unwrap().unwrap().trust(), Trust::Verified, "pinned again, verified still");

    let before = fs::read(&path).unwrap();
    assert!(matches!(pins.pin(&bob, &relay, &key(2)), Err(PinError::Changed)));
    assert_eq!(fs::read(&path).unwrap(), before);

    assert_eq!(pins.forget(&bob, &relay).unwrap().key, key(1));
    assert_eq!(pins.get(&bob, &relay).unwrap(), None);
    pins.pin(&bob, &relay, &key(2)).unwrap();
    assert_eq!(pins.get(&bob, &relay).unwrap(), Some(Pin { key: key(2), verified: false }));
}

#[test]
fn a_name_on_another_server_is_somebody_else() {
    let (_dir, _, pins) = pins();
    let (here, there) = (server("here.example"), server("there.example"));
    pins.pin(&user("bob"), &here, &key(1)).unwrap();
    pins.pin(&user("bob"), &there, &key(2)).unwrap();
    pins.pin(&user("bobby"), &here, &key(3)).unwrap();
    pins.verify(&user("bob"), &there, &key(2)).unwrap();
    pins.forget(&user("bobby"), &here).unwrap();
    let left = pins.list().unwrap();
    let expected = [(&here, key(1), false), (&there, key(2), true)];
    assert_eq!(left.len(), 2);
    for ((name, at, pin), (server, key, verified)) in left.iter().zip(expected) {
        assert_eq!((name.as_str(), at, pin), ("bob", server, &Pin { key, verified }));
    }
}

#[test]
fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let good = format!("bob@relay.example {} verified", public_line(&key(1), ""));
    let carol = format!("carol@relay.example {} pinned", public_line(&key(2), ""));
    let cases: [(String, usize); 12] = [
        (format!("{good}\nnonsense\n"), 2),
        (format!("{good}\n\n{carol}\n"), 2),
        (format!("{good}\n{carol}\n{good}\n"), 3),
        (format!("# pins\n{good}\n"), 1),
        (good.replace("verified", "trusted"), 1),
        (good.replace(" verified", ""), 1),
        (good.replace("verified", "verified by phone"), 1),
        (good.replace("bob@", "bob"), 1),
        (good.replace("bob@", "@"), 1),
        (good.replace("ssh-ed25519", "ssh-rsa"), 1),
        (good.replace("AAAAC3", "AAAAC4"), 1),
        (good.chars().take(60).collect(), 1),
    ];
    for (contents, expected) in cases {
        let (dir, path, pins) = pins();
        write(dir.path(), "pins", contents.as_bytes());
        let (bob, relay) = (user("bob"), server("relay.example"));
        let errors = [
            pins.list().unwrap_err(),
            pins.get(&bob, &relay).unwrap_err(),
            pins.pin(&user("dave"), &relay, &key(4)).unwrap_err(),
            pins.verify(&bob, &relay, &key(1)).unwrap_err(),
            pins.forget(&bob, &relay).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, PinError::Damaged { line, .. } if line == expected), "{contents:?}: {error}");
            assert!(error.to_string().contains(&format!("line {expected} of {}", path.display())), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), contents.as_bytes(), "nothing is lost");
    }
    let (dir, _, pins) = pins();
    write(dir.path(), "pins", &[good.as_bytes(), b"\n\xff\xfe\n"].concat());
    assert!(matches!(pins.list(), Err(PinError::Damaged { line: 2, .. })), "not UTF-8");
}

#[test]
fn what_an_editor_leaves_is_read() {
    let (dir, _, pins) = pins();
    let line = format!("Bob@Relay.example  {}\tpinned", public_line(&key(1), ""));
    write(dir.path(), "pins", format!("{line}\r\n").as_bytes());
    assert_eq!(pins.get(&user("bob"), &server("relay.example")).unwrap().unwrap().key, key(1));
    fs::write(dir.path().join("pins"), line).unwrap();
    assert_eq!(pins.list().unwrap().len(), 1, "no last line end");
    fs::write(dir.path().join("pins"), "").unwrap();
    assert!(pins.list().unwrap().is_empty());
}

#[test]
fn a_file_that_cannot_be_used_says_so() {
    let dir = tempdir().unwrap();
    let pins = PinFile::new(dir.path().join("no/such/directory/pins"));
    assert!(pins.list().unwrap().is_empty());
    assert!(matches!(pins.pin(&user("bob"), &server("r"), &key(1)), Err(PinError::Io { .. })));
    let directory = PinFile::new(dir.path().into());
    assert!(matches!(directory.list(), Err(PinError::Io { .. })));
}

#[test]
fn what_a_crash_left_is_cleared_away() {
    let (dir, path, pins) = pins();
    let relay = server("relay.example");
    pins.pin(&user("bob"), &relay, &key(1)).unwrap();
    // Half of a new file, as readable as could be.
    let half = write(dir.path(), "pins.new", b"carol@rel");
    fs::set_permissions(&half, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(pins.list().unwrap().len(), 1);
    pins.pin(&user("carol"), &relay, &key(2)).unwrap();
    assert_eq!(pins.list().unwrap().len(), 2);
    assert_eq!(mode(&path), 0o600);
    assert!(!half.exists());
}

#[test]
fn many_at_once_lose_nothing_and_see_nothing_half_done() {
    let (_dir, _, pins) = pins();
    let relay = server("relay.example");
    let (threads, each) = (6, 8);
    let (start, done) = (Barrier::new(threads + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let (pins, relay, start) = (&pins, &relay, &start);
                scope.spawn(move || {
                    start.wait();
                    for i in 0..each {
                        let name = user(&format!("user-{thread}-{i}"));
                        pins.pin(&name, relay, &key(1)).unwrap();
                        if i % 2 == 0 {
                            pins.verify(&name, relay, &key(1)).unwrap();
                        }
                    }
                    // All want the same name, with a key of their own: one gets it.
                    pins.pin(&user("contested"), relay, &key(10 + thread as u8)).is_ok()
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            start.wait();
            let mut seen = 0;
            while !done.load(Ordering::Acquire) {
                let now = pins.list().unwrap().len();
                assert!(now >= seen, "{seen} pins became {now}");
                seen = now;
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Release);
        reader.join().unwrap();
        assert_eq!(results.into_iter().filter(|result| *result.as_ref().unwrap()).count(), 1);
    });
    let all = pins.list().unwrap();
    assert_eq!(all.len(), threads * each + 1);
    assert_eq!(all.iter().filter(|(_, _, pin)| pin.verified).count(), threads * each / 2);
}
