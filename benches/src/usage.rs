//! What a process has used, as Linux tells it.

use sworm::BoxError;

/// The kernel counts the time of processes in hundredths of a second, on every machine of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The seconds that the processor has worked for a process.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name, in parentheses; the times are the 14th and the 15th.
    let (_, rest) = stat.rsplit_once(')').ok_or("a stat without a name")?;
    let mut ticks = 0;
    for field in rest.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// The memory that a process has in use, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<f64, BoxError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("a status without VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes as f64 * 1024.0)
}
