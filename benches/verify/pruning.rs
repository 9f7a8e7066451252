//! Measures whether verifications wait while the revocation list is pruned: the slowest verifications with and without pruning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealjar::clock::{Now, UnixTime};
use sealjar::id::Sid;
use sealjar::revocation::{Entry, RevocationList};

use crate::HOUR;
use crate::fixture::{Token, list_of, sessions_under, site};
use crate::harness::{median, time};

/// Percentiles of the verification times that are printed. The last one is the maximum.
const PERCENTILES: [f64; 4] = [0.5, 0.99, 0.999, 1.0];
/// Goal: maximum ratio of the 99th percentile during pruning to that of an idle second thread.
const GOAL_RATIO: f64 = 2.0;

/// The work of the second thread. Pruning another list is the control: it uses the machine equally, but none of the locks of the
/// verified list.
#[derive(Clone, Copy, PartialEq)]
enum SecondThread {
    Idle,
    PrunesOtherList,
    PrunesThisList,
}

/// Prints a table of medians over the runs. Each run prunes as many expired entries as `revoked` has, and keeps a tenth of this
/// number, so that pruning also shrinks the hash tables.
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
        ("is idle", SecondThread::Idle),
        ("deletes from another list", SecondThread::PrunesOtherList),
        ("deletes from this list", SecondThread::PrunesThisList),
    ];
    let mut samples = cases.map(|_| Vec::new());
    for _ in 0..runs {
        for ((_, second_thread), samples) in cases.iter().zip(&mut samples) {
            samples.push(run(tokens, revoked, &lists, *second_thread));
        }
    }
    for ((name, _), runs) in cases.iter().zip(&samples) {
        let median_of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let [p50, p99, p999, longest] = [0, 1, 2, 3].map(|index| median_of(&|run| run.percentiles[index]));
        let ratio =
            median(runs.iter().zip(&samples[0]).map(|(run, idle)| run.percentiles[1] / idle.percentiles[1]).collect());
        let pruning = median_of(&|run| run.pruning) / 1000.0;
        println!("| {name} | {pruning:.0} | {p50:.2} | {p99:.2} | {ratio:.2} | {p999:.1} | {longest:.0} |");
    }
    println!("\nGoal: the 99 % are at most {GOAL_RATIO} times those of an idle thread.\n");
}

/// Result of a run. All times are in microseconds.
struct Run {
    /// Duration of the pruning.
    pruning: f64,
    /// Verification times at the percentiles [`PERCENTILES`].
    percentiles: [f64; 4],
}

fn run(tokens: &[Token], revoked: &[Sid], lists: &[Arc<RevocationList>; 2], second_thread: SecondThread) -> Run {
    let [this, other] = lists;
    let pruned = if second_thread == SecondThread::PrunesOtherList { other } else { this };
    let now = Now::read();
    let staying = pruned.len();
    // Expired by two seconds, because the list rounds up to even seconds.
    let expires_at = UnixTime(now.wall.0 - 2);
    revoked.iter().for_each(|sid| pruned.add_durable(&Entry::Session { sid: *sid, expires_at }));
    let sessions = sessions_under(Arc::clone(this));
    let done = AtomicBool::new(second_thread == SecondThread::Idle);
    let mut durations = Vec::with_capacity(1 << 18);
    let mut pruning = 0.0;
    std::thread::scope(|scope| {
        if second_thread != SecondThread::Idle {
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
            if done.load(Ordering::Acquire) && (second_thread != SecondThread::Idle || durations.len() >= tokens.len())
            {
                break;
            }
        }
    });
    pruned.prune(now.wall);
    assert_eq!(pruned.len(), staying, "exactly the expired entries are removed");
    durations.sort();
    let percentiles = PERCENTILES.map(|fraction| micros(durations[((durations.len() - 1) as f64 * fraction) as usize]));
    Run { pruning, percentiles }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
