use std::time::Duration;

use protocol::{
    UserName,
    limits::{MAX_PAGE, WINDOW_BYTES, WINDOW_FRAMES},
};
use server::config::Config;

use crate::{
    profile::{self, Profile},
    scratch::Scratch,
};

/// Takes the bytes for `server.toml` and for `profile.toml`.
///
/// What a server takes in is within bounds that it can run with; a profile has an address that can be connected to, or
/// none; and the files that the program writes are read back as they were meant.
pub fn settings(bytes: &[u8]) {
    let scratch = Scratch::new();
    server_file(&scratch, bytes);
    profile_file(&scratch, bytes);
}

fn server_file(scratch: &Scratch, bytes: &[u8]) {
    let path = scratch.file("server.toml", bytes);
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => return assert!(error.to_string().contains("server.toml"), "{error}"),
    };
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(86_400));
    for time in [
        config.handshake_timeout,
        config.login_timeout,
        config.refusal_delay,
        config.idle_timeout,
        config.request_timeout,
        config.establishment_timeout,
        config.grace_period,
        config.directory_poll,
        config.shutdown_timeout,
    ] {
        assert!((least..=most).contains(&time), "{time:?}");
    }
    assert!((1..=MAX_PAGE).contains(&config.list_page));
    for count in [
        config.max_connections,
        config.max_connections_per_address,
        config.max_pending,
        config.max_pending_per_address,
        config.connection_rate_per_address,
        config.connection_burst_per_address,
        config.list_rate,
        config.list_burst,
        config.request_rate,
        config.request_burst,
    ] {
        assert!((1..=1_000_000).contains(&count), "{count}");
    }
    assert!(config.mailbox_frames >= 2 * WINDOW_FRAMES && config.mailbox_bytes >= 2 * WINDOW_BYTES);
    let written = scratch.file("server.toml", Config::commented(&config.name).as_bytes());
    assert_eq!(Config::load(&written).unwrap(), Config::new(config.name));
}

fn profile_file(scratch: &Scratch, bytes: &[u8]) {
    scratch.file("profile.toml", bytes);
    let read = match Profile::read(scratch.path()) {
        Ok(read) => read,
        Err(failure) => return assert!(failure.message.contains("profile.toml"), "{failure}"),
    };
    let _ = (read.attention(), read.roots());
    let address = read.server().ok();
    if let Some((host, port)) = &address {
        assert!(!host.is_empty() && *port > 0);
        assert!(!host.contains(|c: char| c.is_control() || c.is_whitespace() || "[]\"'/@".contains(c)), "{host:?}");
    }
    let Ok(name) = read.name().parse::<UserName>() else { return };
    let written = profile::settings(&name, Some(read.address()), false);
    scratch.file("profile.toml", written.as_bytes());
    let again = Profile::read(scratch.path()).unwrap();
    assert_eq!((again.name(), again.address()), (name.as_str(), read.address()));
    assert_eq!(again.server().ok(), address);
}
