//! Measures the cost of copy detection: the time of checks and of renewals with and without it, and its memory per session.
//!
//! Expected: no extra time for a check of a session that is not due for renewal, little for a renewal, and about 50 bytes per
//! session.

use std::sync::Arc;
use std::time::Duration;

use sealjar::clock::Now;
use sealjar::session::Sessions;
use sealjar::session::claims::Methods;
use sealjar::session::copy_detection::DEFAULT_MEMORY_BYTES;
use sealjar::session::lifetime::RenewalWindow;

use crate::fixture::{Token, alice, list_of, sessions_under, site};
use crate::harness::{Case, measure_alternately, median, paired, resident_bytes};

/// Name of the case with which the others are compared.
const BASELINE: &str = "verify, not due, copies not looked for";
/// Time after which a session is due for renewal.
const RENEWAL_AGE: Duration = Duration::from_secs(300);

/// Prints a table of checks and renewals with and without copy detection, and the memory of this many sessions.
pub(crate) fn print_cost_of_detection(count: usize, rounds: usize, batch: usize) {
    let now = Now::read();
    let later = Now { wall: now.wall.plus(RENEWAL_AGE), boot: now.boot + RENEWAL_AGE };
    let [without, with] = [None, Some(DEFAULT_MEMORY_BYTES)].map(|memory| {
        let sessions = sessions_under(Arc::new(list_of(&[], now.wall, now)));
        sessions.detect_copies(memory);
        sessions
    });
    let memory_bytes = memory_growth(&with, count, now, later);
    let tokens: Vec<Token> = (0..4096).map(|_| Token::sealed_by(&with, now)).collect();
    let pick = |number: usize| &tokens[number % tokens.len()];
    let verify = |sessions: &Sessions, number: usize, now: Now| {
        let fields = [pick(number).header.as_slice()];
        let copied = |_| unreachable!("each token is presented by one holder");
        sessions
            .verify_and_detect(fields, site(), now, RenewalWindow::WhenDue, copied, |session| session.claims().sid)
            .expect("live")
    };
    let renew = |sessions: &Sessions, number: usize| {
        let fields = [pick(number).header.as_slice()];
        let copied = |_| unreachable!("each token is presented by one holder");
        let renewed = sessions.verify_and_detect(fields, site(), later, RenewalWindow::WhenDue, copied, |session| {
            sessions.renew(session, RenewalWindow::WhenDue).expect("an active key")
        });
        renewed.expect("live").expect("due")
    };
    let cases = [
        Case::baseline(BASELINE, |number| verify(&without, number, now)),
        Case::compared_to(BASELINE, "verify, not due", |number| verify(&with, number, now)),
        Case::compared_to(BASELINE, "verify, due, copies not looked for", |number| verify(&without, number, later)),
        Case::compared_to(BASELINE, "verify, due", |number| verify(&with, number, later)),
        Case::compared_to(BASELINE, "verify and renew, copies not looked for", |number| renew(&without, number).sid),
        Case::compared_to(BASELINE, "verify and renew", |number| renew(&with, number).sid),
    ];
    let measured = measure_alternately(cases, rounds, batch, |number| pick(number).read_all());
    let (_, base) = &measured[0];
    println!("| operation | ns | ratio | difference, ns |");
    println!("|---|---:|---:|---:|");
    for (case, samples) in &measured {
        let ratio = paired(samples, base, |case, raw| case / raw);
        let difference = paired(samples, base, |case, raw| case - raw);
        println!("| {} | {:.0} | {ratio:.2} | {difference:+.0} |", case.name, median(samples.clone()));
    }
    let bytes_each = memory_bytes.map(|bytes| format!("{:.1}", bytes as f64 / count as f64)).unwrap_or_default();
    println!(
        "\nCopy detection remembers {count} sessions in {bytes_each} resident bytes each. The limit is {} MiB.\n",
        DEFAULT_MEMORY_BYTES >> 20
    );
}

/// Returns the growth of the process in bytes while copy detection records this number of sessions. `None` if the system does not
/// report it.
fn memory_growth(sessions: &Sessions, count: usize, now: Now, later: Now) -> Option<u64> {
    let before = resident_bytes();
    for _ in 0..count {
        let sealed = sessions.sign_in(&alice(), Methods::PASSWORD, false, b"", site(), now).expect("short");
        let header = Token::header(sealed.token.expose());
        let verified = sessions.verify_and_detect(
            [header.as_slice()],
            site(),
            later,
            RenewalWindow::WhenDue,
            |_| (),
            |session| session.claims().sid,
        );
        assert_eq!(verified, Ok(sealed.sid));
    }
    let recorded = sessions.copy_detection().expect("copy detection is on").chains;
    assert!(recorded * 100 >= count * 99, "only {recorded} of {count} sessions are recorded");
    resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before))
}
