//! What is told of a fault in the program itself.

use std::panic::{Location, PanicHookInfo, set_hook};

// One connection's task may panic without the others noticing, because a panic unwinds and ends at its task.
#[cfg(not(panic = "unwind"))]
compile_error!("a server is built with panic = \"unwind\": otherwise the fault of one connection ends them all");

/// From now on a panic, in whatever thread of this process, is logged by the place in the source where it happened. What
/// it says is left out: such messages often hold what the program was working on, and so names. It can be had at the
/// level `debug`.
pub fn log_panics_by_place() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(Location::to_string).unwrap_or_default();
        tracing::error!(place, "a fault in the program; please report the place");
        tracing::debug!(message_of_fault = message(panic), "what the fault says");
    }));
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    panic.payload_as_str().unwrap_or("nothing")
}
