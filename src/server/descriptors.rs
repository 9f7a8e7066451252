//! File descriptors, of which each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For everything else: the database, key files, the runtime, the sockets that listen, one connection each that waits for room.
const SPARE: u64 = 64;

/// Raises the limit as far as it goes, and returns how many of the wanted connections each of the two listeners may have.
pub(super) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let fit = fitting(allowed);
    if fit < wanted {
        tracing::warn!(
            open_files = allowed,
            connections = fit,
            "the limit of open files is too low for http.max_connections, so each listener accepts fewer connections; raise the limit (LimitNOFILE= in systemd, ulimit -n in a shell) or lower http.max_connections"
        );
    }
    wanted.min(fit)
}

/// How many connections fit each listener.
pub(crate) fn fitting(open_files: Option<u64>) -> usize {
    let fit = |files: u64| usize::try_from(files.saturating_sub(SPARE) / 2).unwrap_or(usize::MAX).max(1);
    open_files.map_or(usize::MAX, fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_gets_half_of_what_the_rest_leaves() {
        let cases = [(None, usize::MAX), (Some(20_064), 10_000), (Some(1024), 480), (Some(64), 1), (Some(0), 1)];
        for (files, fit) in cases {
            assert_eq!(fitting(files), fit, "{files:?}");
        }
    }
}
