//! Frames as they travel.

use bytes::{BufMut as _, Bytes, BytesMut};
use protocol::{
    Accept, ChatHeader, ClientId, Establish, List, Login, Message, Page, Request, ToServer, limits::MAX_FRAME,
    limits::MAX_PAGE,
};

use super::{ACCEPTER, CHAT, name};

/// Bytes of the sealed part in a frame of a short message, with what is in it padded to one block.
pub(crate) const SHORT: usize = 260;
/// Bytes of the sealed part in the longest frame there can be.
pub(crate) const LONGEST: usize = MAX_FRAME - ChatHeader::AAD_LEN - size_of::<u16>();

/// A message with so many sealed bytes, which mean nothing: the relay does not look into them.
pub(crate) fn message(sealed: usize) -> ToServer {
    let header = ChatHeader::new(CHAT, 1234, 1230);
    ToServer::Message(Message { header, sealed: vec![0xa5; sealed].into() })
}

pub(crate) fn log_in(user: usize) -> ToServer {
    let client = ClientId::from_bytes([u8::try_from(user).unwrap(); 16]);
    ToServer::Login(Login::first(name(user), client))
}

/// The longest page of the online list.
pub(crate) fn list() -> List {
    let names = (0..MAX_PAGE).map(|number| format!("user-{number:05}").parse().unwrap()).collect();
    List { names, more: true }
}

pub(crate) fn ask_for_list() -> ToServer {
    ToServer::List(Page::default())
}

pub(crate) fn request() -> ToServer {
    ToServer::RequestToTalk(Request { peer: name(ACCEPTER), chat: CHAT })
}

/// An acceptance, with a key package of the usual length.
pub(crate) fn accept() -> ToServer {
    ToServer::Accept(Accept { chat: CHAT, key_package: vec![0xa5; 2_700].into() })
}

/// The end of a chat's set-up, with a welcome of the usual length.
pub(crate) fn establish() -> ToServer {
    ToServer::SessionEstablishment(Establish { chat: CHAT, welcome: vec![0xa5; 2_500].into() })
}

/// A frame with its length before it.
pub(crate) fn on_the_wire(frame: &Bytes) -> Bytes {
    let mut wire = BytesMut::with_capacity(frame.len() + size_of::<u16>());
    wire.put_u16(frame.len().try_into().unwrap());
    wire.put_slice(frame);
    wire.freeze()
}
