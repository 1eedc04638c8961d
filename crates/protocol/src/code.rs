use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// The first byte of every frame: what the frame is.
///
/// Layouts are those after this byte; `[n]` is a field of n bytes, `<a..b>` a vector of a to b bytes behind its
/// length, which takes one byte where b < 256 and two otherwise. "→ server" is what a client sends.
///
/// Codes 0 to 8 are fixed by requirement S18; further ones start at 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Code {
    /// → server: nothing. The user logs off.
    Exit = 0,
    /// → server: `prefix<0..32> after<0..32>`. → client: `names<0..2^16-1> more[1]`.
    List = 1,
    /// Request to talk. → server: `peer<1..32> chat[16]`. → client: `peer<1..32> chat[16]`.
    RequestToTalk = 2,
    /// → server: `chat[16] key_package<1..2^16-1>`. → client: `chat[16] key[32] key_package<1..2^16-1>`.
    Accept = 3,
    /// Both ways: `chat[16]`.
    Refuse = 4,
    /// Both ways: `version[1] chat[16] counter[8] ack[8] sealed<1..2^16-1>`.
    Message = 5,
    /// → server: `chat[16] welcome<1..2^16-1>`. → client: `chat[16] key[32] welcome<1..2^16-1>`.
    SessionEstablishment = 6,
    /// → client: `chat[16]`. The request of that chat reached nobody.
    UserNotFound = 7,
    /// Both ways: `chat[16] reason[1]`.
    ChatClosed = 8,
    /// → server: `user<1..32> client[16] number[4]`, then `0[1]`, or `1[1] peer<1..32> chat[16] expected[8]`.
    Login = 16,
    /// → client: `server<1..255>`.
    LoggedIn = 17,
    /// → client: `reason[1]`. The last frame of a connection that the server ends.
    Error = 18,
    /// → server: nothing. Shows that the client is there.
    Ping = 19,
    /// → client: nothing. The answer to a ping.
    Pong = 20,
    /// Both ways: `chat[16] expected[8]`.
    Resume = 21,
    /// → client: `chat[16]`. The peer of that chat is not there at the moment.
    PeerAway = 22,
    /// → client: `1[1] retry_in_ms[4]`, or `2[1] chat[16] retry_in_ms[4]`. Too many lists, or requests to talk.
    TooFast = 23,
}
