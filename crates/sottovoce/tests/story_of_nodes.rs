//! The whole of `story.rs` at a server that is two nodes, with a balancer before them: of two who log in one after the other
//! each is at another node (B9).

#[path = "story.rs"]
mod story;
