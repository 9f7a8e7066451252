//! Whether anybody waits while the list is pruned: the slowest verifications, with and without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::{Entry, RevocationList};

use crate::HOUR;
use crate::fixture::{Token, list_of, sessions_under, site};
use crate::harness::{median, time};

/// Which parts of the verifications are looked at; the last is the longest of all.
const PARTS: [f64; 4] = [0.5, 0.99, 0.999, 1.0];
/// How much longer 99 in a hundred may take while the list is pruned.
const AIM: f64 = 2.0;

/// What the other thread does meanwhile. Pruning a list that nobody looks into is the control: it takes as much of the
/// machine, and no lock of ours.
#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    PrunesAnother,
    PrunesOurs,
}

/// Prints a table of medians over the runs. So many expired entries go as are handed in, and a tenth as many stay, so the tables
/// are made smaller as well.
pub(crate) fn print_slowest_verify(tokens: &[Token], revoked: &[Sid], runs: usize) {
    let now = Now::read();
    let staying: Vec<Sid> = (0..revoked.len() / 10).map(|_| Sid::random()).collect();
    let lists = [(); 2].map(|()| Arc::new(list_of(&staying, now.wall.plus(HOUR), now)));
    println!(
        "One thread verifies tokens. Another thread deletes {} expired entries, and keeps {}.\n",
        revoked.len(),
        staying.len()
    );
    println!(
        "| the other thread | for, ms | median verify, µs | 99 %, µs | ratio to idle | 99.9 %, µs | longest, µs |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let cases = [
        ("is idle", Meanwhile::Nothing),
        ("deletes from another list", Meanwhile::PrunesAnother),
        ("deletes from this list", Meanwhile::PrunesOurs),
    ];
    let mut samples = cases.map(|_| Vec::new());
    for _ in 0..runs {
        for ((_, meanwhile), samples) in cases.iter().zip(&mut samples) {
            samples.push(run(tokens, revoked, &lists, *meanwhile));
        }
    }
    for ((name, _), runs) in cases.iter().zip(&samples) {
        let of = |part: &dyn Fn(&Run) -> f64| median(runs.iter().map(part).collect());
        let [half, slow, slower, longest] = [0, 1, 2, 3].map(|index| of(&|run| run.within[index]));
        let ratio = median(runs.iter().zip(&samples[0]).map(|(run, idle)| run.within[1] / idle.within[1]).collect());
        let pruning = of(&|run| run.pruning) / 1000.0;
        println!("| {name} | {pruning:.0} | {half:.2} | {slow:.2} | {ratio:.2} | {slower:.1} | {longest:.0} |");
    }
    println!("\nGoal: the 99 % are at most {AIM} times those of an idle thread.\n");
}

/// In microseconds.
struct Run {
    pruning: f64,
    /// How long the verifications took, by [`PARTS`].
    within: [f64; 4],
}

fn run(tokens: &[Token], revoked: &[Sid], lists: &[Arc<RevocationList>; 2], meanwhile: Meanwhile) -> Run {
    let [ours, another] = lists;
    let pruned = if meanwhile == Meanwhile::PrunesAnother { another } else { ours };
    let now = Now::read();
    let staying = pruned.len();
    // The list rounds up to even seconds.
    let expires_at = UnixTime(now.wall.0 - 2);
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
            if done.load(Ordering::Acquire) && (meanwhile != Meanwhile::Nothing || durations.len() >= tokens.len()) {
                break;
            }
        }
    });
    pruned.prune(now.wall);
    assert_eq!(pruned.len(), staying, "only what has expired goes, and all of it");
    durations.sort();
    let within = PARTS.map(|part| micros(durations[((durations.len() - 1) as f64 * part) as usize]));
    Run { pruning, within }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
