//! Schedules of lone browsers that are too rare, or too important, to be left to chance.

use super::holder::{CLICKS, Habit, POLLS, SPARSE};
use super::request::{Ask, Front, GET, LONGEST_UPLOAD, PAGE, POST, PROXY, UNTRUSTED};
use super::tally::Tally;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, stated_or};
use crate::fixture::lifetime;

const THREE_NODES: [i64; 3] = [-30_000, 30_000, 0];

/// Lets browsers with these habits live for twelve hours each.
fn run(setup: &Setup, habits: &[Habit]) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..stated_or(200, 2) {
        tally.add(&World::new(seed, setup.clone(), habits).run(12 * HOUR - MINUTE).tally);
    }
    tally
}

#[test]
fn an_upload_of_ten_minutes_beside_clicks_is_safe() {
    let upload = Habit::after(Ask::upload((10 * MINUTE, 15 * MINUTE), 15 * MINUTE), SECOND, 20 * MINUTE);
    for skews in [vec![0], THREE_NODES.to_vec()] {
        let setup = Setup { skews, slow: 10, ..Setup::default() };
        run(&setup, &[CLICKS, upload, upload]);
        run(&setup, &[SPARSE, upload]);
    }
}

/// All answers may renew in the last third only, so that two thirds of the idle time take the place of I.
#[test]
fn an_upload_without_a_trusted_proxy_is_safe() {
    let upload = Habit::after(Ask::upload((2 * MINUTE, 15 * MINUTE), LONGEST_UPLOAD), SECOND, 10 * MINUTE);
    for skews in [vec![0], THREE_NODES.to_vec()] {
        let setup = Setup { skews, front: UNTRUSTED, slow: 10, ..Setup::default() };
        run(&setup, &[CLICKS, upload, upload]);
        run(&setup, &[SPARSE, upload, upload]);
    }
}

/// As nginx does with `proxy_request_buffering`: the check sees the cookie of some minutes ago.
#[test]
fn an_upload_that_a_proxy_holds_for_five_minutes_is_safe() {
    let upload = Habit::after(Ask::held_upload((MINUTE, 5 * MINUTE), 5 * MINUTE), SECOND, 10 * MINUTE);
    for front in [PROXY, UNTRUSTED, Front::Embedded] {
        for skews in [vec![0], THREE_NODES.to_vec()] {
            run(&Setup { skews, front, ..Setup::default() }, &[CLICKS, upload]);
        }
    }
}

/// Beyond the bound: the cookie of an upload that was held for longer looks like a copy, if the user opens pages meanwhile.
#[test]
fn an_upload_that_a_proxy_holds_for_longer_looks_like_a_copy() {
    for minutes in [6, 8, 10, 14] {
        let span = minutes * MINUTE;
        let upload = Habit::after(Ask::held_upload((span, span), 15 * MINUTE), SECOND, 30 * MINUTE);
        let counts = [vec![0], THREE_NODES.to_vec()].map(|skews| {
            let setup = Setup { is_strict: false, skews, ..Setup::default() };
            run(&setup, &[CLICKS, upload]).copies
        });
        println!("uploads held for {minutes} minutes: {counts:?} sign-outs on 1 and 3 nodes");
        assert!(minutes < 8 || counts.iter().all(|count| *count > 0), "{minutes} minutes: {counts:?}");
    }
}

#[test]
fn a_get_every_four_minutes_keeps_the_session_to_its_end() {
    for front in [PROXY, UNTRUSTED] {
        for skews in [vec![0], THREE_NODES.to_vec()] {
            let setup = Setup { skews, front, slow: 100, ..Setup::default() };
            let tally = run(&setup, &[SPARSE]);
            assert_eq!((tally.expired, tally.sign_ins), (0, stated_or(200, 2)));
        }
    }
}

/// One every third of the idle time meets the last third, if all clocks agree.
#[test]
fn posts_every_third_of_the_idle_time_keep_the_session() {
    let post = Habit::every(POST.taking((0, 0)), 10 * MINUTE, 10 * MINUTE);
    let setup = Setup { network: (0, 0), ..Setup::default() };
    assert_eq!(run(&setup, &[post]).expired, 0);
    let post = Habit::every(POST, 8 * MINUTE, 8 * MINUTE + 30 * SECOND);
    let setup = Setup { skews: THREE_NODES.to_vec(), ..Setup::default() };
    assert_eq!(run(&setup, &[post]).expired, 0);
}

/// The last idle time before the absolute deadline, again and again.
#[test]
fn the_end_of_a_session_is_no_copy() {
    let setup =
        Setup { lifetime: lifetime(30 * 60, 40 * 60), skews: THREE_NODES.to_vec(), slow: 50, ..Setup::default() };
    let tally = run(&setup, &[CLICKS, POLLS, Habit::page_loads(GET, 8, MINUTE, 2 * MINUTE)]);
    assert!(tally.sign_ins >= 17 * stated_or(200, 2), "{tally}");
}

/// Nodes that forget all chains every few minutes.
#[test]
fn nodes_that_restart_all_the_time_sign_nobody_out() {
    let setup = Setup { skews: THREE_NODES.to_vec(), restarts: 4 * MINUTE, slow: 50, lost: 50, ..Setup::default() };
    run(&setup, &[CLICKS, Habit::after(PAGE, SECOND, MINUTE)]);
}

/// A user who was away for longer than two thirds of the idle time, and begins with an upload. The GETs beside it make children of
/// the same token, so that the proof allows seven minutes. Longer uploads are beyond the bound and only measured.
#[test]
fn an_upload_of_a_user_who_was_away_may_take_seven_minutes() {
    for minutes in [2, 4, 6, 7, 8, 10, 14] {
        let span = minutes * MINUTE;
        let upload = Habit::after(Ask::upload((span, span), 15 * MINUTE), SECOND, MINUTE);
        let setup = Setup { is_strict: false, suspends: 40 * MINUTE, slow: 100, ..Setup::default() };
        let tally = run(&setup, &[upload, CLICKS]);
        println!("uploads of {minutes} minutes: {tally}");
        assert!(minutes > 7 || tally.copies == 0, "{minutes} minutes: {tally}");
    }
}
