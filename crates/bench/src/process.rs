//! What the operating system says of a process (proc(5)): the time that it has been computing, and the memory it has.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::fault::Fault;

/// What processes compute from one moment to another, and what everybody else on the machine does meanwhile.
pub(crate) struct Meter {
    processes: Processes,
    /// Seconds of the processes, of this one, and of the machine.
    begin: [f64; 3],
}

/// Seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// What the processes computed.
    pub(crate) cpu: f64,
    /// What others than them and this one computed: whether the machine was quiet.
    pub(crate) others: f64,
}

impl Meter {
    /// Begins.
    ///
    /// # Errors
    /// [`Fault::Asked`] when there is no such process.
    pub(crate) fn start(processes: &Processes) -> Result<Self, Fault> {
        Ok(Self { begin: Self::read(processes)?, processes: processes.clone() })
    }

    /// What there was until now.
    ///
    /// # Errors
    /// [`Fault::Asked`] when one of them is gone.
    pub(crate) fn stop(&self) -> Result<Used, Fault> {
        let [cpu, own, all] = Self::read(&self.processes)?;
        let [cpu_before, own_before, all_before] = self.begin;
        let (cpu, own, all) = (cpu - cpu_before, own - own_before, all - all_before);
        Ok(Used { cpu, others: (all - cpu - own).max(0.0) })
    }

    fn read(processes: &Processes) -> Result<[f64; 3], Fault> {
        Ok([processes.cpu()?, Process(std::process::id()).cpu()?, busy()?])
    }
}

/// Seconds that all processors together have been busy.
fn busy() -> Result<f64, Fault> {
    let path = Path::new("/proc/stat");
    let text = std::fs::read_to_string(path).map_err(|error| Fault::file(path, error))?;
    busy_ticks(&text).map(seconds).ok_or_else(|| Fault::file(path, "is not as proc_stat(5) has it"))
}

/// All columns of the first line but `idle`, `iowait`, and what guests have, which is in `user` already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let columns: Option<Vec<u64>> = stat.lines().next()?.split_whitespace().skip(1).map(|it| it.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = *columns?.as_slice() else {
        return None;
    };
    Some([user, nice, system, irq, softirq].into_iter().fold(0, u64::saturating_add))
}

fn seconds(ticks: u64) -> f64 {
    // 2^53 ticks are three million years.
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The processes that a server is: one, or several nodes and what they share.
#[derive(Clone, Debug)]
pub(crate) struct Processes(pub(crate) Vec<Process>);

impl Processes {
    /// Seconds that all of them together have been computing.
    ///
    /// # Errors
    /// [`Fault::Asked`] when one of them is gone.
    pub(crate) fn cpu(&self) -> Result<f64, Fault> {
        self.0.iter().map(|process| process.cpu()).sum()
    }

    /// Bytes of memory that all of them together have resident.
    ///
    /// # Errors
    /// [`Fault::Asked`] when one of them is gone.
    pub(crate) fn resident(&self) -> Result<u64, Fault> {
        self.0.iter().try_fold(0, |sum: u64, process| Ok(sum.saturating_add(process.resident()?)))
    }
}

/// A process that is being measured, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Seconds that all its threads together have been computing, user's and system's, in steps of a tick (10 ms).
    ///
    /// # Errors
    /// [`Fault::Asked`] when there is no such process.
    pub(crate) fn cpu(self) -> Result<f64, Fault> {
        let (path, text) = self.read("stat")?;
        let ticks = ticks(&text).ok_or_else(|| Fault::file(path, "is not as proc_pid_stat(5) has it"))?;
        Ok(seconds(ticks))
    }

    /// Bytes of memory that it has resident.
    ///
    /// # Errors
    /// [`Fault::Asked`] when there is no such process.
    pub(crate) fn resident(self) -> Result<u64, Fault> {
        let (path, text) = self.read("status")?;
        resident(&text).ok_or_else(|| Fault::file(path, "is not as proc_pid_status(5) has it"))
    }

    fn read(self, file: &str) -> Result<(PathBuf, String), Fault> {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.0));
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Fault::Asked(format!("no process has the number {}; is the server there?", self.0)),
            _ => Fault::file(&path, error),
        })?;
        Ok((path, text))
    }
}

/// `utime` and `stime`, the 14th and 15th field. The second, the name, may hold anything, and ends with the last `)`.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    Some(fields.next()??.saturating_add(fields.next()??))
}

fn resident(status: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(size.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whatever_the_process_is_called() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 700 33 8 9 20 0 3 0 12345 1000 50";
        assert_eq!(ticks(stat), Some(733));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn a_machine_is_busy_when_it_neither_idles_nor_waits() {
        assert_eq!(busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 1 1\ncpu0 9"), Some(7_600_321));
        assert_eq!(busy_ticks("cpu 1 2"), None);
        let meter = Meter::start(&Processes(vec![Process(std::process::id())])).unwrap();
        assert!(meter.stop().unwrap().cpu >= 0.0);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(resident("Name:\ta\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(resident("Name:\ta\n"), None);
    }

    #[test]
    fn this_process_computes_and_has_memory() {
        let process = Process(std::process::id());
        assert!(process.cpu().unwrap() >= 0.0);
        assert!(process.resident().unwrap() > 100_000);
        assert!(Process(u32::MAX).cpu().is_err());
    }
}
