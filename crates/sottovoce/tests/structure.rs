//! The walls of the house: who may depend on whom, and what the pure parts may not touch.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of the workspace, with those of the workspace that it may depend on, however far. What its tests alone
/// use is not looked at: those of the program use `sim`, and the program is not built with it.
const MAY_REACH: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("identity", &["protocol"]),
    ("e2e", &["identity", "protocol"]),
    ("client", &["e2e", "identity", "protocol"]),
    // A server cannot open a message: the code is not there.
    ("server", &["identity", "protocol"]),
    ("sottovoce", &["client", "e2e", "identity", "protocol", "server"]),
    ("sim", &["client", "e2e", "identity", "protocol", "server"]),
    // It registers users with a relay; what it measures runs in a process of its own.
    ("bench", &["identity", "protocol", "server"]),
];

/// Crates and files that are given time, randomness and input, and read none of it themselves.
const PURE: &[&str] = &[
    "crates/protocol/src",
    "crates/e2e/src",
    "crates/client/src/machine.rs",
    "crates/client/src/machine",
    "crates/client/src/conversation.rs",
    "crates/client/src/stream.rs",
    "crates/client/src/command.rs",
    "crates/client/src/event.rs",
    "crates/sottovoce/src/face/tui/screen.rs",
    "crates/sottovoce/src/face/tui/screen",
    "crates/sottovoce/src/face/tui/composer.rs",
    "crates/sottovoce/src/face/tui/conversation.rs",
    "crates/sottovoce/src/face/tui/keys.rs",
    "crates/sottovoce/src/face/tui/pages.rs",
    "crates/sottovoce/src/face/tui/people.rs",
    "crates/sottovoce/src/face/tui/sign_in.rs",
    "crates/sottovoce/src/face/tui/text.rs",
    "crates/sottovoce/src/face/tui/transcript.rs",
    "crates/sottovoce/src/face/tui/verify.rs",
    "crates/server/src/session.rs",
    "crates/server/src/session",
    "crates/server/src/signal.rs",
];

/// What a pure part never names: clocks, sockets, files, threads, the environment, and generators of its own.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "UNIX_EPOCH",
    "std::net",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "tokio::",
    "SysRng",
    "OsRng",
    "getrandom",
    "thread_rng",
    "rand::rng",
    "SystemRandom",
    "println!",
    "eprintln!",
];

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let drawn: BTreeSet<_> = MAY_REACH.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, drawn, "every crate is in the drawing");
    let direct: BTreeMap<_, BTreeSet<_>> = metadata
        .packages
        .iter()
        .map(|package| {
            let normal =
                package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
            (
                package.name.to_string(),
                normal.map(|dependency| dependency.name.clone()).filter(|name| ours.contains(name)).collect(),
            )
        })
        .collect();
    for (name, allowed) in MAY_REACH {
        let (mut reached, mut to_visit) = (BTreeSet::new(), vec![(*name).to_owned()]);
        while let Some(next) = to_visit.pop() {
            for dependency in &direct[&next] {
                if reached.insert(dependency.clone()) {
                    to_visit.push(dependency.clone());
                }
            }
        }
        let beyond: Vec<_> = reached.iter().filter(|reached| !allowed.contains(&reached.as_str())).collect();
        assert!(beyond.is_empty(), "{name} reaches {beyond:?}");
    }
}

#[test]
fn pure_parts_read_no_clock_socket_file_or_generator() {
    let mut looked_at = 0;
    for place in PURE {
        for file in rust_files(&root().join(place)) {
            looked_at += 1;
            let text = fs::read_to_string(&file).unwrap();
            // Tests at the end of a file may do what they like.
            let code = text.split("#[cfg(test)]").next().unwrap();
            for (number, line) in code.lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                for word in IMPURE {
                    assert!(!line.contains(word), "{}:{}: {word}", file.display(), number + 1);
                }
            }
        }
    }
    assert!(looked_at > 25, "the list of pure parts is out of date: only {looked_at} files");
}

#[test]
fn all_crates_forbid_unsafe_and_take_the_workspaces_lints() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for lint in ["unwrap_used", "expect_used", "panic", "indexing_slicing", "arithmetic_side_effects"] {
        assert!(manifest.contains(&format!("{lint} = \"deny\"")), "{lint}");
    }
    for (name, _) in MAY_REACH {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}");
    }
}

/// The server does not compile otherwise, either.
#[test]
fn a_panic_unwinds_in_every_profile() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let profiles = manifest["profile"].as_table().unwrap();
    assert_eq!(profiles["release"]["panic"].as_str(), Some("unwind"));
    for (name, profile) in profiles {
        let panic = profile.get("panic").and_then(toml::Value::as_str).unwrap_or("unwind");
        assert_eq!(panic, "unwind", "{name}");
    }
}

