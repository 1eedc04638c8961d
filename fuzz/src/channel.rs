use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use identity::{Roots, UserKey, client_config, client_key, issue, make_authority, server_config};
use protocol::{ServerName, limits::MAX_FRAME};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use server::channel::{Channel, SEALING};

use crate::script::{Script, edited};

/// As the server reads.
const READ_AT_ONCE: usize = 32 * 1024;
/// rustls takes more in a row for an attack.
const MAX_CHANGES_OF_KEYS: usize = 32;

/// A client's TLS and the server's, with a network between them that cuts what it carries anywhere, and may change it.
///
/// A frame that the server takes is the next that the client said, whatever was changed on its way; what the client reads
/// is what the server said. As long as nothing was changed, all of it comes, neither side complains, and the server knows
/// the client's key.
pub fn channel(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut line = Line::new();
    if script.flag() {
        line.shake_hands();
    }
    while !script.is_over() && line.step(&mut script).is_some() {}
    if !line.is_changed {
        line.comes_to_an_end();
    }
}

struct Line {
    client: ClientConnection,
    server: Channel,
    /// Records on their way to the server.
    inbound: Vec<u8>,
    /// Records on their way to the client.
    outbound: Vec<u8>,
    /// Frames that the server is to take.
    said: VecDeque<Vec<u8>>,
    /// Bytes that the client is to read.
    answered: VecDeque<u8>,
    /// Where the server reads, and where it seals, with whatever others have left there.
    memory: [Vec<u8>; 2],
    changes_of_keys: usize,
    is_changed: bool,
    /// The client has said that nothing more comes.
    is_closing: bool,
}

