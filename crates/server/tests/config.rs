//! What an operator writes into `server.toml`, and what he is told when it is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test may panic"
)]

use std::{fs, path::Path, time::Duration};

use protocol::{
    ServerName,
    limits::{MAX_PAGE, WINDOW_BYTES, WINDOW_FRAMES},
};
use server::config::{Config, ConfigError, Metrics};

fn name() -> ServerName {
    "chat.example".parse().unwrap()
}

fn load(text: impl AsRef<[u8]>) -> Result<Config, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    Config::load(file.path())
}

/// What the operator is told, without the path that it starts with.
fn complaint(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let complaint = Config::load(file.path()).expect_err(text).to_string();
    complaint.strip_prefix(file.path().to_str().unwrap()).expect("names the file").to_owned()
}

fn without_marks(text: &str) -> String {
    let is_setting = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase());
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line).to_owned() + "\n")
        .collect()
}

const ALL_CHANGED: &str = r#"
name = "Relay.Example"
listen = "127.0.0.1:1"
metrics = "10.1.2.3:9100"
log = "warn"
directory = "postgres://sottovoce@db.example:5433/chat?sslmode=verify-full&sslrootcert=db.pem"
directory_password_file = "db.password"
handshake_timeout = "11s"
login_timeout = "12s"
refusal_delay = "1s 300ms"
idle_timeout = "2h"
request_timeout = "13s"
establishment_timeout = "14s"
grace_period = "15s"
router = "tls://nats.example:4223,nats://10.0.0.5:4222"
router_ca = "nats.pem"
router_credentials = "nats.creds"
router_replicas = 3
cluster = "chat-1"
directory_poll = "2s"
shutdown_timeout = "16s"
drain_delay = "17s"
drain_time = "18s"
max_connections = 1_000
max_connections_per_address = 6
max_pending = 7
max_pending_per_address = 8
connection_rate_per_address = 9
connection_burst_per_address = 10
list_page = 1
list_rate = 2
list_burst = 3
request_rate = 4
request_burst = 5
mailbox_frames = 0x1000
mailbox_bytes = 16777216
"#;

#[test]
fn the_file_that_init_writes_says_what_holds_anyway() {
    let text = Config::commented(&name());
    assert_eq!(load(&text).unwrap(), Config::new(name()), "as it is");
    assert_eq!(load(without_marks(&text)).unwrap(), Config::new(name()), "with all settings taken into use");
    for setting in ALL_CHANGED.lines().filter(|line| !line.is_empty()) {
        let key = setting.split_once(' ').unwrap().0;
        assert_eq!(
            text.matches(&format!("\n#{key} = ")).count() + text.matches(&format!("\n{key} = ")).count(),
            1,
            "{key}"
        );
    }
}

#[test]
fn every_setting_can_be_changed() {
    let s = Duration::from_secs;
    // No `..`: a setting that is not in this test does not compile.
    let changed = Config {
        name: "relay.example".parse().unwrap(),
        listen: "127.0.0.1:1".parse().unwrap(),
        metrics: Metrics::At("10.1.2.3:9100".parse().unwrap()),
        log: "warn".to_owned(),
        directory: "postgres://sottovoce@db.example:5433/chat?sslmode=verify-full&sslrootcert=db.pem".parse().unwrap(),
        directory_password_file: Some("db.password".into()),
        router: "tls://nats.example:4223,nats://10.0.0.5:4222".parse().unwrap(),
        router_ca: Some("nats.pem".into()),
        router_credentials: Some("nats.creds".into()),
        router_replicas: 3,
        cluster: "chat-1".to_owned(),
        handshake_timeout: s(11),
        login_timeout: s(12),
        refusal_delay: Duration::from_millis(1300),
        idle_timeout: s(7200),
        request_timeout: s(13),
        establishment_timeout: s(14),
        grace_period: s(15),
        directory_poll: s(2),
        shutdown_timeout: s(16),
        drain_delay: s(17),
        drain_time: s(18),
        max_connections: 1000,
        max_connections_per_address: 6,
        max_pending: 7,
        max_pending_per_address: 8,
        connection_rate_per_address: 9,
        connection_burst_per_address: 10,
        list_page: 1,
        list_rate: 2,
        list_burst: 3,
        request_rate: 4,
        request_burst: 5,
        mailbox_frames: 4096,
        mailbox_bytes: 16 << 20,
    };
    assert_eq!(load(ALL_CHANGED).unwrap(), changed);
    let text = changed.written();
    assert_eq!(load(&text).unwrap(), changed);
    assert!(text.contains("\ndirectory_password_file = \"db.password\"\n"), "what is not as usual is seen to be set");
}

