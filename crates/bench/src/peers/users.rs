//! The users that the load generator logs in as, in the relay's directory.

use std::path::Path;

use server::{config::Config, setup};

use crate::{connect::key_of, fault::Fault, wire::sottovoce::user_name};

/// Registers users 0 to `count` in a folder that `sottovoce server init` made.
///
/// # Errors
/// [`Fault::File`] when there is no such folder, or one of them is registered already.
pub(crate) fn register(dir: &Path, count: u64) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let failed = |error: server::directory::DirectoryError| Fault::file(dir, error);
        let config = Config::load(&setup::config_path(dir)).map_err(|error| Fault::file(dir, error))?;
        let directory = setup::open_directory(dir, &config).await.map_err(failed)?;
        for user in 0..count {
            directory.add(&user_name(user)?, &key_of(user).public()).await.map_err(failed)?;
        }
        directory.close().await;
        Ok(())
    })
}
