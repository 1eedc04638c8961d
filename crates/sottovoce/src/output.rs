use std::{
    fmt,
    io::{self, Write as _, stdout},
};

use crate::failure::Failure;

/// Writes a line to standard output, at once.
pub(crate) fn print(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(unwritable)
}

/// Standard output takes nothing.
pub(crate) fn unwritable(error: io::Error) -> Failure {
    Failure::new(format_args!("nothing can be written to standard output: {error}"))
}
