//! Sealed frames changed on their way.

use bytes::Bytes;

use super::{Acts, Trick, is_sealed};
use crate::hostile_relay::notes::{Link, Notes};

/// Where the length of what is sealed stands: behind code and header.
const LENGTH: usize = protocol::ChatHeader::AAD_LEN;

/// Each sealed frame is changed.
pub(super) struct Change(pub(super) fn(Vec<u8>) -> Vec<u8>);

impl Trick for Change {
    fn down(&mut self, _: &Notes, link: Link, frame: Bytes, acts: &mut Acts) {
        let frame = if is_sealed(&frame) { (self.0)(frame.to_vec()).into() } else { frame };
        acts.down(link, frame);
    }
}

pub(super) fn truncate_frame(mut frame: Vec<u8>) -> Vec<u8> {
    frame.pop();
    frame
}

pub(super) fn extend_frame(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(0);
    frame
}

pub(super) fn truncate_sealed(frame: Vec<u8>) -> Vec<u8> {
    with_right_length(truncate_frame(frame))
}

pub(super) fn extend_sealed(frame: Vec<u8>) -> Vec<u8> {
    with_right_length(extend_frame(frame))
}

pub(super) fn flip_code(frame: Vec<u8>) -> Vec<u8> {
    flip(frame, 0)
}

pub(super) fn flip_version(frame: Vec<u8>) -> Vec<u8> {
    flip(frame, 1)
}

pub(super) fn flip_chat(frame: Vec<u8>) -> Vec<u8> {
    flip(frame, 17)
}

pub(super) fn flip_counter(frame: Vec<u8>) -> Vec<u8> {
    flip(frame, 25)
}

pub(super) fn flip_ack(frame: Vec<u8>) -> Vec<u8> {
    flip(frame, 33)
}

pub(super) fn flip_sealed(frame: Vec<u8>) -> Vec<u8> {
    let last = frame.len().saturating_sub(1);
    flip(frame, last)
}

fn flip(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 1;
    }
    frame
}

fn with_right_length(mut frame: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(frame.len().saturating_sub(LENGTH + 2)).unwrap_or(u16::MAX);
    if let Some(place) = frame.get_mut(LENGTH..LENGTH + 2) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    frame
}
