//! A thread's share of those who talk, and the loop that sends, waits and listens for all of them.

use std::{
    ops::Range,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
};

use super::histogram;
use crate::{
    clock,
    fault::Fault,
    load::conversation::{Conversation, Scratch},
    schedule::Schedule,
    wire::Talker,
};

/// How long what is under way may take after the last message.
const DRAINS_IN: Duration = Duration::from_secs(5);
/// How long to listen for what should not come, when all has come that should.
const LISTENS_FOR: Duration = Duration::from_millis(100);
/// Messages that are sent, when they are late, before anything is read.
const MAX_IN_A_ROW: usize = 16;
/// Sockets that are looked at before the clock.
const EVENTS: usize = 256;

/// What makes a message go out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Drive {
    /// Its time. The ends take turns.
    Rate(Schedule),
    /// The arrival of another, of which each pair has so many.
    Saturated { in_flight: u64 },
}

/// The time that is measured, from the start of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// What was measured in the window.
pub(super) struct Heard {
    /// Messages that came in the window: those that the server computed for in it.
    pub(super) messages: u64,
    /// Of those that came in the window, or, at a fixed rate, that were due in it, however late they came.
    pub(super) latency: Histogram<u64>,
    pub(super) lateness: Histogram<u64>,
}

impl Heard {
    pub(super) fn new() -> Result<Self, Fault> {
        Ok(Self { messages: 0, latency: histogram()?, lateness: histogram()? })
    }

    /// Adds what another thread measured.
    pub(super) fn add(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        // Both have the same bounds.
        let _ = self.latency.add(other.latency);
        let _ = self.lateness.add(other.lateness);
    }

    /// A message that was due at `due` has come at `now`.
    fn note(&mut self, due: u64, now: u64, window: &Range<u64>, is_at_rate: bool) {
        if window.contains(&now) {
            self.messages = self.messages.saturating_add(1);
        }
        if window.contains(if is_at_rate { &due } else { &now }) {
            self.latency.saturating_record(now.saturating_sub(due));
        }
    }
}

/// Ends that talk to each other: 2n to 2n + 1.
pub(super) struct Talkers<T> {
    ends: Vec<Conversation<T>>,
    drive: Drive,
    /// Nanoseconds since the start.
    window: Range<u64>,
    epoll: OwnedFd,
    scratch: Scratch,
    heard: Heard,
}

