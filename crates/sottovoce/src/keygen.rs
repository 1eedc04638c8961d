use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use identity::{UserKey, public_line, write_key_file};
use rand::rngs::SysRng;
use rand_core::UnwrapErr;

use crate::{
    arguments::Keygen,
    failure::Failure,
    password::{Password, Source},
    process, profile,
};

/// Makes a profile with a new key, and prints the line that the operator registers.
pub(crate) async fn run(arguments: Keygen) -> Result<(), Failure> {
    process::keep_memory_private();
    let Keygen { profile: dir, name, server, ca, password_file } = arguments;
    if let Some(server) = &server
        && profile::parse_address(server).is_none()
    {
        return Err(Failure::new(format_args!("{server} is not HOST:PORT")));
    }
    profile::refuse_exposed(&dir)?;
    let taken =
        ["key", "key.pub", "profile.toml", "ca.pem"].map(|file| dir.join(file)).into_iter().find(|path| path.exists());
    if let Some(path) = taken {
        return Err(Failure::new(format_args!(
            "{} is there already, and nothing is overwritten; choose another profile",
            path.display()
        )));
    }
    let ca = ca.map(|path| read_authority(&path)).transpose()?;
    let _terminal = process::KeepTerminal::as_it_is();
    let stop = process::stop_by_signal()?;
    let password = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(Failure::new("stopped; nothing was made")),
        password = new_password(Source::new(password_file.as_deref())) => password?,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| Failure::new(format_args!("{} cannot be made: {error}", dir.display())))?;
    let key = UserKey::generate(&mut UnwrapErr(SysRng));
    let public = public_line(&key.public(), name.as_str());
    let key_path = dir.join("key");
    let comment = name.to_string();
    tokio::task::spawn_blocking(move || {
        write_key_file(&key_path, &key, password.as_bytes(), &comment, &mut UnwrapErr(SysRng))
    })
    .await
    .map_err(Failure::new)??;
    write_new(&dir.join("key.pub"), 0o644, format!("{public}\n").as_bytes())?;
    if let Some(pem) = &ca {
        write_new(&dir.join("ca.pem"), 0o644, pem)?;
    }
    let settings = profile::settings(&name, server.as_deref(), ca.is_some());
    write_new(&dir.join("profile.toml"), 0o600, settings.as_bytes())?;
    let told = writeln!(std::io::stdout(), "{public}");
    // The line alone goes to standard output, where a script may want it.
    let _ = writeln!(
        std::io::stderr(),
        "made {0}; give the line above, which is {0}/key.pub, to the server's operator",
        dir.display()
    );
    told.map_err(|error| Failure::new(format_args!("the key was made, but its public line cannot be printed: {error}")))
}

/// The certificates in the file that a server's operator hands out.
fn read_authority(path: &Path) -> Result<Vec<u8>, Failure> {
    let bad = |what: &dyn std::fmt::Display| Failure::new(format_args!("{}: {what}", path.display()));
    let pem = std::fs::read(path).map_err(|error| bad(&error))?;
    if String::from_utf8_lossy(&pem).contains("PRIVATE KEY") {
        return Err(bad(&"this holds a private key; the file to hand out is ca.pem"));
    }
    identity::check_authority(&pem).map_err(|error| bad(&error))?;
    Ok(pem)
}

async fn new_password(source: Source<'_>) -> Result<Password, Failure> {
    loop {
        match ask_twice(source).await {
            Err(failure) if source.can_ask_again() => {
                let _ = writeln!(std::io::stderr(), "{failure}");
            }
            result => return Ok(result?),
        }
    }
}

/// A password that was typed the same twice, or once read from a file.
async fn ask_twice(source: Source<'_>) -> Result<Password, client::Failure> {
    let password = source.ask("New password for your key: ".to_owned()).await?;
    if source.can_ask_again() && source.ask("The same again: ".to_owned()).await? != password {
        return Err(client::Failure::new(client::ErrorCode::WrongPassword, "the two are not the same; try again"));
    }
    Ok(password)
}

/// Writes a file that is not there yet.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(format_args!("{} is there already, and nothing is overwritten", path.display()))
        }
        _ => Failure::new(format_args!("{} cannot be written: {error}", path.display())),
    })
}
