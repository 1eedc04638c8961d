use bytes::{Buf as _, Bytes, BytesMut};
use protocol::{ChatHeader, Content, NamePrefix, ServerName, ToClient, ToServer, UserName, frame_codec};
use tls_codec::{DeserializeBytes, Serialize};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Takes the bytes for each structure that travels, and for a stream of frames.
///
/// What decodes encodes to the same bytes; what the server reads of a sealed frame is what a client reads; a stream gives
/// the same frames wherever it is cut.
pub fn codec(bytes: &[u8]) {
    frame(bytes);
    whole::<ChatHeader>(bytes);
    whole::<Content>(bytes);
    // What comes over the wire is what somebody could have typed, in its one form.
    if let Some(name) = whole::<UserName>(bytes) {
        assert_eq!(name.as_str().parse(), Ok(name));
    }
    if let Some(prefix) = whole::<NamePrefix>(bytes) {
        assert_eq!(prefix.as_str().parse(), Ok(prefix));
    }
    if let Some(name) = whole::<ServerName>(bytes) {
        assert_eq!(name.as_str().parse(), Ok(name));
    }
    stream(bytes);
}

fn frame(bytes: &[u8]) {
    let (to_server, to_client) = (ToServer::decode(bytes), ToClient::decode(bytes));
    if let Ok(frame) = &to_server {
        assert_eq!(frame.encode().unwrap(), bytes);
    }
    if let Ok(frame) = &to_client {
        assert_eq!(frame.encode().unwrap(), bytes);
    }
    let passed_on = match (&to_server, &to_client) {
        (Ok(ToServer::Message(sent)), Ok(ToClient::Message(received))) => {
            assert_eq!(sent, received);
            Some(sent.header.chat)
        }
        (Ok(ToServer::Message(_)), _) | (_, Ok(ToClient::Message(_))) => panic!("a message of one direction alone"),
        _ => None,
    };
    assert_eq!(ChatHeader::chat_of(bytes).ok(), passed_on, "the server reads another chat than clients do");
}

fn whole<T: Serialize + DeserializeBytes>(bytes: &[u8]) -> Option<T> {
    let value = T::tls_deserialize_exact_bytes(bytes).ok()?;
    assert_eq!(value.tls_serialize_detached().unwrap(), bytes);
    Some(value)
}

/// Cuts the stream in two ways: not at all, and in pieces whose lengths are in the bytes themselves.
fn stream(bytes: &[u8]) {
    let (mut whole, mut pieces) = (frame_codec(), frame_codec());
    let mut all = BytesMut::from(bytes);
    let frames: Vec<Bytes> =
        std::iter::from_fn(|| whole.decode(&mut all).expect("no length is too long")).map(BytesMut::freeze).collect();

    let (mut read, mut rest, mut next) = (BytesMut::new(), bytes, 0);
    while let Some(first) = rest.first() {
        let piece = rest.split_off(..usize::from(*first % 32 + 1).min(rest.len())).unwrap();
        read.extend_from_slice(piece);
        while let Some(frame) = pieces.decode(&mut read).unwrap() {
            assert_eq!(frame, frames[next]);
            next += 1;
        }
    }
    assert_eq!((next, read.chunk()), (frames.len(), all.chunk()));

    let mut written = BytesMut::new();
    for cut in &frames {
        frame(cut);
        whole.encode(cut.clone(), &mut written).unwrap();
    }
    assert!(bytes.starts_with(&written));
    let left = bytes.len() - written.len() - all.len();
    assert!(matches!(left, 0 | 2), "of what is left, the length alone may have been read");
}