impl Line {
    fn new() -> Self {
        static CONFIGS: OnceLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = OnceLock::new();
        let name: ServerName = "localhost".parse().unwrap();
        let (client, server) = CONFIGS.get_or_init(|| {
            let now = SystemTime::now();
            let authority = make_authority(&name, now).unwrap();
            let (chain, key) = issue(&authority, &name, now).unwrap();
            let client = client_config(&key_of_alice(), Roots::Pem(authority.certificate_pem.into())).unwrap();
            (client, server_config(chain.as_bytes(), key.as_bytes()).unwrap())
        });
        let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into().unwrap()).unwrap();
        client.set_buffer_limit(None);
        Self {
            client,
            server: Channel::new(Arc::clone(server)).unwrap(),
            inbound: Vec::new(),
            outbound: Vec::new(),
            said: VecDeque::new(),
            answered: VecDeque::new(),
            memory: [vec![0xaa; READ_AT_ONCE], vec![0xaa; SEALING]],
            changes_of_keys: 0,
            is_changed: false,
            is_closing: false,
        }
    }

    /// What happens next; `None` when either side has given up.
    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.choice(10) {
            0 | 1 => self.say(&vec![script.byte(); script.short() % (MAX_FRAME + 1)]),
            2 => self.answer(&vec![script.byte(); script.short() % (MAX_FRAME + 1)]),
            3 => return self.carry_in(script.short()),
            4 => return self.carry_in(usize::from(script.byte())),
            5 => return self.carry_out(script.short()),
            6 => {
                (self.inbound, self.is_changed) = (edited(&self.inbound, script), true);
            }
            7 => {
                // Refused before the handshake is over.
                if self.changes_of_keys < MAX_CHANGES_OF_KEYS && self.client.refresh_traffic_keys().is_ok() {
                    self.changes_of_keys += 1;
                }
            }
            8 if script.flag() => {
                // Before the handshake is over, it is no word of this protocol.
                if !self.client.is_handshaking() {
                    self.client.send_close_notify();
                    self.is_closing = true;
                }
            }
            8 => {
                let _ = self.server.close();
                self.is_changed = true;
            }
            _ => self.take_frames(),
        }
        Some(())
    }

    fn shake_hands(&mut self) {
        for _ in 0..4 {
            self.carry_in(usize::MAX).unwrap();
            self.carry_out(usize::MAX).unwrap();
        }
        assert!(!self.client.is_handshaking() && !self.server.tls().is_handshaking());
    }

    /// All that is on its way arrives.
    fn comes_to_an_end(&mut self) {
        // A handshake, in which each has one word, and what was said meanwhile.
        for _ in 0..4 {
            self.carry_in(usize::MAX).expect("nothing was changed");
            self.carry_out(usize::MAX).expect("nothing was changed");
        }
        assert!(!self.server.tls().is_handshaking());
        assert_eq!(client_key(self.server.tls()).unwrap(), key_of_alice().public());
        self.take_frames();
        assert!(self.said.is_empty(), "{} frames did not come", self.said.len());
        assert!(self.answered.is_empty(), "{} bytes did not come", self.answered.len());
        assert_eq!(self.server.is_over(), self.is_closing);
        assert_eq!(self.server.unsent(), 0);
    }

    fn say(&mut self, frame: &[u8]) {
        if self.is_closing {
            return;
        }
        let length = u16::try_from(frame.len()).unwrap();
        self.client.writer().write_all(&[&length.to_be_bytes(), frame].concat()).unwrap();
        self.said.push_back(frame.to_vec());
    }

    fn answer(&mut self, frame: &[u8]) {
        self.server.enqueue(frame);
        let length = u16::try_from(frame.len()).unwrap();
        self.answered.extend(length.to_be_bytes());
        self.answered.extend(frame);
    }

    /// Carries so many bytes to the server, as many at once as it reads.
    fn carry_in(&mut self, count: usize) -> Option<()> {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.inbound).unwrap();
        }
        let mut left = count.min(self.inbound.len());
        while left > 0 && !self.server.is_over() {
            let incoming = &mut self.memory[0];
            let Some(room) = self.server.room(incoming) else {
                assert!(self.is_changed, "no room for what a client says");
                return None;
            };
            let taken = left.min(room.len());
            room[..taken].copy_from_slice(&self.inbound[..taken]);
            self.inbound.drain(..taken);
            left -= taken;
            if self.server.take_in(incoming, taken).is_err() {
                assert!(self.is_changed, "refused as it was said");
                assert!(self.server.is_over());
                self.take_frames();
                return None;
            }
        }
        Some(())
    }

    /// Carries so many bytes to the client.
    fn carry_out(&mut self, count: usize) -> Option<()> {
        self.outbound.extend_from_slice(self.server.sealed());
        self.server.sent(usize::MAX);
        while !self.server.tls().is_handshaking() && self.server.unsent() > 0 {
            let outgoing = &mut self.memory[1];
            let Ok(sealed) = self.server.seal(outgoing) else {
                assert!(self.is_changed, "not sealed");
                return None;
            };
            self.outbound.extend_from_slice(&outgoing[..sealed]);
        }
        let mut records = &self.outbound[..count.min(self.outbound.len())];
        let carried = records.len();
        while !records.is_empty() {
            if self.client.read_tls(&mut records).unwrap() == 0 {
                assert!(self.is_changed, "the server has not said that it is over");
                return None;
            }
            if self.client.process_new_packets().is_err() {
                assert!(self.is_changed, "the client was told something else");
                return None;
            }
            let mut read = Vec::new();
            match self.client.reader().read_to_end(&mut read) {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                Ok(_) => assert!(self.is_changed, "the server has not said that it is over"),
            }
            for byte in read {
                assert_eq!(Some(byte), self.answered.pop_front());
            }
        }
        self.outbound.drain(..carried);
        Some(())
    }

    fn take_frames(&mut self) {
        while self.server.has_frame(MAX_FRAME) {
            let frame = self.server.take_frame(MAX_FRAME).expect("no longer than it may be").expect("it is there");
            assert_eq!(Some(&frame[..]), self.said.pop_front().as_deref());
        }
    }
}

fn key_of_alice() -> UserKey {
    UserKey::from_seed(&[1; 32])
}
