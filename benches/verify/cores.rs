//! Whether two threads verify twice as much as one.

use std::sync::Barrier;
use std::time::Duration;

use sealjar::clock::Now;
use sealjar::seal::token::token_buffer;
use sealjar::session::Sessions;

use crate::fixture::{RawCipher, Token, site};
use crate::harness::{median, time};

/// How much more two threads should do.
const AIM: f64 = 1.8;

/// Does something with tokens of these numbers.
type Work<'w> = &'w (dyn Fn(&mut dyn Iterator<Item = usize>) + Sync);

/// Prints a table: how much one thread does in a second, and two. They take turns, with as much work for each thread. The raw
/// cipher shares nothing, so it says what the machine has to give.
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
            // Not the same tokens for both threads, nor again what was just read.
            let share = |thread: usize| (2 * round + thread) * batch..(2 * round + thread + 1) * batch;
            alone.push(a_second(batch, time(|| work(&mut share(0)))));
            let start = Barrier::new(2);
            let other = || {
                start.wait();
                work(&mut share(1));
            };
            let took = std::thread::scope(|scope| {
                let other = scope.spawn(other);
                start.wait();
                time(|| {
                    work(&mut share(0));
                    other.join().expect("it verifies");
                })
            });
            together.push(a_second(2 * batch, took));
        }
    }
    for (name, [alone, together]) in ["decryption alone", "verify"].into_iter().zip(samples) {
        let ratio = median(together.iter().zip(&alone).map(|(two, one)| two / one).collect());
        println!("| {name} | {:.0} | {:.0} | {ratio:.2} |", median(alone), median(together));
    }
    println!("\nGoal: {AIM} times as many operations with two threads, on two cores.\n");
}

fn pick(tokens: &[Token], number: usize) -> &Token {
    &tokens[number % tokens.len()]
}

fn a_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