#[test]
fn a_directory_is_named_without_its_password_and_the_mistake_is_not_repeated() {
    let Config { directory, directory_password_file, .. } = load("name = 'a'\ndirectory_password_file = ''").unwrap();
    assert_eq!((directory.written().as_str(), directory_password_file), ("sqlite:directory.db", None));
    for (value, words) in [
        ("'postgres://sottovoce:rosebud@localhost/chat'", "directory_password_file"),
        ("'postgres://sottovoce@db.example/rosebud'", "sslmode=verify-full"),
        ("'rosebud'", "sqlite:FILE"),
        ("3", "sqlite:FILE"),
    ] {
        let told = complaint(&format!("name = 'a'\ndirectory = {value}"));
        assert!(told.starts_with(", line 2: directory ") && told.contains(words), "{told}");
        assert!(!told.contains("rosebud"), "{told}");
    }
    assert!(complaint("name = 'a'\ndirectory_password_file = 3").contains("path in quotation marks"));
}

#[test]
fn a_name_is_enough_and_may_hold_any_of_its_characters() {
    assert_eq!(load("name = 'chat.example'").unwrap(), Config::new(name()));
    let odd: ServerName = "a\"b\\c'#d".parse().unwrap();
    assert_eq!(load(Config::commented(&odd)).unwrap(), Config::new(odd));
}

#[test]
fn bounds_are_within_bounds() {
    let numbers = [
        ("max_connections", 1, 1_000_000),
        ("max_connections_per_address", 1, 1_000_000),
        ("max_pending", 1, 1_000_000),
        ("max_pending_per_address", 1, 1_000_000),
        ("connection_rate_per_address", 1, 1_000_000),
        ("connection_burst_per_address", 1, 1_000_000),
        ("list_page", 1, MAX_PAGE),
        ("list_rate", 1, 1_000_000),
        ("list_burst", 1, 1_000_000),
        ("request_rate", 1, 1_000_000),
        ("request_burst", 1, 1_000_000),
        ("mailbox_frames", 2 * WINDOW_FRAMES + 64, 65_536),
        ("mailbox_bytes", 2 * WINDOW_BYTES, 1 << 30),
    ];
    for (key, least, most) in numbers {
        let load = |value: usize| load(format!("name = 'a'\n{key} = {value}"));
        assert!(load(least).is_ok() && load(most).is_ok(), "{key}");
        assert!(load(least - 1).is_err() && load(most + 1).is_err(), "{key}");
    }
    let milliseconds = [
        ("handshake_timeout", 100, 600_000),
        ("login_timeout", 100, 600_000),
        ("refusal_delay", 10, 5_000),
        ("idle_timeout", 10_000, 86_400_000),
        ("request_timeout", 1_000, 3_600_000),
        ("establishment_timeout", 1_000, 600_000),
        ("grace_period", 1_000, 86_400_000),
        ("directory_poll", 100, 4_000),
        ("shutdown_timeout", 100, 600_000),
        ("drain_delay", 0, 600_000),
        ("drain_time", 0, 600_000),
    ];
    for (key, least, most) in milliseconds {
        let load = |value: u64| load(format!("name = 'a'\n{key} = '{value}ms'"));
        assert!(load(least).is_ok() && load(most).is_ok(), "{key}");
        assert!(least.checked_sub(1).is_none_or(|less| load(less).is_err()) && load(most + 1).is_err(), "{key}");
    }
}

