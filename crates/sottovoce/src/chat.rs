use std::{io::Write as _, sync::Arc};

use client::{Account, ErrorCode, Failure};
use identity::{LockedKey, UserKey, client_config};
use protocol::{NameError, UserName};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Chat, FaceName},
    face::{self, Accounts, Entry, Face, Input, Json, Line, Making},
    password::{Password, Source},
    printable, process,
    profile::{Profile, parse_address},
};

/// Logs in and chats, until the user leaves or it cannot go on.
pub(crate) async fn run(arguments: Chat) -> Result<(), crate::failure::Failure> {
    process::keep_memory_private();
    let _terminal = process::KeepTerminal::as_it_is();
    let stop = process::stop_by_signal()?;
    let default = if process::has_screen() { FaceName::Tui } else { FaceName::Line };
    let mut face: Box<dyn Face> = match arguments.face.unwrap_or(default) {
        FaceName::Tui => return Ok(on_full_screen(&arguments, &stop).await?),
        FaceName::Line => Box::new(Line::new(std::io::stdout()).for_terminal()),
        FaceName::Json => Box::new(Json::new(std::io::stdout())),
    };
    let result = match prepare(&arguments, &stop).await {
        Ok(Some(prepared)) => log_in(&mut *face, prepared, &stop).await,
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    result.map_err(|failure| {
        // Standard error tells it too, and is what is left when standard output is gone.
        let _ = face.failed(&failure);
        failure.into()
    })
}

/// Runs the face that fills the screen, whose form takes what a log-in needs.
async fn on_full_screen(arguments: &Chat, stop: &CancellationToken) -> Result<(), Failure> {
    if !process::has_screen() {
        let message = "the full-screen face needs a terminal for input and output; --face line does without";
        return Err(Failure::new(ErrorCode::BadFile, message));
    }
    let profile = Profile::read(&arguments.profile)?;
    let known = (profile.address().to_owned(), arguments.name.as_deref().unwrap_or(profile.name()).to_owned());
    let first = match arguments.password_file.as_deref() {
        Some(file) => {
            let password = Some(Source::File(file).ask(String::new()).await?);
            let (server, name) = known.clone();
            Some(Entry { server, name, password })
        }
        None => None,
    };
    let settings = profile.attention();
    let make = Box::new(move |entry, key| -> Making { Box::pin(account(profile.clone(), entry, key)) });
    face::run_full_screen(Accounts::Entered { known, first, make }, settings, Vec::new(), stop).await
}

/// The account that was entered into the form, with the key that was unlocked before if no password was entered.
async fn account(profile: Profile, entry: Entry, key: Option<Arc<UserKey>>) -> Result<Account, Failure> {
    let (host, port) = parse_address(&entry.server).ok_or_else(|| {
        let message = format_args!("{} is not HOST:PORT, such as chat.example:7478", entry.server);
        Failure::new(ErrorCode::Unreachable, message)
    })?;
    let user: UserName = entry.name.parse().map_err(bad_name)?;
    let key = match (entry.password, key) {
        (Some(password), _) => Arc::new(unlock_with(locked_key(&profile)?, password).await?),
        (None, Some(key)) => key,
        (None, None) => return Err(Failure::new(ErrorCode::BlankField, "the password is empty")),
    };
    account_of(&profile, user, key, host, port)
}

fn account_of(
    profile: &Profile,
    user: UserName,
    key: Arc<UserKey>,
    host: String,
    port: u16,
) -> Result<Account, Failure> {
    let tls = client_config(&key, profile.roots()?).map_err(|error| Failure::new(ErrorCode::BadFile, error))?;
    Ok(Account { user, key, host, port, tls, pins: Arc::new(profile.pins()) })
}

/// What a log-in takes, besides the network.
struct Prepared {
    account: Account,
    can_ask_again: bool,
}

/// Reads the profile and unlocks the key; `None` when told to stop meanwhile.
async fn prepare(arguments: &Chat, stop: &CancellationToken) -> Result<Option<Prepared>, Failure> {
    let profile = Profile::read(&arguments.profile)?;
    let (host, port) = profile.server()?;
    let source = Source::new(arguments.password_file.as_deref());
    let (user, key) = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(None),
        who = who(arguments.name.as_deref().unwrap_or(profile.name()), &profile, source) => who?,
    };
    let account = account_of(&profile, user, key, host, port)?;
    Ok(Some(Prepared { account, can_ask_again: source.can_ask_again() }))
}

