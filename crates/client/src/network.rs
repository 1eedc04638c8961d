//! Word from the system that the network has changed: an address or a route came or went, as when a laptop wakes, or
//! leaves one network for another (B3).

use std::{io::ErrorKind, os::fd::OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink::SocketAddrNetlink, socket_with};
use tokio::net::UdpSocket;

/// Links, addresses and routes of IPv4 and of IPv6: `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`,
/// `RTMGRP_IPV6_IFADDR` and `RTMGRP_IPV6_ROUTE` of Linux's rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Hears of changes to the network, where the system lets it; elsewhere it hears nothing.
pub(crate) struct Network {
    /// Not of UDP, but of datagrams as well, and tokio has no type for those of netlink.
    socket: Option<UdpSocket>,
}

impl Network {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let socket = listen().ok().and_then(|socket| UdpSocket::from_std(socket.into()).ok());
        Self { socket }
    }

    /// Waits for the next change, and takes those that are there with it as one. May be dropped and called again.
    pub(crate) async fn changed(&mut self) {
        // What has changed does not matter, so what does not fit is let go.
        let mut word = [0; 256];
        if let Some(socket) = &self.socket {
            // An error is that more has changed than the socket could hold.
            let _ = socket.recv(&mut word).await;
            // A socket that has nothing but errors to say is not asked in a loop.
            match std::iter::repeat_with(|| socket.try_recv(&mut word)).find_map(Result::err) {
                Some(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => self.socket = None,
            }
            return;
        }
        std::future::pending().await
    }
}

fn listen() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Of netlink's protocols `NETLINK_ROUTE` is number 0, which is what none stands for.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok(socket)
}
