use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

use super::{PATIENCE, read_to_end};

/// A process with pipes, whose standard output is read line by line.
pub(crate) struct Lines {
    pub(crate) process: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Lines {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            // Only a line feed ends a line: whatever else might be taken for one is there to be looked at.
            for line in stdout.split(b'\n') {
                let line = String::from_utf8(line.unwrap()).expect("standard output is UTF-8");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = read_to_end(process.stderr.take().unwrap());
        let stdin = process.stdin.take();
        Self { process, stdin, lines, stderr }
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; `None` at the end of output.
    pub(crate) fn next(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing came in {PATIENCE:?}"),
        }
    }

    /// The next lines must be these.
    #[track_caller]
    pub(crate) fn shows(&mut self, lines: &[&str]) {
        for expected in lines {
            assert_eq!(self.next().as_deref(), Some(*expected));
        }
    }

    /// All lines up to the end of output.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Ends the input and waits for the process: its exit code and standard error.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        self.stdin = None;
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("the process ends");
        (self.process.wait().unwrap().code(), stderr)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
