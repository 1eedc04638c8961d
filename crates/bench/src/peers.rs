//! The servers that the relay is compared with: how they come onto this machine, are started and stopped, and measured.
//! Their configurations are in `crates/bench/peers/`.

mod launch;
pub(crate) mod rounds;
pub(crate) mod users;
mod work;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use clap::ValueEnum as _;

use crate::{fault::Fault, system::System};

/// What Debian's packages ask before they start a service: this program's exit code 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs all peers, and starts none.
///
/// # Errors
/// [`Fault::Program`] when a package is not there or this is not the user who may install it.
pub(crate) fn install() -> Result<(), Fault> {
    let policy = Path::new(POLICY);
    let is_ours = !policy.exists();
    if is_ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n").map_err(|error| Fault::file(policy, error))?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755)).map_err(|error| Fault::file(policy, error))?;
    }
    let packages = System::value_variants().iter().filter_map(|system| system.package());
    let installed = run(Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"));
    if is_ours {
        fs::remove_file(policy).map_err(|error| Fault::file(policy, error))?;
    }
    installed
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Fault::program(name, status)),
        Err(error) => Err(Fault::program(name, error)),
    }
}
