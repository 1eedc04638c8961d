//! What the operating system says of a process (proc(5)): the time that it has been computing, and the memory it has.

use std::path::PathBuf;

use crate::fault::Fault;

/// A process that is being measured, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Seconds that all its threads together have been computing, user's and system's, in steps of a tick (10 ms).
    ///
    /// # Errors
    /// [`Fault::File`] when there is no such process.
    pub(crate) fn cpu(self) -> Result<f64, Fault> {
        let (path, text) = self.read("stat")?;
        let ticks = ticks(&text).ok_or_else(|| Fault::file(path, "is not as proc_pid_stat(5) has it"))?;
        // 2^53 ticks are three million years.
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Bytes of memory that it has resident.
    ///
    /// # Errors
    /// [`Fault::File`] when there is no such process.
    pub(crate) fn resident(self) -> Result<u64, Fault> {
        let (path, text) = self.read("status")?;
        resident(&text).ok_or_else(|| Fault::file(path, "is not as proc_pid_status(5) has it"))
    }

    fn read(self, file: &str) -> Result<(PathBuf, String), Fault> {
        let path = PathBuf::from(format!("/proc/{}/{file}", self.0));
        let text = std::fs::read_to_string(&path).map_err(|error| Fault::file(&path, error))?;
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
