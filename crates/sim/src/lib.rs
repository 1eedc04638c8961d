//! Both state machines in a simulated network, and the rules of the relay checked in all reachable states. Tests only:
//! nothing depends on this.

pub mod rules;
