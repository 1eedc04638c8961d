//! What an operator gets to see of a running server: metrics and health over HTTP for programs, and the same figures by a
//! socket in the server's folder for `sottovoce server status`. No names, no addresses and no keys.

mod exposition;
pub mod figures;
pub(crate) mod http;
pub mod status;
mod visitors;
