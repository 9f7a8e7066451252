//! Random schedules of a single browser, within the bound of the proof in `src/session/copy_detection.rs`.

use super::holder::{CLICKS, Habit, POLLS, SPARSE};
use super::request::{Front, GET, PAGE, POST, PROXY, RENEW, RequestTemplate, UNTRUSTED};
use super::rng::Rng;
use super::tally::Tally;
use super::world::{Setup, World};
use super::{HOUR, MINUTE, SECOND};
use crate::fixture::{REMEMBERED, lifetime};

/// Maximum difference between two clocks: S in the proof.
const SKEW: u64 = MINUTE;

const DROPPING: Front = Front::Proxy { is_trusted: true, drops: true, redirects: false };
const REDIRECTING: Front = Front::Proxy { is_trusted: true, drops: false, redirects: true };

/// Runs the schedule that this seed determines, for this number of hours.
pub(super) fn run(seed: u64, hours: u64) -> Tally {
    let (setup, habits) = of_seed(seed);
    World::new(seed, setup, &habits).run(hours * HOUR).tally
}

/// Returns the parameters and habits that this seed determines.
pub(super) fn of_seed(seed: u64) -> (Setup, Vec<Habit>) {
    let mut rng = Rng::new(!seed);
    let remembered = rng.permille(100);
    let lifetime = match rng.below(4) {
        _ if remembered => REMEMBERED,
        0 => lifetime(18 * 60, 5 * 3600),
        1 => lifetime(2 * 3600, 8 * 3600),
        _ => lifetime(30 * 60, 12 * 3600),
    };
    let interval = lifetime.renewal_interval().as_secs() * SECOND;
    let front = rng.one_of(&[PROXY, PROXY, UNTRUSTED, DROPPING, REDIRECTING, Front::Embedded, Front::Embedded]);
    let writes = front == Front::Embedded && rng.permille(700);
    let skews = (0..rng.uniform((1, 3))).map(|_| rng.below(SKEW + 1) as i64 - SKEW as i64 / 2).collect();
    // The library rounds times to whole seconds, so one second is subtracted.
    let max_duration = if writes { (interval - 2 * SKEW) / 2 } else { (interval - SKEW) / 2 } - SECOND;
    let setup = Setup {
        skews,
        lifetime,
        remembered,
        front,
        network: rng.one_of(&[(5, 100), (50, 5 * SECOND)]),
        max_duration,
        slow: if writes { 0 } else { rng.one_of(&[0, 2, 30, 300]) },
        lost: rng.one_of(&[0, 5, 50]),
        restarts: rng.one_of(&[0, 0, 2 * HOUR]),
        suspends: rng.one_of(&[0, 0, 6 * HOUR]),
        // The last third of a short idle timeout can pass without a check, if requests are slow and come every four minutes.
        is_steady: front != UNTRUSTED || lifetime.idle.as_secs() >= 30 * 60,
        ..Setup::default()
    };
    let habits = habits(&mut rng, &setup, writes);
    (setup, habits)
}

/// Whether the requests every four minutes keep the cookie younger than two thirds of the idle timeout.
fn never_in_last_third(setup: &Setup) -> bool {
    let is_renewed = setup.front != UNTRUSTED && !setup.front.redirects() && setup.lost == 0 && setup.suspends == 0;
    setup.front.drops() || setup.front.redirects() || (is_renewed && setup.restarts == 0)
}

fn habits(rng: &mut Rng, setup: &Setup, writes: bool) -> Vec<Habit> {
    let writing = |template: RequestTemplate| if writes { template.writing() } else { template };
    // If the response to an upload can set a cookie, D applies to the upload.
    let max_duration = if never_in_last_third(setup) { 15 * MINUTE } else { setup.max_duration };
    let upload = RequestTemplate::upload((MINUTE, 15 * MINUTE), max_duration);
    let clicks = writing(GET.taking((20, 5 * SECOND)));
    let parts = rng.one_of(&[8, 50]);
    let all = [
        Habit { template: clicks, ..CLICKS },
        Habit::after(writing(POST), 5 * SECOND, 5 * MINUTE),
        Habit::page_loads(writing(GET), parts, 20 * SECOND, 60 * SECOND),
        Habit { template: writing(GET), ..POLLS },
        Habit::every(PAGE, 20 * MINUTE, 20 * MINUTE),
        Habit::after(upload, 10 * SECOND, 30 * MINUTE),
        Habit::after(PAGE, SECOND, 3 * MINUTE),
    ];
    let mut habits: Vec<_> = (0..rng.uniform((0, 3))).map(|_| rng.one_of(&all)).collect();
    habits.push(if setup.front.drops() {
        Habit::every(RENEW, 4 * MINUTE, 4 * MINUTE)
    } else {
        Habit { template: if setup.front.redirects() { PAGE } else { GET }, ..SPARSE }
    });
    habits
}
