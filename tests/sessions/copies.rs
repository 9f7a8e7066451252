//! Copy detection against random schedules, in simulated time. The library's own `Sessions` judge and seal, one for each node. A
//! browser, thieves, proxies and an embedding application are told again here: requests run in parallel, are late, overtake each
//! other or are lost; nodes restart, and their clocks are up to a minute apart.
//!
//! - No lone browser is signed out within the bound of the proof in `src/session/copy_detection.rs`, nor does its session end
//!   while it is in use.
//! - A thief who renews beside the owner on one node is found at the third renewal of both at the latest.
//! - A session of which a copy is found is refused for every holder, and told once by each node.
//!
//! A seed tells the whole schedule. `SEALJAR_SOAK=1` asks for 10,000 hours and more (`make soak`).

mod app_data;
mod detection;
mod history;
mod holder;
mod lone;
mod node;
mod request;
mod rng;
mod schedule;
mod stragglers;
mod tally;
mod thieves;
mod traffic;
mod world;

use tally::Tally;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

#[test]
fn no_lone_browser_is_signed_out() {
    let mut tally = Tally::default();
    for seed in 0..stated_or(4000, 20) {
        tally.add(&schedule::run(seed, 14));
    }
    println!("{tally}");
    assert_eq!(tally.copies, 0);
}

/// The stated number in the soak, and a reduced one otherwise.
fn stated_or(stated: u64, reduced: u64) -> u64 {
    if std::env::var_os("SEALJAR_SOAK").is_some_and(|value| value == "1") { stated } else { reduced }
}