#[test]
fn metrics_are_somewhere_or_nowhere() {
    let load = |value: &str| load(format!("name = 'a'\nmetrics = '{value}'")).unwrap().metrics;
    assert_eq!(load("auto"), Metrics::Auto);
    assert_eq!(load("off"), Metrics::Off);
    // Set by hand, even to what it is anyway: whoever says where, wants to find it there.
    assert_eq!(load("127.0.0.1:7479"), Metrics::At(Metrics::DEFAULT_ADDRESS));
    assert!(Metrics::DEFAULT_ADDRESS.ip().is_loopback());
}

#[test]
fn a_mistake_is_named_with_its_file_line_and_key() {
    let time = "should be a time from \"1s\" to \"1h\", in quotation marks, such as \"1m\"";
    let count = format!("should be a whole number from 1 to {MAX_PAGE}");
    let unknown = "is no setting of this version; the file that `sottovoce server init` writes has all of them";
    for (line, problem) in [
        ("request_timeout = 30", format!("request_timeout {time}")),
        ("request_timeout = \"30\"", format!("request_timeout {time}")),
        ("request_timeout = \"\"", format!("request_timeout {time}")),
        ("request_timeout = \"-30s\"", format!("request_timeout {time}")),
        ("request_timeout = \"999ms\"", format!("request_timeout {time}")),
        ("request_timeout = \"99999999999999999999s\"", format!("request_timeout {time}")),
        ("list_page = 0", format!("list_page {count}")),
        ("list_page = -1", format!("list_page {count}")),
        ("list_page = 1.5", format!("list_page {count}")),
        ("list_page = \"200\"", format!("list_page {count}")),
        ("list_page = 99999999999999999999999", format!("list_page {count}")),
        ("log = 3", "log should be a text in quotation marks, such as \"info\"".to_owned()),
        (
            "listen = \"chat.example:7478\"",
            "listen should be an IP address and port in quotation marks, such as \"[::]:7478\"".to_owned(),
        ),
        (
            "metrics = \"localhost:7479\"",
            "metrics should be an IP address and port such as \"127.0.0.1:7479\", or \"auto\" or \"off\"".to_owned(),
        ),
        ("list_pages = 3", format!("list_pages {unknown}")),
        ("[list_page]", format!("list_page {count}")),
        ("[limits]\nlist_page = 3", format!("limits {unknown}")),
    ] {
        assert_eq!(complaint(&format!("name = 'a'\n\n# é\n{line}\n")), format!(", line 4: {problem}"));
    }
    let name = "name should be the host name or IP address on the server's certificate, in quotation marks";
    for bad in ["name = ''", "name = 'a b'", "name = 7", "name = 'alice@chat.example'"] {
        assert_eq!(complaint(&format!("list_page = 1\n{bad}")), format!(", line 2: {name}"));
    }
    assert_eq!(
        complaint("listen = '[::]:1'"),
        " does not say the server's name; add a line such as name = \"chat.example\""
    );
}

#[test]
fn what_is_no_toml_is_one_line_of_complaint() {
    for (text, line) in
        [("name = 'a'\nname = 'b'", 2), ("name = a", 1), ("name = 'a'\n\nlist_page = ", 3), ("<html>\n</html>", 1)]
    {
        let complaint = complaint(text);
        assert!(complaint.starts_with(&format!(", line {line}: ")), "{complaint}");
        assert!(!complaint.contains('\n'), "{complaint}");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Config::load(&dir.path().join("server.toml"));
    assert!(matches!(&missing, Err(ConfigError::Missing(_))));
    assert!(missing.unwrap_err().to_string().ends_with("server.toml; `sottovoce server init` makes one"));
    assert!(matches!(Config::load(dir.path()), Err(ConfigError::Unreadable { .. })));
    assert!(matches!(Config::load(Path::new("/dev/null/server.toml")), Err(ConfigError::Unreadable { .. })));
    assert!(matches!(load(b"name = 'a'\n# \xff"), Err(ConfigError::Unreadable { .. })));
}
