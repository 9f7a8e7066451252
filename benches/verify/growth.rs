//! Whether a check takes longer the more sessions are refused, and what they weigh.

use std::sync::Arc;

use sealjar::clock::Now;
use sealjar::id::Sid;
use sealjar::revocation::{Entry, RevocationList};
use sealjar::session::Sessions;

use crate::HOUR;
use crate::fixture::{Token, list_of, sessions_under, site};
use crate::harness::{Case, median, resident_bytes, take_turns};

/// What a live revocation may weigh in the longest list.
const AIM_BYTES: f64 = 40.0;
const NAMES: [&str; 4] = ["none", "few", "many", "most"];

/// Tokens that come again so soon that whatever they need is at hand.
const FEW: usize = 64;

/// Prints a table: the whole verify, and the weight of an entry, for lists of these lengths. All lists are there at once, and take
/// turns. With as many tokens as there are, one after the other, the list is looked up at places that the nearest caches have
/// lost meanwhile; with few of them, as when a browser asks for a page and all that is on it, only the work itself counts.
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
    let few = measure(&lists, &tokens[..FEW], rounds, batch);
    for (((length, (ns, ratio)), (few_ns, few_ratio)), grown) in lengths.into_iter().zip(many).zip(few).zip(grown) {
        let each = grown.filter(|_| length > 0).map(|grown| format!("{:.1}", grown as f64 / length as f64));
        let each = each.unwrap_or_default();
        println!("| {length} | {ns:.0} | {ratio:.2} | {few_ns:.0} | {few_ratio:.2} | {each} |");
    }
    println!(
        "\n{} different tokens are verified in turn, or {FEW} (repeated tokens). Goal: ratios of 1, and at most {AIM_BYTES} bytes.\n",
        tokens.len()
    );
}

/// Nanoseconds for each list, and how much that is beside the first.
fn measure(lists: &[Sessions; 4], tokens: &[Token], rounds: usize, batch: usize) -> Vec<(f64, f64)> {
    let pick = |number: usize| &tokens[number % tokens.len()];
    let case = |index: usize| {
        Case::beside(NAMES[0], NAMES[index], move |number| {
            let fields = [pick(number).header.as_slice()];
            lists[index].verify(fields, site(), Now::read(), |session| session.claims().sid).expect("live")
        })
    };
    let measured = take_turns([0, 1, 2, 3].map(case), rounds, batch, |number| pick(number).read_all());
    let none = &measured[0].1;
    let ratio = |samples: &[f64]| median(samples.iter().zip(none).map(|(some, none)| some / none).collect());
    measured.iter().map(|(_, samples)| (median(samples.clone()), ratio(samples))).collect()
}

fn fill(list: &RevocationList, length: usize, now: Now) {
    let expires_at = now.wall.plus(HOUR);
    (0..length).for_each(|_| list.add_durable(&Entry::Session { sid: Sid::random(), expires_at }));
    // As the server does when it has loaded them, and from then on in pruning.
    list.fit();
}
