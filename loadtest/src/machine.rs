//! Where a run was made and with which programs.
//!
//! Keeps nothing.

use serde::Serialize;

use crate::rival::version;

/// The machine and the versions.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    /// The file system of the work folder.
    pub(crate) disk: String,
    /// Programs and what they say about their version.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    /// Asks Linux and the programs.
    pub(crate) fn ask(postern: &std::path::Path, work: &std::path::Path) -> Self {
        let line = |file: &str, start: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
            let value = line.split_once([':', '=']).map(|(_, value)| value.trim());
            value.unwrap_or(line).trim_matches('"').to_owned()
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let kib: u64 =
            memory.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let postern = postern.display().to_string();
        let work = work.display().to_string();
        let programs: [(&str, &str, &[&str]); 10] = [
            ("Postern", &postern, &["--version"]),
            ("commit", "git", &["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]),
            ("PostgreSQL", "psql", &["--version"]),
            ("Redis", "redis-server", &["--version"]),
            ("Postfix", "postconf", &["-d", "mail_version"]),
            ("nginx", "nginx", &["-v"]),
            ("Node.js", "node", &["--version"]),
            ("ghz", "ghz", &["--version"]),
            ("rustc", "rustc", &["--version"]),
            ("Debian", "cat", &["/etc/debian_version"]),
        ];
        let versions = programs.iter().map(|(name, program, arguments)| {
            let said = version(program, arguments);
            let said = if said.is_empty() { "not installed".to_owned() } else { said };
            ((*name).to_owned(), said)
        });
        Self {
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / 1024,
            kernel: line("/proc/version", ""),
            system: line("/etc/os-release", "PRETTY_NAME"),
            disk: version("stat", &["-f", "-c", "%T", &work]),
            versions: versions.collect(),
        }
    }
}

/// What else the machine does: how many threads wanted to run, over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(", ")
}
