//! The limit of open files (`RLIMIT_NOFILE`, see
//! [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html)). Each connection uses one file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of file descriptors for other uses: the database, key files, the runtime, the listening sockets, and for each
/// listener one accepted connection that waits for the connection limit.
const RESERVED_FILES: u64 = 64;

/// Raises the soft limit of open files, which is in force, to the hard limit, which is its maximum. Returns the maximum
/// number of connections for each of the two listeners: `wanted`, or a lower number if the limit is too low.
pub(super) fn raise_limit(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let possible = connections_per_listener(allowed);
    if possible < wanted {
        tracing::warn!(
            open_files = allowed,
            connections = possible,
            "the limit of open files is too low for http.max_connections, so each listener accepts fewer connections; raise the limit (LimitNOFILE= in systemd, ulimit -n in a shell) or lower http.max_connections"
        );
    }
    wanted.min(possible)
}

/// Returns the number of connections that each listener can have with this limit of open files. `None` means no limit.
pub(crate) fn connections_per_listener(open_files: Option<u64>) -> usize {
    let for_files = |files: u64| usize::try_from(files.saturating_sub(RESERVED_FILES) / 2).unwrap_or(usize::MAX).max(1);
    open_files.map_or(usize::MAX, for_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_gets_half_of_the_files_for_connections() {
        let cases = [(None, usize::MAX), (Some(20_064), 10_000), (Some(1024), 480), (Some(64), 1), (Some(0), 1)];
        for (files, connections) in cases {
            assert_eq!(connections_per_listener(files), connections, "{files:?}");
        }
    }
}
