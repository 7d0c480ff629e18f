//! What a process of this machine uses, as Linux tells.

use anyhow::Context as _;

/// Ticks in a second of /proc, on every architecture of Linux.
const TICKS: f64 = 100.0;

/// Seconds of processor time so far, in user and system mode.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces; user and system time are 12 and 13 fields behind it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks().zip(ticks()).context("/proc/PID/stat has no times")?;
    Ok((user + system) / TICKS)
}

/// Resident memory in MiB now, and at its peak.
pub(crate) fn memory_mib(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let kib = field("VmRSS:").zip(field("VmHWM:")).context("/proc/PID/status has no memory")?;
    Ok((kib.0 / 1024.0, kib.1 / 1024.0))
}
