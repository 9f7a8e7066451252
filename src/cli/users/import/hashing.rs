//! Hashes many passwords on all cores. The threads have a low priority, so that a server on the same machine can still serve
//! requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::account::Password;
use crate::account::password::Argon2id;
use crate::account::password::checker::{NICENESS, THREAD_NAME_PREFIX};
use crate::cli::error::CliError;
use crate::cli::output::Progress;
use crate::clock::Now;
use crate::config::settings::Settings;

/// Interval between two updates of the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Returns the hash of each password, in the same order.
pub(super) fn hash_all(settings: &Settings, passwords: &[Password]) -> Result<Vec<String>, CliError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // The threads together use at most the memory that the server may use for hashing.
    let by_memory = (settings.password_memory_kib / settings.cost.memory_kib.max(1)) as usize;
    let threads = cores.min(by_memory).clamp(1, passwords.len().max(1));
    let next = AtomicUsize::new(0);
    let mut hashes = vec![String::new(); passwords.len()];
    thread::scope(|scope| {
        let (results, all_results): (Sender<(usize, String)>, Receiver<_>) = channel();
        for number in 0..threads {
            let results = results.clone();
            let next = &next;
            let work = move || {
                // If the system does not allow this, the threads run with normal priority.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                let mut argon2id = Argon2id::new(settings.cost);
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(password) = passwords.get(index) else { return };
                    if results.send((index, argon2id.hash(password))).is_err() {
                        return;
                    }
                }
            };
            let started =
                thread::Builder::new().name(format!("{THREAD_NAME_PREFIX}{number}")).spawn_scoped(scope, work);
            started.map_err(|error| CliError::io(format!("cannot start a thread: {error}; nothing was changed")))?;
        }
        // The loop below ends when the last sender is dropped.
        drop(results);
        let mut progress = Progress::default();
        let mut shown_at = Now::read().boot;
        for (count, (index, hash)) in all_results.into_iter().enumerate() {
            hashes[index] = hash;
            let now = Now::read().boot;
            if now.saturating_sub(shown_at) >= PROGRESS_INTERVAL {
                progress.show(format_args!("hashed passwords: {} of {}", count + 1, passwords.len()));
                shown_at = now;
            }
        }
        Ok::<(), CliError>(())
    })?;
    Ok(hashes)
}
