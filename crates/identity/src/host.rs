use std::net::IpAddr;

use protocol::ServerName;
use rustls::pki_types;

/// The server's name in the form that certificates are compared with, if it is a DNS name or an IP address written in
/// the one way that this program accepts.
///
/// A name that can be written in two ways is two names to a pin, and a lying server could dodge a pinned key by
/// changing over. So there is no final dot, and an address is as the standard library prints it.
pub fn subject(name: &ServerName) -> Option<pki_types::ServerName<'static>> {
    let text = name.as_str();
    if let Ok(address) = text.parse::<IpAddr>() {
        let canonical = address.to_string() == text;
        return canonical.then(|| pki_types::ServerName::IpAddress(address.into()));
    }
    if text.ends_with('.') {
        return None;
    }
    let name = pki_types::DnsName::try_from(text.to_owned()).ok()?;
    Some(pki_types::ServerName::DnsName(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_one_way() {
        for good in ["localhost", "relay.example", "a_b.example", "127.0.0.1", "::1", "2001:db8::5"] {
            assert!(subject(&good.parse().unwrap()).is_some(), "{good}");
        }
        let bad =
            ["relay.example.", "0:0:0:0:0:0:0:1", "2001:db8:0::5", "127.1", "*.example", "a..b", "[::1]", "a:1", "-a"];
        for bad in bad {
            assert!(subject(&bad.parse().unwrap()).is_none(), "{bad}");
        }
    }
}
