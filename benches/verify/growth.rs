//! Measures whether the time of a check grows with the length of the revocation list, and the memory per entry.

use std::sync::Arc;

use sealjar::clock::Now;
use sealjar::id::Sid;
use sealjar::revocation::{Entry, RevocationList};
use sealjar::session::Sessions;

use crate::HOUR;
use crate::fixture::{Token, list_of, sessions_under, site};
use crate::harness::{Case, measure_alternately, median, resident_bytes};

/// Goal: maximum resident bytes per entry in the longest list.
const GOAL_BYTES: f64 = 40.0;
const NAMES: [&str; 4] = ["none", "few", "many", "most"];

/// Number of tokens for the measurement with a warm cache: with these, all data that a check needs stays in the CPU cache.
const REPEATED_TOKENS: usize = 64;

/// Prints a table with the time of `verify` and the memory per entry for lists of these lengths. The lists are measured
/// alternately.
///
/// With all tokens in turn, lookups in a long list miss the CPU cache. With few repeated tokens, as when a browser loads a page
/// with its images, there are no cache misses, and only the time of the instructions is measured.
pub(crate) fn print_cost_of_length(tokens: &[Token], lengths: [usize; 4], rounds: usize, batch: usize) {
    let now = Now::read();
    let mut grown = Vec::new();
    let lists = lengths.map(|length| {
        let before = resident_bytes();
        let sessions = sessions_under(Arc::new(list_of(&[], now.wall, now)));
        fill(sessions.revocations(), length, now);
        grown.push(resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before)));
        sessions
    });
    println!(
        "| entries | verify, ns | ratio to 0 entries | repeated tokens, ns | ratio to 0 entries | resident bytes per entry |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    let many = measure(&lists, tokens, rounds, batch);
    let few = measure(&lists, &tokens[..REPEATED_TOKENS], rounds, batch);
    for (((length, (ns, ratio)), (few_ns, few_ratio)), grown) in lengths.into_iter().zip(many).zip(few).zip(grown) {
        let each = grown.filter(|_| length > 0).map(|grown| format!("{:.1}", grown as f64 / length as f64));
        let each = each.unwrap_or_default();
        println!("| {length} | {ns:.0} | {ratio:.2} | {few_ns:.0} | {few_ratio:.2} | {each} |");
    }
    println!(
        "\n{} different tokens are verified in turn, or {REPEATED_TOKENS} (repeated tokens). Goal: ratios of 1, and at most {GOAL_BYTES} bytes.\n",
        tokens.len()
    );
}

/// Returns the nanoseconds of a check for each list, and the ratio to the first list.
fn measure(lists: &[Sessions; 4], tokens: &[Token], rounds: usize, batch: usize) -> Vec<(f64, f64)> {
    let pick = |number: usize| &tokens[number % tokens.len()];
    let case = |index: usize| {
        Case::compared_to(NAMES[0], NAMES[index], move |number| {
            let fields = [pick(number).header.as_slice()];
            lists[index].verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        })
    };
    let measured = measure_alternately([0, 1, 2, 3].map(case), rounds, batch, |number| pick(number).read_all());
    let none = &measured[0].1;
    let ratio = |samples: &[f64]| median(samples.iter().zip(none).map(|(some, none)| some / none).collect());
    measured.iter().map(|(_, samples)| (median(samples.clone()), ratio(samples))).collect()
}

fn fill(list: &RevocationList, length: usize, now: Now) {
    let expires_at = now.wall.plus(HOUR);
    (0..length).for_each(|_| list.add_durable(&Entry::Session { sid: Sid::random(), expires_at }));
    // The server also does this after it has loaded the list, and later when it prunes the list.
    list.resize_filters();
}
