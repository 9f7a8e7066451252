//! Simulation of copy detection with random schedules, in simulated time.
//!
//! Each node uses the library's `Sessions` to verify and seal. The browser, the thieves, the proxies and an embedding
//! application are models. Requests are concurrent, late, out of order or lost. Nodes restart, and their clocks differ by up to
//! a minute. The tests check these rules:
//!
//! - A single browser is not logged out if its requests are within the bound of the proof in `src/session/copy_detection.rs`.
//!   Its session does not expire while it is in use.
//! - On one node, if the owner and a thief both renew their cookies, the copy is found before both have renewed three times.
//! - If a copy is found, the session is refused for every holder, and each node reports the copy at most once.
//!
//! A seed determines the whole schedule. `SEALJAR_SOAK=1` runs 10,000 hours and more (`make soak`).

mod app_data;
mod detection;
mod history;
mod holder;
mod late_tokens;
mod node;
mod request;
mod rng;
mod schedule;
mod single_browser;
mod tally;
mod thieves;
mod traffic;
mod world;

use tally::Tally;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

#[test]
fn no_single_browser_is_logged_out() {
    let mut tally = Tally::default();
    for seed in 0..full_or_reduced(4000, 20) {
        tally.add(&schedule::run(seed, 14));
    }
    println!("{tally}");
    assert_eq!(tally.copies, 0);
}

/// Returns the full number for the soak test, and the reduced number otherwise.
fn full_or_reduced(full: u64, reduced: u64) -> u64 {
    if std::env::var_os("SEALJAR_SOAK").is_some_and(|value| value == "1") { full } else { reduced }
}
