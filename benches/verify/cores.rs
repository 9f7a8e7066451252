//! Measures whether two threads verify twice as many sessions per second as one thread.

use std::sync::Barrier;
use std::time::Duration;

use sealjar::clock::Now;
use sealjar::seal::token::token_buffer;
use sealjar::session::Sessions;

use crate::fixture::{RawCipher, Token, site};
use crate::harness::{median, time};

/// Goal: minimum ratio of the throughput of two threads to that of one thread.
const GOAL_RATIO: f64 = 1.8;

/// Operation on the tokens with these numbers.
type Work<'w> = &'w (dyn Fn(&mut dyn Iterator<Item = usize>) + Sync);

/// Prints a table of the operations per second of one thread and of two threads. They are measured alternately, with the same
/// work per thread. The raw cipher shares no data between threads, so its ratio is the best that the machine allows.
pub(crate) fn print_two_threads(sessions: &Sessions, tokens: &[Token], rounds: usize, batch: usize) {
    println!("| operations per second | one thread | two threads | ratio |");
    println!("|---|---:|---:|---:|");
    let cipher = RawCipher::new();
    let open = |numbers: &mut dyn Iterator<Item = usize>| {
        let mut buffer = token_buffer();
        for token in numbers.map(|number| pick(tokens, number)) {
            let text = &mut buffer[..token.ciphertext.len()];
            text.copy_from_slice(&token.ciphertext);
            cipher.open(token, text);
        }
    };
    let verify = |numbers: &mut dyn Iterator<Item = usize>| {
        for token in numbers.map(|number| pick(tokens, number)) {
            sessions.verify([token.header.as_slice()], site(), Now::read(), |_| ()).expect("live");
        }
    };
    let mut samples = [[vec![], vec![]], [vec![], vec![]]];
    for round in 0..rounds {
        let works: [Work<'_>; 2] = [&open, &verify];
        for (work, [alone, together]) in works.into_iter().zip(&mut samples) {
            // Each thread has other tokens than the other thread and the previous round, so that they are not in its cache.
            let share = |thread: usize| (2 * round + thread) * batch..(2 * round + thread + 1) * batch;
            alone.push(per_second(batch, time(|| work(&mut share(0)))));
            let start = Barrier::new(2);
            let second_thread = || {
                start.wait();
                work(&mut share(1));
            };
            let duration = std::thread::scope(|scope| {
                let second_thread = scope.spawn(second_thread);
                start.wait();
                time(|| {
                    work(&mut share(0));
                    second_thread.join().expect("the second thread does not panic");
                })
            });
            together.push(per_second(2 * batch, duration));
        }
    }
    for (name, [alone, together]) in ["decryption alone", "verify"].into_iter().zip(samples) {
        let ratio = median(together.iter().zip(&alone).map(|(two, one)| two / one).collect());
        println!("| {name} | {:.0} | {:.0} | {ratio:.2} |", median(alone), median(together));
    }
    println!("\nGoal: {GOAL_RATIO} times as many operations with two threads, on two cores.\n");
}

fn pick(tokens: &[Token], number: usize) -> &Token {
    &tokens[number % tokens.len()]
}

fn per_second(count: usize, duration: Duration) -> f64 {
    count as f64 / duration.as_secs_f64()
}
