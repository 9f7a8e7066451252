//! Whether anybody waits while the list is pruned: the longest single verify, with and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::{Entry, RevocationList};

use crate::fixture::{Token, list_of, sessions_under, site};
use crate::harness::{median, time};

/// What the other thread does meanwhile. Pruning a list that nobody looks into is the control: it takes as much of the
/// machine, and no lock of ours.
#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    PrunesAnother,
    PrunesOurs,
}

/// Prints the table: medians of the runs, and of the longest verify also the least, which a busy machine disturbs least.
pub(crate) fn print_longest_verify(tokens: &[Token], revoked: &[Sid], runs: usize) {
    let now = Now::read();
    let lists = [Arc::new(list_of(&[], now.wall, now)), Arc::new(list_of(&[], now.wall, now))];
    println!(
        "| while another thread | pruning takes, ms | 99.9 % within, µs | longest, µs | longest of the calmest run, µs |"
    );
    println!("|---|---:|---:|---:|---:|");
    for (name, meanwhile) in [
        ("does nothing", Meanwhile::Nothing),
        ("prunes another list", Meanwhile::PrunesAnother),
        ("prunes this list", Meanwhile::PrunesOurs),
    ] {
        let runs: Vec<Run> = (0..runs).map(|_| run(tokens, revoked, &lists, meanwhile)).collect();
        let of = |part: fn(&Run) -> f64| runs.iter().map(part).collect::<Vec<_>>();
        let calmest = of(|run| run.longest).into_iter().fold(f64::INFINITY, f64::min);
        let (mostly, longest) = (median(of(|run| run.mostly)), median(of(|run| run.longest)));
        println!(
            "| {name} | {:.0} | {mostly:.1} | {longest:.0} | {calmest:.0} |",
            median(of(|run| run.pruning)) / 1000.0
        );
    }
}

/// In microseconds.
struct Run {
    pruning: f64,
    mostly: f64,
    longest: f64,
}

fn run(tokens: &[Token], revoked: &[Sid], lists: &[Arc<RevocationList>; 2], meanwhile: Meanwhile) -> Run {
    let [ours, another] = lists;
    let pruned = if meanwhile == Meanwhile::PrunesOurs { ours } else { another };
    let now = Now::read();
    let expires_at = UnixTime(now.wall.0 - 1);
    revoked.iter().for_each(|sid| pruned.add_durable(&Entry::Session { sid: *sid, expires_at }));
    let sessions = sessions_under(Arc::clone(ours));
    let done = AtomicBool::new(meanwhile == Meanwhile::Nothing);
    let mut durations = Vec::with_capacity(1 << 18);
    let mut pruning = 0.0;
    std::thread::scope(|scope| {
        if meanwhile != Meanwhile::Nothing {
            scope.spawn(|| {
                pruning = micros(time(|| pruned.prune(now.wall)));
                done.store(true, Ordering::Release);
            });
        }
        for token in tokens.iter().cycle() {
            durations.push(time(|| {
                let fields = [token.header.as_slice()];
                sessions.verify(fields, site(), Now::read(), |_| ()).expect("live");
            }));
            if durations.len() >= tokens.len() && done.load(Ordering::Acquire) {
                break;
            }
        }
    });
    assert_eq!(pruned.is_empty(), meanwhile != Meanwhile::Nothing, "only what has expired goes, and all of it");
    pruned.prune(now.wall);
    durations.sort();
    let (mostly, longest) = (durations[durations.len() * 999 / 1000], durations[durations.len() - 1]);
    Run { pruning, mostly: micros(mostly), longest: micros(longest) }
}

fn micros(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
