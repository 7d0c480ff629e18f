//! What processes of this machine use, as Linux tells.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// Ticks in a second of /proc, on every architecture of Linux.
const TICKS: f64 = 100.0;

/// What `/proc/PID/stat` tells of a process.
#[derive(Debug)]
struct Stat {
    parent: u32,
    /// Its own time, and that of its children that it has waited for.
    ticks: f64,
}

/// Seconds of processor time so far, in user and system mode, of a process and all below it.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended meanwhile is in its parent's count.
        if let Ok(stat) = stat(pid) {
            all.insert(pid, stat);
        }
    }
    all.get(&pid).context("the process has ended")?;
    let ticks = all.iter().filter(|(one, _)| is_below(&all, **one, pid)).map(|(_, s)| s.ticks);
    Ok(ticks.sum::<f64>() / TICKS)
}

fn is_below(all: &BTreeMap<u32, Stat>, mut pid: u32, top: u32) -> bool {
    while pid != top {
        match all.get(&pid) {
            Some(stat) if stat.parent != pid => pid = stat.parent,
            _ => return false,
        }
    }
    true
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold spaces; behind it are the state, the parent, and 11 fields behind
    // the state user and system time, then those of the children.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let parent = fields.get(1).context("/proc/PID/stat has no parent")?.parse()?;
    let times = fields.get(11..15).context("/proc/PID/stat has no times")?;
    let ticks = times.iter().map(|field| field.parse::<f64>()).sum::<Result<f64, _>>()?;
    Ok(Stat { parent, ticks })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_a_child_is_counted() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).expect("Linux tells");
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let shell = std::process::Command::new("sh").args(["-c", busy]).status();
        assert!(shell.expect("there is a shell").success());
        assert!(cpu_seconds(pid).expect("Linux tells") > before);
        assert!(memory_mib(pid).expect("Linux tells").0 > 1.0);
    }
}
