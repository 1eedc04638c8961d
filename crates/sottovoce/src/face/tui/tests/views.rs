//! Each view at each size, as it was looked at and accepted. `INSTA_UPDATE=always cargo test` accepts it anew.

mod chat;
mod pages;
mod people;
mod sign_in;