/// `sqlx` would trust a list of authorities besides the one that the operator names for PostgreSQL.
#[test]
fn no_authority_vouches_for_a_database_but_the_one_that_is_named() {
    let roots: Vec<_> = locked("Cargo.lock").into_iter().filter(|package| package.name == "webpki-roots").collect();
    assert_eq!(roots.len(), 1);
    assert!(roots[0].source.is_none(), "another list than ours");
    let text = fs::read_to_string(root().join("patches/webpki-roots/src/lib.rs")).unwrap();
    assert!(text.contains("TLS_SERVER_ROOTS: &[pki_types::TrustAnchor<'static>] = &[];"), "{text}");
}

#[test]
fn provisional_cryptography_is_pinned_exactly() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in [
        "openmls",
        "openmls_libcrux_crypto",
        "openmls_memory_storage",
        "openmls_traits",
        "hpke-rs",
        "hpke-rs-libcrux",
        "libcrux-kem",
    ] {
        let line = manifest
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))
            .unwrap_or_else(|| panic!("no {name}"));
        assert!(line.contains("\"="), "{line}");
    }
}

/// The fuzz targets are a workspace of their own, in which what seals a chat is exchanged for what protects nothing.
#[test]
fn no_program_is_built_with_the_cryptography_of_the_fuzz_targets() {
    let members = MAY_REACH.iter().map(|(name, _)| format!("crates/{name}/Cargo.toml"));
    for manifest in members.chain(["Cargo.toml".to_owned()]) {
        let text = fs::read_to_string(root().join(&manifest)).unwrap();
        let exchanged = text.parse::<toml::Table>().unwrap().remove("patch").unwrap_or(toml::Table::new().into());
        // A list of authorities that is empty, and nothing else.
        let allowed = exchanged.as_table().unwrap().is_empty()
            || manifest == "Cargo.toml"
                && exchanged
                    == toml::toml! { [crates-io.webpki-roots]
                    path = "patches/webpki-roots" }
                    .into();
        assert!(allowed && !text.contains("insecure"), "{manifest}: {exchanged}");
    }
    let stand_ins: Vec<_> = locked("fuzz/Cargo.lock").into_iter().filter(|package| package.source.is_none()).collect();
    let ours = |name: &str| name == "fuzz" || MAY_REACH.iter().any(|(crate_name, _)| *crate_name == name);
    let program = locked("Cargo.lock");
    let mut exchanged = 0;
    for stand_in in stand_ins.iter().filter(|package| !ours(&package.name)) {
        let real = program.iter().find(|package| package.name == stand_in.name).unwrap();
        let source = real.source.as_deref().unwrap_or_default();
        assert!(source.contains("crates.io-index"), "{} is from {source:?}", real.name);
        exchanged += 1;
    }
    assert!(exchanged >= 3, "{exchanged}");
}

#[test]
fn fuzz_targets_are_built_of_the_versions_that_the_program_is() {
    let program: BTreeSet<_> =
        locked("Cargo.lock").into_iter().map(|package| (package.name, package.version)).collect();
    let names: BTreeSet<_> = program.iter().map(|(name, _)| name.as_str()).collect();
    for Locked { name, version, .. } in locked("fuzz/Cargo.lock") {
        let is_same = program.contains(&(name.clone(), version.clone()));
        assert!(is_same || !names.contains(name.as_str()), "{name} {version}: copy the version from Cargo.lock");
    }
}

#[test]
fn each_fuzz_target_is_described_and_has_inputs_to_begin_with() {
    let described = fs::read_to_string(root().join("fuzz/README.md")).unwrap();
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let (mut targets, mut bytes) = (0, 0);
    for file in rust_files(&root().join("fuzz/fuzz_targets")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(described.contains(&format!("| `{name}` |")), "{name} is not in README.md");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        let inputs: Vec<_> = fs::read_dir(root().join("fuzz/corpus").join(name)).unwrap().collect();
        assert!((10..=600).contains(&inputs.len()), "{name} has {} inputs", inputs.len());
        bytes += inputs.into_iter().map(|input| input.unwrap().metadata().unwrap().len()).sum::<u64>();
        targets += 1;
    }
    assert!(targets >= 10, "{targets}");
    assert!(bytes < 3 << 20, "{bytes} bytes of inputs are more than anybody wants to fetch");
    assert!(fs::read_to_string(root().join(".ci/run")).unwrap().contains("fuzz/run"));
}

/// An entry of a `Cargo.lock`.
#[derive(serde::Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// None for what is in the workspace, or put in another's place.
    source: Option<String>,
}

fn locked(file: &str) -> Vec<Locked> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let mut packages = toml::from_str::<BTreeMap<String, toml::Value>>(&text).unwrap();
    packages.remove("package").unwrap().try_into().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries
        .flat_map(|entry| rust_files(&entry.unwrap().path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
