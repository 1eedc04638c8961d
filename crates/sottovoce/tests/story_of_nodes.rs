//! The whole of `story.rs` at a server that is three nodes, with a balancer before them, which share their users through
//! NATS and PostgreSQL: of two who log in one after the other each is at another node (B9).

#[path = "story.rs"]
mod story;
