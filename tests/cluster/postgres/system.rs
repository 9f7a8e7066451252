//! Helpers for the operating system: programs, users, ports and processes.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, geteuid};

use crate::harness::text;

/// Returns the path of a program of PostgreSQL. The directory in the variable SEALJAR_POSTGRES is used if it contains the
/// program, for tests with another version. Otherwise the newest version in Debian's directories is used, which are not in
/// `PATH`.
pub(super) fn program(name: &str) -> PathBuf {
    let configured = std::env::var_os("SEALJAR_POSTGRES").map(|directory| PathBuf::from(directory).join(name));
    if let Some(program) = configured.filter(|program| program.exists()) {
        return program;
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let programs =
        versions.map(|version| (version, PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/{name}"))));
    let newest = programs.filter(|(_, program)| program.exists()).max();
    newest.expect("these tests need PostgreSQL's server (Debian: apt-get install postgresql)").1
}

/// Returns a command that runs a program as the user `postgres` if this process runs as root, because PostgreSQL refuses root.
pub(super) fn unprivileged(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

/// Returns a free port below the kernel's ephemeral ports, so that no client connection uses it while the server is down.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).expect("below 10000");
    let candidates = std::iter::repeat_with(|| 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    candidates.take(10_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

pub(super) fn pid(process: &Child) -> Pid {
    Pid::from_child(process)
}

/// Returns the child processes of a process.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |number: &i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The fields are: process id, name in parentheses, state, parent.
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parent_of == Some(parent.as_raw_nonzero().get())
    };
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// Runs a command, and panics if it fails.
pub(crate) fn run_checked(command: &mut Command) -> std::process::Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    output
}
