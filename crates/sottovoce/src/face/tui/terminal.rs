//! Holds the terminal while the full-screen face is up, and gives it back as it was: at the end, in a panic, on Ctrl-Z.

use std::{
    future::pending,
    io::{self, Write},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ratatui::{Frame, layout::Size};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, kill_current_process_group},
    termios::{QueueSelector, tcflush, tcgetwinsize},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::cells::Cells;
use crate::process::is_in_foreground;

/// Alternate screen, plain and empty; no cursor; no wrapping at the right edge; pastes in brackets; focus reported.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[0m\x1b[2J\x1b[H\x1b[?25l\x1b[?7l\x1b[?2004h\x1b[?1004h";

/// The same backwards, after the end of whatever sequence was cut off. The screen is cleared before it is left: some
/// terminals can show it again later, and some have no other.
const LEAVE: &[u8] = b"\x1b\\\x1b[?2026l\x1b[?1004l\x1b[?2004l\x1b[?7h\x1b[0m\x1b[2J\x1b[H\x1b[?1049l\x1b[?25h";

/// How long a stop may take to happen before it is clear that nothing will stop this process.
const STOP_BOUND: Duration = Duration::from_secs(1);

/// How long this process may run in the background before it stops itself: long enough to end when it was told to.
const BACKGROUND_BOUND: Duration = Duration::from_secs(1);

/// How long a terminal that is given back may take nothing of what is written to it.
const LEAVE_BOUND: Duration = Duration::from_millis(200);

/// So many bytes are written at a time: a terminal that says it has room has it for so many (on Linux it counts its
/// room in pieces of this size). A longer write could hold its thread up for as long as the terminal does not read, and
/// with it all others that write.
const PIECE: usize = 256;

/// Sizes beyond any real screen would only cost memory.
const MAX_SIDE: u16 = 1000;
const MAX_CELLS: u32 = 200_000;

/// Whether there is something to give back.
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// Locked while it is given back, in which nothing panics.
static GIVING_BACK: Mutex<()> = Mutex::new(());

/// The terminal, held by the full-screen face. There is one at a time.
pub(crate) struct Terminal {
    screen: ratatui::Terminal<Cells<Tty>>,
    continued: tokio::signal::unix::Signal,
    resized: tokio::signal::unix::Signal,
    gone: CancellationToken,
}

/// What the terminal's side tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The process goes on after a stop that did not come from [`Terminal::suspend`]. To be followed by
    /// [`Terminal::resumed`].
    Continued,
    /// The window has another size, or had one for a moment. To be followed by [`Terminal::redraw_all`]: what the
    /// terminal shows is not what it was told to.
    Resized,
    /// The terminal has hung up: nothing can be shown or typed any more.
    Gone,
}

impl Terminal {
    /// Takes hold of the terminal on standard input and output: raw, on its alternate screen. From the first call on a
    /// panic gives it back before its message is shown. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no terminal, it cannot be set or written to, or the system gives no signals.
    pub(crate) fn enter() -> io::Result<Self> {
        give_back_in_panic();
        let continued = listen_for_continuation()?;
        // crossterm tells of it too, but not of one that comes together with a key.
        let resized = signal(SignalKind::window_change())?;
        let gone = watch()?;
        hold()?;
        let screen = ratatui::Terminal::new(Cells::new(Tty, size)).inspect_err(|_| restore())?;
        Ok(Self { screen, continued, resized, gone })
    }

