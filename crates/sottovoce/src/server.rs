//! What an operator does: set up, run, look at what runs, and say who may log in.

mod status;

use std::{
    io::{Read as _, stdin},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use ::server::{
    Server,
    cluster::Settings,
    config::Config,
    directory::{Directory, Location},
    setup,
};
use identity::{parse_public_line, public_line};
use protocol::PublicKey;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    arguments::{Server as Command, User},
    failure::Failure,
    output::print,
    process,
};

/// Bytes of the longest file that is read for a public key; a line has some hundred.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// A library that logs unless it is named in the filter.
const QUIET: &str = "async_nats";

/// Files that a server needs for other things than connections: its directory, above all, which is opened several times.
const OTHER_FILES: usize = 64;

/// `sottovoce server …`
pub(crate) async fn administer(command: Command) -> Result<(), Failure> {
    // Certificate keys are secrets, too.
    process::keep_memory_private();
    match command {
        Command::Init { dir, host, cert, cert_key, directory, directory_password_file } => {
            let mut config = Config::new(host);
            if let Some(directory) = directory {
                let location = directory.parse::<Location>();
                config.directory = location.map_err(|error| Failure::new(format_args!("--directory {error}")))?;
            }
            // Here a path starts from where one is, in the configuration from the server's folder.
            config.directory_password_file =
                directory_password_file.map(std::path::absolute).transpose().map_err(Failure::new)?;
            let made = setup::init_as(&dir, &config, cert.zip(cert_key), now()).await?;
            for path in made.files {
                print(format_args!("made {}", path.display()))?;
            }
            if let Location::Postgres(address) = &config.directory {
                let verb = if made.has_new_directory { "made" } else { "found" };
                print(format_args!("{verb} the directory of users {address}"))?;
            }
            print(format_args!("next: sottovoce user add NAME --dir {} < key.pub", dir.display()))?;
            print(format_args!("      sottovoce server run --dir {}", dir.display()))
        }
        Command::Run { dir, listen } => {
            let mut config = Config::load(&setup::config_path(&dir))?;
            config.listen = listen.unwrap_or(config.listen);
            log(&config.log)?;
            ::server::log_panics_by_place();
            let too_few = fit(&mut config, process::take_all_descriptors());
            let stop = process::stop_server_by_signal()?;
            let mut server = open(&dir, config).await?;
            // Said by a server that runs: why one does not is the one thing that it says.
            if let Some((files, connections)) = too_few {
                tracing::warn!(
                    files,
                    connections,
                    "the files that this process may open are too few for max_connections, and so many connections are \
                     let in; raise the limit (ulimit -Hn, or LimitNOFILE of a systemd unit) or lower the setting"
                );
            }
            server.tells_status(&dir);
            let address = server.local_addr().map_err(|error| Failure::new(format_args!("no address: {error}")))?;
            print(format_args!("listening on {address}"))?;
            // Where the connections are served, not on the thread that waits for the end: a connection that is accepted by
            // another thread costs it a change of threads.
            let served = tokio::spawn(server.run(stop)).await;
            served.map_err(|fault| Failure::new(format_args!("the server stopped by a fault of its own: {fault}")))
        }
        Command::Status { dir, json } => status::show(&dir, json).await,
    }
}

/// Has a server let in no more connections than it has files for: one that ran out of them could not look up who logs
/// in, either. The files and the connections that there may be, if the connections are fewer than the operator has set.
fn fit(config: &mut Config, files: Option<u64>) -> Option<(usize, usize)> {
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let room = files.saturating_sub(OTHER_FILES).max(1);
    let is_too_few = config.max_connections > room;
    config.max_connections = config.max_connections.min(room);
    is_too_few.then_some((files, room))
}

/// `sottovoce user …`
pub(crate) async fn register(command: User) -> Result<(), Failure> {
    match command {
        User::Add { name, dir, key } => {
            let key = read_key(&key)?;
            directory_of(&dir).await?.add(&name, &key).await?;
            print(format_args!("{name} may log in now"))
        }
        User::List { dir } => {
            let users = directory_of(&dir).await?.list().await?;
            users.iter().try_for_each(|(name, key)| print(format_args!("{name} {}", public_line(key, ""))))
        }
        User::Remove { name, dir } => {
            directory_of(&dir).await?.remove(&name).await?;
            print(format_args!("{name} is removed"))
        }
        User::Replace { name, dir, key } => {
            let key = read_key(&key)?;
            directory_of(&dir).await?.replace(&name, &key).await?;
            print(format_args!("{name} has the new key"))
        }
    }
}

/// The server of `dir`, listening.
pub(crate) async fn open(dir: &Path, config: Config) -> Result<Server, Failure> {
    let read = |path: std::path::PathBuf| {
        std::fs::read(&path).map_err(|error| {
            Failure::new(format_args!("{} cannot be read: {error}; `sottovoce server init` makes it", path.display()))
        })
    };
    let key = zeroize::Zeroizing::new(read(setup::key_path(dir))?);
    let chain = read(setup::certificate_path(dir))?;
    let tls = identity::server_config(&chain, &key)?;
    if !identity::certifies(&chain, &config.name)? {
        let (name, file) = (&config.name, setup::certificate_path(dir));
        return Err(Failure::new(format_args!(
            "server.toml: name = {:?}, but {} is for others, and no client would take the server for that; set the name \
             that clients connect to and the certificate bears",
            name.as_str(),
            file.display()
        )));
    }
    let others = Settings::of(&config, dir)?;
    let directory = setup::open_directory(dir, &config).await?;
    Ok(Server::bind(config, Arc::clone(&tls), directory, others).await?)
}

/// The directory of the server of `dir`, wherever its configuration has it.
async fn directory_of(dir: &Path) -> Result<Directory, Failure> {
    let config = Config::load(&setup::config_path(dir))?;
    Ok(setup::open_directory(dir, &config).await?)
}

fn read_key(path: &Path) -> Result<PublicKey, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        stdin().take(MAX_KEY_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_KEY_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::new(format_args!("{} cannot be read: {error}", path.display())))?;
    Ok(parse_public_line(&text)?)
}

/// Logs to standard error, as finely as `filter` says.
fn log(filter: &str) -> Result<(), Failure> {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let is_known = |part: &str| part.contains('=') || is_level(part.trim());
    let targets = filter.parse::<Targets>().ok().filter(|_| filter.split(',').all(is_known));
    let targets = targets.ok_or_else(|| {
        Failure::new(format_args!(
            "server.toml: log = {filter:?} is no level; it is off, error, warn, info, debug or trace, and with parts of \
             the program named, \"info,server=debug\""
        ))
    })?;
    // What it says of its connections the server says in its own words, and once.
    let targets = match filter.contains(QUIET) {
        true => targets,
        false => targets.with_target(QUIET, LevelFilter::OFF),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a certificate's time begins with the clock's")]
fn now() -> SystemTime {
    SystemTime::now()
}
