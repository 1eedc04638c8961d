//! A way to the server that begins at an address of its own: people on one machine who come from many.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::net::{AddressFamily, SocketType, bind, connect};

use crate::{common::World, people::port_of};

/// A forwarder on loopback, whose connections reach the server from 127.0.0.NUMBER. Ends when dropped.
pub(crate) struct Road {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    sockets: Mutex<Vec<TcpStream>>,
    ports: Mutex<Vec<u16>>,
    is_closed: AtomicBool,
}

impl Road {
    pub(crate) fn to(world: &World, number: u8) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (from, to) = (Ipv4Addr::new(127, 0, 0, number.checked_add(1).unwrap()), port_of(world));
        thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    if shared.is_closed.load(Ordering::SeqCst) {
                        return;
                    }
                    // A server that is not there is told by the end of the connection.
                    if let Ok(server) = dial(from, to) {
                        shared.carry(&client, &server);
                    }
                }
            }
        });
        Self { port, shared }
    }

    /// What clients dial.
    pub(crate) fn dial(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The ports that the server saw.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.shared.ports.lock().unwrap().clone()
    }

    /// Cuts all connections.
    pub(crate) fn cuts(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.cuts();
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn carry(&self, client: &TcpStream, server: &TcpStream) {
        self.ports.lock().unwrap().push(server.local_addr().unwrap().port());
        for (from, to) in [(client, server), (server, client)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.sockets.lock().unwrap().push(from.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            });
        }
    }
}

fn dial(from: Ipv4Addr, to: u16) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((from, 0)))?;
    connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, to)))?;
    Ok(socket.into())
}