    /// Shows a frame; only what differs from the one before is written.
    ///
    /// # Errors
    /// The terminal cannot be written to, or was given back by [`restore`].
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.screen.draw(render).map(drop)
    }

    /// Makes the next frame paint everything, for a screen that something else has written on.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw).
    pub(crate) fn redraw_all(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// Gives the terminal back and stops the process group as Ctrl-Z does elsewhere (SIGTSTP): all of it, because a
    /// shell waits for each process of a job to stop. Returns with the terminal in hand again when the job is continued
    /// in the foreground; the next frame paints everything.
    ///
    /// A process group that no shell watches (an orphaned one) is not stopped by SIGTSTP: there the screen just comes
    /// back after [`STOP_BOUND`]. Continued in the background (`bg`), the job stops again after [`BACKGROUND_BOUND`].
    /// Nothing else in this process may listen for SIGTSTP or SIGTTOU. May be dropped at any await: the terminal is
    /// not held then.
    ///
    /// # Errors
    /// The terminal cannot be taken back, or had been given back before.
    pub(crate) async fn suspend(&mut self) -> io::Result<()> {
        expect_held()?;
        restore();
        self.stop(Signal::TSTP).await?;
        self.take_back().await
    }

    /// Waits for a change from outside. May be dropped at any await.
    pub(crate) async fn changed(&mut self) -> Change {
        tokio::select! {
            Some(()) = self.continued.recv() => Change::Continued,
            Some(()) = self.resized.recv() => Change::Resized,
            () = self.gone.cancelled() => Change::Gone,
            else => pending().await,
        }
    }

    /// Takes hold of the terminal again after a stop from outside (`kill -STOP`), in which the shell has set it as the
    /// shell likes it; the next frame paints everything. In the background it does as [`suspend`](Self::suspend) does.
    ///
    /// # Errors
    /// As for [`suspend`](Self::suspend).
    pub(crate) async fn resumed(&mut self) -> io::Result<()> {
        expect_held()?;
        self.take_back().await
    }

    /// Rings the bell.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw).
    pub(crate) fn bell(&mut self) -> io::Result<()> {
        self.screen.backend_mut().send(b"\x07")
    }

    /// Asks the terminal for a notification on the desktop. Desktops keep notifications: `text` must not have in it
    /// what somebody said. Only printable ASCII of it is shown.
    ///
    /// # Errors
    /// As for [`draw`](Self::draw).
    pub(crate) fn notify(&mut self, how: Notify, text: &str) -> io::Result<()> {
        self.screen.backend_mut().send(how.sequence(text).as_bytes())
    }

    /// Sends a stop signal to the process group, and says whether the process was stopped by it and continued.
    ///
    /// The signal may be delivered to another thread while this one runs on for a moment, so `kill` returning says
    /// nothing. But whoever was stopped is continued by a SIGCONT: to wait for that is to wait for the end of the stop.
    async fn stop(&mut self, signal: Signal) -> io::Result<bool> {
        // A new listener, so that an earlier SIGCONT does not pass for the one to come.
        self.continued = listen_for_continuation()?;
        kill_current_process_group(signal)?;
        Ok(timeout(STOP_BOUND, self.continued.recv()).await.is_ok())
    }

    /// Waits for the foreground. Touching the terminal in the background would stop this process within a system call
    /// (SIGTTOU), and keep it from ending when a shell's `kill` has just told it to and continued it for that.
    async fn take_back(&mut self) -> io::Result<()> {
        while !is_in_foreground() {
            let rest = timeout(BACKGROUND_BOUND, self.continued.recv()).await;
            if rest.is_err() && !is_in_foreground() && !self.stop(Signal::TTOU).await? {
                break;
            }
        }
        // After a stop from outside the modes are the shell's, and have to be taken from the start.
        restore();
        hold()?;
        self.redraw_all()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was before [`Terminal::enter`]. When it is not held, only waits until it is given back
/// by whichever thread does. Can be called from any thread, in a panic too: it takes no lock that a caller may hold.
/// From then on nothing is drawn. Takes a second at most: of a terminal that does not read, only the modes are as before.
pub(crate) fn restore() {
    // Whoever cannot draw any more because of another thread's call must not write or end the process in the middle of
    // it.
    let _given_back = GIVING_BACK.lock().unwrap_or_else(PoisonError::into_inner);
    if !IS_HELD.swap(false, Ordering::AcqRel) {
        return;
    }
    // The modes first: they do not depend on whether the terminal reads what is written to it. In the background they
    // belong to another process. Whatever fails, the rest is worth trying.
    let may_set = is_in_foreground();
    if may_set {
        // What was typed for the chat must not become a command for the shell.
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
        let _ = disable_raw_mode();
    }
    let mut may_drop = may_set;
    let mut rest = LEAVE;
    while !rest.is_empty() {
        if !has_room(LEAVE_BOUND) {
            // It does not read, and what was drawn is of no use to it any more. Not before it is known: ENTER may be
            // on its way, without which LEAVE clears what was there before.
            if !std::mem::take(&mut may_drop) {
                return;
            }
            let _ = tcflush(io::stdout(), QueueSelector::OFlush);
            continue;
        }
        match rustix::io::write(io::stdout(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// How to ask for a notification on the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notify {
    /// `OSC 9`: iTerm2, kitty, WezTerm, Windows Terminal and others.
    Osc9,
    /// `OSC 777`: rxvt-unicode, foot and terminals made with VTE.
    Osc777,
}

impl Notify {
    /// What this terminal understands, as far as it can be known. Where it understands neither, it ignores both.
    #[expect(clippy::disallowed_methods, reason = "nothing but the environment tells which terminal it is")]
    pub(crate) fn for_terminal() -> Self {
        Self::choose(std::env::var("TERM").as_deref().unwrap_or_default(), std::env::var("VTE_VERSION").is_ok())
    }

    fn choose(term: &str, is_vte: bool) -> Self {
        if is_vte || ["rxvt", "foot"].iter().any(|name| term.starts_with(name)) { Self::Osc777 } else { Self::Osc9 }
    }

    fn sequence(self, text: &str) -> String {
        let text: String = text.chars().filter(|c| matches!(c, ' '..='~') && *c != ';').collect();
        match self {
            Self::Osc9 => format!("\x1b]9;{text}\x1b\\"),
            Self::Osc777 => format!("\x1b]777;notify;Sottovoce;{text}\x1b\\"),
        }
    }
}

/// Standard output without a buffer and without its lock, and only while the terminal is held: a thread that goes on
/// drawing after a panic in another must not write over the message, and one that waits for a terminal which does not
/// read must not wait for ever.
struct Tty;

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let has_room = has_room(LEAVE_BOUND);
            expect_held()?;
            if has_room {
                return Ok(rustix::io::write(io::stdout(), bytes.get(..PIECE).unwrap_or(bytes))?);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits so long at most for the terminal to take something. Where that cannot be known, and where writing tells that
/// the terminal is gone, there is room.
fn has_room(bound: Duration) -> bool {
    let bound = Timespec::try_from(bound).ok();
    let stdout = io::stdout();
    loop {
        match poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], bound.as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            _ => return true,
        }
    }
}

fn expect_held() -> io::Result<()> {
    if IS_HELD.load(Ordering::Acquire) { Ok(()) } else { Err(io::Error::other("the terminal was given back")) }
}

fn hold() -> io::Result<()> {
    enable_raw_mode()?;
    IS_HELD.store(true, Ordering::Release);
    Tty.write_all(ENTER).inspect_err(|_| restore())
}

fn give_back_in_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            previous(panic);
        }));
    });
}

