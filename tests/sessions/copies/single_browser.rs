//! Simulations of a single browser in cases that are too rare or too important for random schedules.

use super::holder::{CLICKS, Habit, POLLS, SPARSE};
use super::request::{Front, GET, MAX_UPLOAD_DURATION, PAGE, POST, PROXY, RequestTemplate, UNTRUSTED};
use super::tally::Tally;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, full_or_reduced};
use crate::fixture::lifetime;

const THREE_NODES: [i64; 3] = [-30_000, 30_000, 0];

/// Runs browsers with these habits for twelve hours each.
fn run(setup: &Setup, habits: &[Habit]) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..full_or_reduced(200, 2) {
        tally.add(&World::new(seed, setup.clone(), habits).run(12 * HOUR - MINUTE).tally);
    }
    tally
}

#[test]
fn an_upload_of_ten_minutes_with_concurrent_clicks_is_safe() {
    let upload = Habit::after(RequestTemplate::upload((10 * MINUTE, 15 * MINUTE), 15 * MINUTE), SECOND, 20 * MINUTE);
    for skews in [vec![0], THREE_NODES.to_vec()] {
        let setup = Setup { skews, slow: 10, ..Setup::default() };
        run(&setup, &[CLICKS, upload, upload]);
        run(&setup, &[SPARSE, upload]);
    }
}

/// Responses renew the session only in the last third of the idle timeout. In the proof, two thirds of the idle timeout
/// therefore replace the interval I.
#[test]
fn an_upload_without_a_trusted_proxy_is_safe() {
    let upload =
        Habit::after(RequestTemplate::upload((2 * MINUTE, 15 * MINUTE), MAX_UPLOAD_DURATION), SECOND, 10 * MINUTE);
    for skews in [vec![0], THREE_NODES.to_vec()] {
        let setup = Setup { skews, front: UNTRUSTED, slow: 10, ..Setup::default() };
        run(&setup, &[CLICKS, upload, upload]);
        run(&setup, &[SPARSE, upload, upload]);
    }
}

/// With `proxy_request_buffering`, nginx buffers the whole upload before the check. The check then receives a cookie that is
/// some minutes old.
#[test]
fn an_upload_that_a_proxy_holds_for_five_minutes_is_safe() {
    let upload = Habit::after(RequestTemplate::buffered_upload((MINUTE, 5 * MINUTE), 5 * MINUTE), SECOND, 10 * MINUTE);
    for front in [PROXY, UNTRUSTED, Front::Embedded] {
        for skews in [vec![0], THREE_NODES.to_vec()] {
            run(&Setup { skews, front, ..Setup::default() }, &[CLICKS, upload]);
        }
    }
}

/// Beyond the bound: if the proxy buffers an upload for longer and the user opens pages meanwhile, its cookie looks like a
/// copy.
#[test]
fn an_upload_that_a_proxy_holds_for_longer_looks_like_a_copy() {
    for minutes in [6, 8, 10, 14] {
        let span = minutes * MINUTE;
        let upload = Habit::after(RequestTemplate::buffered_upload((span, span), 15 * MINUTE), SECOND, 30 * MINUTE);
        let counts = [vec![0], THREE_NODES.to_vec()].map(|skews| {
            let setup = Setup { is_strict: false, skews, ..Setup::default() };
            run(&setup, &[CLICKS, upload]).copies
        });
        println!("uploads held for {minutes} minutes: {counts:?} logouts on 1 and 3 nodes");
        assert!(minutes < 8 || counts.iter().all(|count| *count > 0), "{minutes} minutes: {counts:?}");
    }
}

#[test]
fn a_get_every_four_minutes_keeps_the_session_to_its_end() {
    for front in [PROXY, UNTRUSTED] {
        for skews in [vec![0], THREE_NODES.to_vec()] {
            let setup = Setup { skews, front, slow: 100, ..Setup::default() };
            let tally = run(&setup, &[SPARSE]);
            assert_eq!((tally.expired, tally.sign_ins), (0, full_or_reduced(200, 2)));
        }
    }
}

/// If all clocks agree, a request at every third of the idle timeout includes one in the last third.
#[test]
fn posts_every_third_of_the_idle_timeout_keep_the_session() {
    let post = Habit::every(POST.taking((0, 0)), 10 * MINUTE, 10 * MINUTE);
    let setup = Setup { network: (0, 0), ..Setup::default() };
    assert_eq!(run(&setup, &[post]).expired, 0);
    let post = Habit::every(POST, 8 * MINUTE, 8 * MINUTE + 30 * SECOND);
    let setup = Setup { skews: THREE_NODES.to_vec(), ..Setup::default() };
    assert_eq!(run(&setup, &[post]).expired, 0);
}

/// Uses short sessions. Most of the time, a session is within one idle timeout of its absolute deadline.
#[test]
fn the_end_of_a_session_does_not_look_like_a_copy() {
    let setup =
        Setup { lifetime: lifetime(30 * 60, 40 * 60), skews: THREE_NODES.to_vec(), slow: 50, ..Setup::default() };
    let tally = run(&setup, &[CLICKS, POLLS, Habit::page_loads(GET, 8, MINUTE, 2 * MINUTE)]);
    assert!(tally.sign_ins >= 17 * full_or_reduced(200, 2), "{tally}");
}

/// A node restarts every few minutes, and loses all token chains.
#[test]
fn frequent_restarts_of_nodes_end_no_session() {
    let setup = Setup { skews: THREE_NODES.to_vec(), restarts: 4 * MINUTE, slow: 50, lost: 50, ..Setup::default() };
    run(&setup, &[CLICKS, Habit::after(PAGE, SECOND, MINUTE)]);
}

/// The browser was suspended for more than two thirds of the idle timeout, and the user starts with an upload. Concurrent GET
/// requests renew the same token, so the proof allows seven minutes. Longer uploads are beyond the bound and are only
/// measured.
#[test]
fn an_upload_after_a_long_pause_may_take_seven_minutes() {
    for minutes in [2, 4, 6, 7, 8, 10, 14] {
        let span = minutes * MINUTE;
        let upload = Habit::after(RequestTemplate::upload((span, span), 15 * MINUTE), SECOND, MINUTE);
        let setup = Setup { is_strict: false, suspends: 40 * MINUTE, slow: 100, ..Setup::default() };
        let tally = run(&setup, &[upload, CLICKS]);
        println!("uploads of {minutes} minutes: {tally}");
        assert!(minutes > 7 || tally.copies == 0, "{minutes} minutes: {tally}");
    }
}
