//! `sealjar users calibrate`: measures Argon2id on this machine, and prints settings for the cost of password hashes.
//!
//! `doctor` also uses [`measure`].

use std::time::Duration;

use zeroize::Zeroizing;

use crate::account::Password;
use crate::account::password::calibrate::propose;
use crate::account::password::{Argon2id, Cost};
use crate::cli::output::{errln, outln};
use crate::clock::Now;

/// Number of measured hashes for one cost. The median of their times is used.
const ROUNDS: usize = 5;

/// Prints the proposed settings for the configuration file on standard output, and the measurements on standard error.
pub(super) fn run(target: Duration, max_memory_kib: u32) {
    let (cost, time) = propose(target, max_memory_kib, |cost| {
        let time = measure(cost, ROUNDS);
        errln!("{} KiB, {} passes: {} ms", cost.memory_kib, cost.passes, time.as_millis());
        time
    });
    if time > target.mul_f64(1.1) {
        errln!(
            "hashing takes longer than {} ms on this machine even with the minimum cost that OWASP recommends; use this cost all the same, or a faster machine",
            target.as_millis()
        );
    }
    let logins_per_second = 1.0 / time.as_secs_f64().max(1e-6);
    errln!(
        "about {logins_per_second:.1} logins per second on each core; a stored password is hashed with this cost at its next login"
    );
    outln!("[password]\nmemory_kib = {}\npasses = {}\nlanes = {}", cost.memory_kib, cost.passes, cost.lanes);
}

/// Returns the median time of `rounds` hashes on this machine.
pub(in crate::cli) fn measure(cost: Cost, rounds: usize) -> Duration {
    let mut argon2id = Argon2id::new(cost);
    let password = Password::new(Zeroizing::new("a password to measure with".to_owned()));
    // The first hash is not measured, because it also allocates the memory.
    argon2id.hash(&password);
    let mut times = vec![Duration::ZERO; rounds];
    for time in &mut times {
        let started = Now::read().boot;
        argon2id.hash(&password);
        *time = Now::read().boot.saturating_sub(started);
    }
    times.sort();
    times[rounds / 2]
}