impl<T: Talker> Talkers<T> {
    pub(super) fn new(ends: Vec<Conversation<T>>, drive: Drive, window: Window) -> Result<Self, Fault> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        for (index, end) in (0..).zip(&ends) {
            epoll::add(&epoll, end, epoll::EventData::new_u64(index), epoll::EventFlags::IN).map_err(system)?;
        }
        let window = nanoseconds(window.from)..nanoseconds(window.to);
        Ok(Self { ends, drive, window, epoll, scratch: Scratch::new(), heard: Heard::new()? })
    }

    /// Talks from `start` to the end of the window, then waits for what is under way.
    ///
    /// # Errors
    /// [`Fault`] when a message does not come, or comes in another way than it should.
    pub(super) fn talk(mut self, start: Instant) -> Result<Heard, Fault> {
        // The system would otherwise let timers be late by 50 µs, to wake less often.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)).map_err(system)?;
        clock::wait_until(start);
        if let Drive::Saturated { in_flight } = self.drive {
            self.say_first(start, in_flight)?;
        }
        let (mut sent, mut events) = (0, Vec::with_capacity(EVENTS));
        let (drained_by, mut done_at) = (self.window.end.saturating_add(nanoseconds(DRAINS_IN)), None);
        loop {
            let due = self.say_due(start, &mut sent)?;
            let now = clock::nanoseconds_since(start);
            let wake = match (due, done_at) {
                (Some(due), _) => due,
                (None, _) if now < self.window.end => self.window.end,
                (None, Some(done)) => nanoseconds(LISTENS_FOR).saturating_add(done),
                (None, None) => drained_by,
            };
            if now >= wake && due.is_none() && now >= self.window.end {
                return match done_at {
                    Some(_) => Ok(self.heard),
                    None => Err(Fault::Missing { missing: self.missing() }),
                };
            }
            self.wait(wake.saturating_sub(now), &mut events)?;
            for event in events.drain(..) {
                self.attend(event, start)?;
            }
            if done_at.is_none() && due.is_none() && clock::nanoseconds_since(start) >= self.window.end {
                done_at = (self.missing() == 0).then(|| clock::nanoseconds_since(start));
            }
        }
    }

    /// Sends what is due, and says when the next message is.
    fn say_due(&mut self, start: Instant, sent: &mut u64) -> Result<Option<u64>, Fault> {
        let Drive::Rate(schedule) = self.drive else {
            return Ok(None);
        };
        let count = schedule.count_before(Duration::from_nanos(self.window.end));
        for turn in 0.. {
            if *sent >= count {
                break;
            }
            let due = schedule.due(*sent);
            let now = clock::nanoseconds_since(start);
            // Whoever is behind must not leave unread what comes.
            if now < due || turn >= MAX_IN_A_ROW {
                return Ok(Some(due));
            }
            let ends = self.ends.len().max(1);
            let index = usize::try_from(*sent).unwrap_or_default().checked_rem(ends).unwrap_or_default();
            if let Some(end) = self.ends.get_mut(index) {
                end.say(due, &mut self.scratch)?;
            }
            self.flush(index)?;
            if self.window.contains(&due) {
                self.heard.lateness.saturating_record(now.saturating_sub(due));
            }
            *sent = sent.saturating_add(1);
        }
        Ok(None)
    }

    /// Puts the first messages of each pair on their way, half of them at each end.
    fn say_first(&mut self, start: Instant, in_flight: u64) -> Result<(), Fault> {
        for index in 0..self.ends.len() {
            let share = if index & 1 == 0 { in_flight.div_ceil(2) } else { in_flight >> 1 };
            let now = clock::nanoseconds_since(start);
            if let Some(end) = self.ends.get_mut(index) {
                (0..share).try_for_each(|_| end.say(now, &mut self.scratch))?;
            }
            self.flush(index)?;
        }
        Ok(())
    }

    /// Waits until something happens, for so many nanoseconds at most. `epoll_wait` counts in milliseconds, hence `ppoll`.
    fn wait(&mut self, nanoseconds: u64, events: &mut Vec<epoll::Event>) -> Result<(), Fault> {
        let timeout = Duration::from_nanos(nanoseconds);
        let timeout = Timespec::try_from(timeout).map_err(|error| Fault::Asked(error.to_string()))?;
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(system(error)),
        }
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(system(error)),
        }
    }

    /// Reads what has come at one end, and answers if the drive wants it.
    fn attend(&mut self, event: epoll::Event, start: Instant) -> Result<(), Fault> {
        let index = usize::try_from({ event.data }.u64()).unwrap_or_default();
        let Some(end) = self.ends.get_mut(index) else {
            return Ok(());
        };
        let (heard, window) = (&mut self.heard, &self.window);
        let is_saturated = matches!(self.drive, Drive::Saturated { .. });
        let mut answers = 0_u64;
        end.hear(&mut self.scratch, |due| {
            heard.note(due, clock::nanoseconds_since(start), window, !is_saturated);
            answers = answers.saturating_add(1);
        })?;
        let now = clock::nanoseconds_since(start);
        if is_saturated && now < self.window.end {
            (0..answers).try_for_each(|_| end.say(now, &mut self.scratch))?;
        }
        self.flush(index)
    }

    /// Writes what is lined up at one end, and has the rest wait for its socket.
    fn flush(&mut self, index: usize) -> Result<(), Fault> {
        let Some(end) = self.ends.get_mut(index) else {
            return Ok(());
        };
        let was_blocked = end.is_blocked();
        let is_written = end.flush()?;
        if is_written == was_blocked {
            let out = if is_written { epoll::EventFlags::empty() } else { epoll::EventFlags::OUT };
            let data = epoll::EventData::new_u64(u64::try_from(index).unwrap_or(u64::MAX));
            epoll::modify(&self.epoll, &*end, data, epoll::EventFlags::IN | out).map_err(system)?;
        }
        Ok(())
    }

    /// Messages that were sent and have not come.
    fn missing(&self) -> u64 {
        let sum = |count: fn(&Conversation<T>) -> u64| self.ends.iter().map(count).fold(0, u64::saturating_add);
        sum(Conversation::sent).saturating_sub(sum(Conversation::got))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn system(error: Errno) -> Fault {
    Fault::Io(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_when_it_came_and_is_late_since_it_was_due() {
        let window = 1000..2000;
        // Due and come in the window; due in it and come after it; due before it and come in it.
        let messages = [(1100, 1200), (1900, 2500), (900, 1500)];
        for (is_at_rate, longest) in [(true, 600), (false, 600)] {
            let mut heard = Heard::new().unwrap();
            messages.iter().for_each(|(due, now)| heard.note(*due, *now, &window, is_at_rate));
            assert_eq!((heard.messages, heard.latency.len(), heard.latency.max()), (2, 2, longest));
            assert_eq!(heard.latency.value_at_quantile(0.0), 100);
        }
        let mut late = Heard::new().unwrap();
        late.note(1999, 9000, &window, true);
        assert_eq!((late.messages, late.latency.len()), (0, 1), "a server that is behind has not computed for it yet");
    }
}
