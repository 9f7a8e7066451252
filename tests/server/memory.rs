//! Memory use of the server process, as the kernel reports it.

use std::io::Read;
use std::net::TcpStream;

use crate::harness::{Home, Server, wait_until};

/// Number of KiB in a MiB.
const MIB: usize = 1 << 10;
/// Memory for hashing one password, in KiB.
const HASH: usize = 19 * MIB;

/// Returns the resident anonymous memory in KiB, that is, without mapped files.
fn anonymous_kib(server: &Server<'_>) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux reports this field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn hashing_allocates_memory_when_needed_and_frees_it() {
    let home = Home::with_settings(&["password.memory_kib=19456", "password.threads=8", "http.idle_timeout=61s"]);
    let server = home.start();
    let idle = anonymous_kib(&server);
    assert!(idle < 16 * MIB, "{idle} KiB before the first login");
    for _ in 0..3 {
        server.login("alice").await;
        let used = anonymous_kib(&server) - idle;
        assert!((HASH..HASH + 10 * MIB).contains(&used), "{used} KiB for sequential logins");
    }
    // The server closes this connection after 61 s. By then it has freed the memory, which it does after 60 s.
    let mut silent = TcpStream::connect(&server.public).expect("connects");
    assert_eq!(silent.read(&mut [0]).expect("the process exits"), 0);
    wait_until("the memory is freed", || anonymous_kib(&server) < idle + 10 * MIB);
}
