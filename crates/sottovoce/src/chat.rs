use std::{io::Write as _, sync::Arc};

use client::{Account, ErrorCode, Failure};
use identity::{LockedKey, UserKey, client_config};
use protocol::{NameError, UserName};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Chat, FaceName},
    face::{self, Face, Input, Json, Line},
    password::Source,
    printable, process,
    profile::Profile,
};

/// Logs in and chats, until the user leaves or it cannot go on.
pub(crate) async fn run(arguments: Chat) -> Result<(), crate::failure::Failure> {
    process::keep_memory_private();
    let mut face: Box<dyn Face> = match arguments.face {
        FaceName::Line => Box::new(Line::new(std::io::stdout()).for_terminal()),
        FaceName::Json => Box::new(Json::new(std::io::stdout())),
    };
    let _terminal = process::KeepTerminal::as_it_is();
    let stop = process::stop_by_signal()?;
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
    let tls = client_config(&key, profile.roots()?).map_err(|error| Failure::new(ErrorCode::BadFile, error))?;
    let account = Account { user, key, host, port, tls, pins: Arc::new(profile.pins()) };
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
    let bad_file = |error| Failure::new(ErrorCode::BadFile, error);
    let _silence = matches!(source, Source::Terminal).then(process::KeepTerminal::silent);
    let locked = Arc::new(LockedKey::read(&profile.key_path()).map_err(|error| bad_file(error.to_string()))?);
    loop {
        let attempt = match source.ask(format!("Password of {}: ", profile.key_path().display())).await {
            Ok(password) => {
                let locked = locked.clone();
                let unlocked = tokio::task::spawn_blocking(move || locked.unlock(password.as_bytes())).await;
                let unlocked = unlocked.map_err(|error| bad_file(error.to_string()))?;
                unlocked.map_err(|error| match error {
                    identity::UnlockError::WrongPassword => Failure::new(ErrorCode::WrongPassword, error),
                    _ => bad_file(error.to_string()),
                })
            }
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
