use client::ErrorCode;
use identity::{LockedKey, Pin, PinFile, Trust, safety_number};
use protocol::{ServerName, UserName};

use crate::{arguments::Pins, failure::Failure, output::print, profile::Profile};

/// Lists, verifies or forgets the keys of people one has talked to.
pub(crate) fn run(command: Pins) -> Result<(), Failure> {
    match command {
        Pins::List { profile } => list(&Profile::read(&profile)?),
        Pins::Verify { name, profile } => {
            let profile = Profile::read(&profile)?;
            let (user, server, pin) = find(&profile.pins(), &name)?;
            profile.pins().verify(&user, &server, &pin.key)?;
            print(format_args!("{user}@{server} is verified: a chat with another key than this will not start"))
        }
        Pins::Forget { name, profile } => {
            let profile = Profile::read(&profile)?;
            let (user, server, _) = find(&profile.pins(), &name)?;
            profile.pins().forget(&user, &server)?;
            print(format_args!(
                "the key of {user}@{server} is forgotten; the next chat pins the key that there is then"
            ))
        }
    }
}

fn list(profile: &Profile) -> Result<(), Failure> {
    let own = LockedKey::read(&profile.key_path())?.public();
    let name: UserName = profile.name().parse()?;
    for (user, server, pin) in profile.pins().list()? {
        let trust = match pin.trust() {
            Trust::Verified => "verified",
            Trust::New | Trust::Pinned => "pinned",
        };
        let number = safety_number(&server, (&name, &own), (&user, &pin.key));
        print(format_args!("{user}@{server}  {trust}\n    {number}"))?;
    }
    Ok(())
}

/// Who is meant by `NAME` or `NAME@SERVER`.
fn find(pins: &PinFile, name: &str) -> Result<(UserName, ServerName, Pin), Failure> {
    let (user, server) = match name.split_once('@') {
        Some((user, server)) => (user, Some(server.parse::<ServerName>()?)),
        None => (name, None),
    };
    let user: UserName = user.parse()?;
    let mut found: Vec<_> = pins
        .list()?
        .into_iter()
        .filter(|(pinned, at, _)| *pinned == user && server.as_ref().is_none_or(|server| server == at))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(found), true) => Ok(found),
        (None, _) => Err(Failure::new(format_args!("no key of {name} is pinned; that happens in the first chat"))),
        (Some(last), false) => {
            let all = found
                .iter()
                .chain([&last])
                .map(|(_, server, _)| format!("{user}@{server}"))
                .collect::<Vec<_>>()
                .join(" or ");
            Err(client::Failure::new(ErrorCode::BadName, format_args!("there is more than one {user}: say {all}"))
                .into())
        }
    }
}
