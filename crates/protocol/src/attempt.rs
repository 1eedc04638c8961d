use std::fmt;

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// Tells clients apart, also those of one user: 16 random bytes that a client draws once, and keeps until it ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Takes the id's 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientId(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

/// Which of a client's log-ins this is. A log-in may come late: the network brings what was sent on a connection long
/// after its client has given it up and made another, perhaps to another machine. Only the client knows the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Attempt {
    /// The client.
    pub client: ClientId,
    /// How many log-ins it has sent before.
    pub number: u32,
}

impl Attempt {
    /// The first log-in of a client.
    pub const fn first(client: ClientId) -> Self {
        Self { client, number: 0 }
    }

    /// The one after this. There is none after the last number, which is then used again: of log-ins that have it, that
    /// which comes last counts as the last.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { client: self.client, number: self.number.saturating_add(1) }
    }

    /// Whether this is an older log-in than `other`, of the same client. Nothing is known of two clients.
    pub fn is_before(&self, other: &Self) -> bool {
        self.client == other.client && self.number < other.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_ins_of_one_client_have_an_order() {
        let [one, other] = [1, 2].map(|byte| Attempt::first(ClientId::from_bytes([byte; 16])));
        assert!(one.is_before(&one.next()) && one.is_before(&one.next().next()));
        assert!(!one.next().is_before(&one) && !one.is_before(&one));
        assert!(!one.is_before(&other.next()) && !other.next().is_before(&one));
    }

    #[test]
    fn the_last_number_is_not_before_itself() {
        let last = Attempt { number: u32::MAX, ..Attempt::first(ClientId::from_bytes([1; 16])) };
        assert_eq!(last.next(), last);
        assert!(!last.next().is_before(&last) && Attempt::first(last.client).is_before(&last));
    }

    #[test]
    fn an_id_is_shown_by_its_start() {
        assert_eq!(format!("{:?}", ClientId::from_bytes([0xab; 16])), "ClientId(abababab…)");
    }
}
