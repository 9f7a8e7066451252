//! Simulations of an owner and a thief on one node. If both renew their cookies, the copy is found before both have renewed
//! three times, as `World::record_due` asserts. Every thief in this file who sends a due cookie is found.

use super::holder::{CLICKS, Habit, POLLS, SPARSE};
use super::request::{Front, GET, POST, UNTRUSTED};
use super::rng::Rng;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND, full_or_reduced};

/// Runs schedules in which a thief with these habits copies the cookie of the owner. Returns the detection times in minutes.
fn detection_times(setup: &Setup, owner: &[Habit], thief: &[Habit], again_after: u64, schedules: u64) -> Vec<u64> {
    (0..schedules)
        .map(|seed| {
            let delay = HOUR / 2 + Rng::new(seed).below(HOUR);
            let mut world = World::new(seed, setup.clone(), owner);
            world.add_thief(delay, again_after, thief);
            world.run(8 * HOUR);
            let (stolen, _) = world.stolen.expect("the cookie was copied");
            match world.caught {
                Some(at) => (at - stolen) / MINUTE,
                None => world.fail("the thief was not found"),
            }
        })
        .collect()
}

/// Asserts that the thief is found within this number of minutes in every schedule.
fn assert_found_within(setup: &Setup, owner: &[Habit], thief: &[Habit], minutes: u64) {
    let times = detection_times(setup, owner, thief, 0, full_or_reduced(400, 10));
    let max_minutes = times.iter().max().expect("at least one schedule");
    assert!(*max_minutes <= minutes, "found after {max_minutes} minutes");
}

#[test]
fn a_thief_who_polls_is_found_in_three_renewals() {
    assert_found_within(&Setup::default(), &[CLICKS], &[POLLS], 20);
    assert_found_within(&Setup::default(), &[SPARSE], &[POLLS], 25);
}

#[test]
fn a_thief_in_lockstep_is_found_in_three_renewals() {
    for owner in [CLICKS, SPARSE, POLLS] {
        assert_found_within(&Setup::default(), &[owner], &[Habit::with_owner(GET)], 30);
    }
}

#[test]
fn a_thief_one_step_ahead_is_found_in_three_renewals() {
    for owner in [CLICKS, SPARSE, POLLS] {
        assert_found_within(&Setup::default(), &[owner], &[Habit::when_due(GET)], 25);
    }
}

#[test]
fn a_thief_who_rarely_sends_requests_is_found_at_the_first() {
    let rare = Habit::every(GET, 25 * MINUTE, 25 * MINUTE);
    assert_found_within(&Setup::default(), &[CLICKS], &[rare], 27);
}

#[test]
fn a_thief_who_copies_the_cookie_every_hour_is_found() {
    let times = detection_times(&Setup::default(), &[CLICKS], &[POLLS], HOUR, full_or_reduced(400, 10));
    assert!(times.iter().all(|minutes| *minutes <= 20), "{times:?}");
}

#[test]
fn a_thief_who_only_posts_is_found() {
    for owner in [CLICKS, SPARSE] {
        let posts = Habit::every(POST, MINUTE, MINUTE);
        assert_found_within(&Setup::default(), &[owner], &[posts], 80);
        assert_found_within(&Setup { front: UNTRUSTED, ..Setup::default() }, &[owner], &[posts], 80);
    }
}

/// The requests of thief and owner make the application write new data in each response.
#[test]
fn a_thief_in_lockstep_who_triggers_new_data_is_found() {
    let setup = Setup { front: Front::Embedded, max_duration: 85 * SECOND, ..Setup::default() };
    for thief in
        [Habit::with_owner(GET.writing()), Habit::when_due(GET.writing()), Habit { template: GET.writing(), ..POLLS }]
    {
        for owner in [Habit { template: GET.writing(), ..CLICKS }, Habit { template: GET.writing(), ..SPARSE }] {
            assert_found_within(&setup, &[owner], &[thief], 40);
        }
    }
}

#[test]
fn a_thief_who_never_sends_a_due_cookie_is_not_found() {
    let mut world = World::new(1, Setup::default(), &[CLICKS]);
    world.add_thief(HOUR, 0, &[]);
    world.run(8 * HOUR);
    assert_eq!(world.caught, None);
}