async fn log_in(face: &mut dyn Face, prepared: Prepared, stop: &CancellationToken) -> Result<(), Failure> {
    let Prepared { mut account, can_ask_again } = prepared;
    let mut input = Input::begin();
    let mut logged_in = false;
    loop {
        match face::run(face, &mut input, account.clone(), stop, &mut logged_in).await {
            // Whoever was let in and then put out did not mistype a name.
            Err(failure) if failure.code == ErrorCode::UnknownUser && can_ask_again && !logged_in => {
                account.user = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    user = ask_name_again(&failure, &mut input) => user.ok_or(failure)?,
                };
            }
            result => return result,
        }
    }
}

/// The user's name and unlocked key. At a terminal a mistake in either can be mended.
async fn who(name: &str, profile: &Profile, source: Source<'_>) -> Result<(UserName, Arc<UserKey>), Failure> {
    let mut name = name.to_owned();
    let user = loop {
        match name.parse() {
            Ok(user) => break user,
            Err(error) if source.can_ask_again() => {
                tell(&bad_name(error))?;
                name = ask_name().await?;
            }
            Err(error) => return Err(bad_name(error)),
        }
    };
    Ok((user, Arc::new(unlock(profile, source).await?)))
}

fn bad_name(error: NameError) -> Failure {
    let Failure { code, message } = error.into();
    Failure::new(code, format_args!("the user name: {message}"))
}

/// A line that a person types at the prompt for a name, before the face reads anything.
async fn ask_name() -> Result<String, Failure> {
    let asked = tokio::task::spawn_blocking(|| {
        write!(std::io::stderr(), "User name: ")?;
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim().to_owned()),
        }
    });
    let asked = asked.await.map_err(std::io::Error::from).flatten();
    asked.map_err(|error| Failure::new(ErrorCode::BlankField, format_args!("no user name was given ({error})")))
}

/// The user's key, unlocked. At a terminal a mistake can be mended.
async fn unlock(profile: &Profile, source: Source<'_>) -> Result<UserKey, Failure> {
    let _silence = matches!(source, Source::Terminal).then(process::KeepTerminal::silent);
    let locked = locked_key(profile)?;
    loop {
        let attempt = match source.ask(format!("Password of {}: ", profile.key_path().display())).await {
            Ok(password) => unlock_with(locked.clone(), password).await,
            Err(failure) => Err(failure),
        };
        match attempt {
            Err(failure)
                if source.can_ask_again()
                    && matches!(failure.code, ErrorCode::WrongPassword | ErrorCode::BlankField) =>
            {
                tell(&failure)?;
            }
            result => return result,
        }
    }
}

fn locked_key(profile: &Profile) -> Result<Arc<LockedKey>, Failure> {
    LockedKey::read(&profile.key_path()).map(Arc::new).map_err(|error| Failure::new(ErrorCode::BadFile, error))
}

/// The key that a password protects. Takes half a second of a thread of its own.
async fn unlock_with(locked: Arc<LockedKey>, password: Password) -> Result<UserKey, Failure> {
    let bad_file = |error: &dyn std::fmt::Display| Failure::new(ErrorCode::BadFile, error);
    let unlocked = tokio::task::spawn_blocking(move || locked.unlock(password.as_bytes())).await;
    unlocked.map_err(|error| bad_file(&error))?.map_err(|error| match error {
        identity::UnlockError::WrongPassword => Failure::new(ErrorCode::WrongPassword, error),
        _ => bad_file(&error),
    })
}

/// Another name, from a person who gave one that the server does not know; `None` at the end of input.
async fn ask_name_again(failure: &Failure, input: &mut Input) -> Option<UserName> {
    let mut problem = failure.to_string();
    // A name goes to the server: nothing that was typed for somebody else may be taken for one.
    input.discard();
    loop {
        tell(&Failure::new(failure.code, problem)).ok()?;
        write!(std::io::stderr(), "User name: ").ok()?;
        let line = input.next().await?.into_line().ok()?;
        match line.trim().parse() {
            Ok(user) => return Some(user),
            Err(error) => problem = error.to_string(),
        }
    }
}

fn tell(failure: &Failure) -> Result<(), Failure> {
    writeln!(std::io::stderr(), "{}", printable::line(&failure.message))
        .map_err(|error| Failure::new(ErrorCode::BadFile, format_args!("standard error cannot be written to: {error}")))
}
