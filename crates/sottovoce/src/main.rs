//! `sottovoce`: live, private, one-to-one chat for people who run their own server.

mod arguments;
mod chat;
mod demo;
mod face;
mod failure;
mod keygen;
mod output;
mod password;
mod pins;
mod printable;
mod process;
mod profile;
mod server;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
};

/// All memory is zeroed when it is given back, so that what libraries copy of keys and messages goes too.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    process::gain_nothing();
    let result = match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let result = runtime.block_on(run(arguments.command));
            // A thread that waits for input would hold the program up.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new(format_args!("the system gives no threads or timers ({error})"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "sottovoce: {}", printable::line(&failure.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo => demo::run().await,
        Command::Server(command) => server::administer(command).await,
        Command::User(command) => server::register(command).await,
        Command::Keygen(arguments) => keygen::run(arguments).await,
        Command::Chat(arguments) => chat::run(arguments).await,
        Command::Pins(command) => pins::run(command),
    }
}