/// A token that is cancelled when the terminal hangs up. Who ignores SIGHUP, or does not get it, hears of that nowhere
/// else: crossterm takes the end of input for nothing typed, and tries again at once and for ever.
fn watch() -> io::Result<CancellationToken> {
    let gone = CancellationToken::new();
    let token = gone.clone();
    thread::Builder::new().spawn(move || {
        let stdin = io::stdin();
        // Nothing is asked for, and so nothing but the end wakes this thread up.
        let mut ends = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut ends, None) == Err(Errno::INTR) {}
        // A system that cannot tell says something else (NVAL), or fails.
        if ends.iter().any(|end| end.revents().intersects(PollFlags::HUP | PollFlags::ERR)) {
            token.cancel();
        }
    })?;
    Ok(gone)
}

fn listen_for_continuation() -> io::Result<tokio::signal::unix::Signal> {
    signal(SignalKind::from_raw(Signal::CONT.as_raw()))
}

/// Columns and rows of the terminal; 80 and 24 where it does not know.
fn size() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdout())?;
    Ok(bounded(size.ws_col, size.ws_row))
}

/// As much of a terminal of this size as is drawn on.
fn bounded(columns: u16, rows: u16) -> Size {
    let or = |side: u16, usual| if side == 0 { usual } else { side.min(MAX_SIDE) };
    let (columns, rows) = (or(columns, 80), or(rows, 24));
    let most = MAX_CELLS.checked_div(columns.into()).and_then(|most| u16::try_from(most).ok()).unwrap_or(u16::MAX);
    Size::new(columns, rows.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_plain_text_in_the_terminal_s_own_form() {
        let text = "alice;\x1b\\\x07ü\n is here\u{9c}";
        assert_eq!(Notify::Osc9.sequence(text), "\x1b]9;alice\\ is here\x1b\\");
        assert_eq!(Notify::Osc777.sequence(text), "\x1b]777;notify;Sottovoce;alice\\ is here\x1b\\");
    }

    #[test]
    fn the_form_is_chosen_by_the_terminal_s_name() {
        for (term, is_vte, how) in [
            ("rxvt-unicode-256color", false, Notify::Osc777),
            ("foot", false, Notify::Osc777),
            ("xterm-256color", true, Notify::Osc777),
            ("xterm-256color", false, Notify::Osc9),
            ("", false, Notify::Osc9),
        ] {
            assert_eq!(Notify::choose(term, is_vte), how, "{term}");
        }
    }

    #[test]
    fn a_size_is_a_real_screen_s() {
        for (said, drawn) in [
            ((80, 24), (80, 24)),
            ((0, 0), (80, 24)),
            ((0, 60), (80, 60)),
            ((1, 1), (1, 1)),
            ((640, 180), (640, 180)),
            ((500, 400), (500, 400)),
            ((500, 401), (500, 400)),
            ((100, 5000), (100, 1000)),
            ((u16::MAX, 1), (1000, 1)),
            ((u16::MAX, u16::MAX), (1000, 200)),
        ] {
            assert_eq!(bounded(said.0, said.1), Size::new(drawn.0, drawn.1), "{said:?}");
        }
    }

    #[test]
    fn nothing_is_given_back_or_written_that_is_not_held() {
        restore();
        restore();
        assert!(Tty.write_all(b"x").is_err());
    }
}
