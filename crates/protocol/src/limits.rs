//! Sizes that both sides hold each other to. Times are the operator's and stand in the server's configuration.

/// Bytes of the longest frame: what its 16-bit length can say.
pub const MAX_FRAME: usize = 65_535;

/// Bytes of the longest message, as UTF-8.
pub const MAX_TEXT: usize = 16_384;

/// Characters of the longest user name.
pub const MAX_NAME: usize = 32;

/// Bytes of the longest server name.
pub const MAX_SERVER_NAME: usize = 255;

/// Names in one page of the online list, at most.
pub const MAX_PAGE: usize = 500;

/// Sealed frames are padded so that their content's length is a multiple of this many bytes.
pub const PADDING: usize = 256;

/// Counted frames that a sender may have unacknowledged in one direction of a chat.
pub const WINDOW_FRAMES: usize = 256;

/// Bytes of sealed frames that a sender may have unacknowledged in one direction of a chat.
pub const WINDOW_BYTES: usize = 1 << 20;

/// The last counter of a direction: a chat that gets there ends.
pub const MAX_COUNTER: u64 = (1 << 48) - 1;

/// Messages, both directions together, after which the side whose turn it is renews the keys.
pub const RENEW_AFTER_MESSAGES: u64 = 50;

/// Seconds after which the side whose turn it is renews the keys.
pub const RENEW_AFTER_SECONDS: u64 = 30;
