//! `sealjar users calibrate`: what a password may cost on this machine.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::account::Password;
use crate::account::password::calibrate::propose;
use crate::account::password::{Argon2id, Cost};
use crate::cli::output::{errln, outln};
use crate::clock::Now;

/// Hashes of which the median counts.
const ROUNDS: usize = 5;

/// Prints settings to put into the file on standard output, and how it came to them on standard error.
pub(super) fn run(target: Duration, max_memory_kib: u32) {
    let (cost, time) = propose(target, max_memory_kib, |cost| {
        let time = measure(cost, ROUNDS);
        errln!("{} KiB, {} passes: {} ms", cost.memory_kib, cost.passes, time.as_millis());
        time
    });
    if time > target.mul_f64(1.1) {
        errln!("this machine cannot do it in {} ms with the least that OWASP recommends", target.as_millis());
    }
    let a_second = 1.0 / time.as_secs_f64().max(1e-6);
    errln!("about {a_second:.1} sign-ins a second on each core; stored passwords follow at their next sign-in");
    outln!("[password]\nmemory_kib = {}\npasses = {}\nlanes = {}", cost.memory_kib, cost.passes, cost.lanes);
}

/// How long one hash takes here: the median of so many.
pub(in crate::cli) fn measure(cost: Cost, rounds: usize) -> Duration {
    let mut argon2id = Argon2id::new(cost);
    let password = Password::new(Zeroizing::new("a password to measure with".to_owned()));
    // The first one also fetches the memory.
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
