use std::{
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{Arc, mpsc},
    thread,
};

use pty_process::blocking::{Pty, open};
use rustix::termios::{LocalModes, tcgetattr};

use super::{PATIENCE, now};

/// A process on a pseudo-terminal of its own, which is its controlling terminal.
pub(crate) struct Terminal {
    pub(crate) process: Child,
    keyboard: Arc<Pty>,
    screen: mpsc::Receiver<String>,
    seen: String,
    /// Where in `seen` the next [`Self::expect`] begins to look.
    looked: usize,
}

impl Terminal {
    pub(crate) fn start(command: Command) -> Self {
        let (pty, slave) = open().unwrap();
        // Wide enough that nothing wraps.
        pty.resize(pty_process::Size::new(50, 500)).unwrap();
        let process = pty_process::blocking::Command::from(command).spawn(slave).unwrap();
        let pty = Arc::new(pty);
        let (sender, screen) = mpsc::channel();
        let reader = pty.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Linux ends the reading with an error once no process has the other side open.
            while let Ok(count @ 1..) = (&*reader).read(&mut buffer) {
                if sender.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { process, keyboard: pty, screen, seen: String::new(), looked: 0 }
    }

    /// Types bytes, of which `\x03` is Ctrl-C.
    pub(crate) fn types(&mut self, text: &str) {
        let mut keyboard = &*self.keyboard;
        keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` is on the screen, after what was expected before.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        loop {
            if let Some(place) = self.seen.get(self.looked..).unwrap_or_default().find(text) {
                self.looked += place + text.len();
                return;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(more) => self.seen.push_str(&more),
                Err(error) => panic!("no {text:?} ({error}) in {:?}", self.seen),
            }
        }
    }

    /// The first line on the screen that starts with `start`, without it.
    pub(crate) fn line(&self, start: &str) -> String {
        let mut lines = self.seen.lines();
        lines.find_map(|line| line.strip_prefix(start)).expect("there is such a line").trim_end().to_owned()
    }

    /// All that has been on the screen so far.
    pub(crate) fn seen(&self) -> &str {
        &self.seen
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&*self.keyboard).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits until the terminal no longer shows what is typed. Nothing tells of it, so it is looked at again and again.
    pub(crate) fn expect_no_echo(&self) {
        let begin = now();
        while self.echoes() {
            assert!(begin.elapsed() < PATIENCE, "the terminal goes on to show what is typed");
            thread::yield_now();
        }
    }

    /// Waits for the process to end: its exit code, and all that was on the screen.
    pub(crate) fn ended(&mut self) -> (Option<i32>, &str) {
        while let Ok(more) = self.screen.recv_timeout(PATIENCE) {
            self.seen.push_str(&more);
        }
        (self.process.wait().unwrap().code(), &self.seen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
