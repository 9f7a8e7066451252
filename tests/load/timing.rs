//! Timing of refused logins: it does not reveal whether an account exists, is disabled, or has a hash with other costs. A
//! hash with higher costs is replaced at the first login of its user, and is covered after that.

use std::time::{Duration, Instant};

use crate::harness::{Home, PASSWORD, Server};
use crate::{Wire, alone};

/// Number of logins for each case.
const TRIES: usize = 300;
/// Maximum number of measurements. One of them must pass, because other programs also use this machine.
const MAX_ROUNDS: usize = 5;
const CASES: [(&str, &str); 6] = [
    ("an unknown user", "nobody"),
    ("a wrong password", "alice"),
    ("a disabled user", "mallory"),
    ("an account whose stored hash is weaker", "walter"),
    ("an account whose stored hash was costlier", COSTLIER),
    ("an account whose stored hash cannot be checked", "ursula"),
];
const COSTLIER: &str = "dora";

#[test]
fn refused_logins_take_the_same_time_with_equal_responses() {
    let _alone = alone();
    let settings = ["throttle.network_burst=0", "throttle.account_and_network_burst=0", "throttle.account_burst=0"];
    let home = Home::with_settings(&settings);
    let cost = ["--set", "password.memory_kib=19456", "--set", "password.passes=2"];
    for login in ["alice", "mallory"] {
        let _ = home.run(&["users", "delete", login]);
        let add = home.run_with_input(&[&["users", "add", login][..], &cost].concat(), &format!("{PASSWORD}\n"));
        assert!(add.status.success());
    }
    for (login, memory) in [(COSTLIER, "password.memory_kib=77824"), ("ursula", "password.memory_kib=200000")] {
        let cost = ["users", "add", login, "--set", memory, "--set", "password.passes=2"];
        assert!(home.run_with_input(&cost, &format!("{PASSWORD}\n")).status.success());
    }
    home.add_user("walter");
    home.run_ok(&["users", "disable", "mallory"]);
    let budget = ["--set", "password.memory_budget_kib=180000", "--set", "password.threads=1"];
    let server = home.start_with(&[cost, budget].concat(), &[]);
    let before = [COSTLIER, "nobody"].map(|login| shortest(&server.public, login));
    println!("before its first sign-in: a costlier hash {:?}, an unknown user {:?}", before[0], before[1]);
    assert!(before[0] > before[1] * 2, "before the first login, the costlier hash is measurable");
    let signed_in = Wire::to(&server.public).sign_in("192.0.2.1", &Server::login_body(COSTLIER, PASSWORD));
    assert_eq!(signed_in.status, 200);
    let mut apart = f64::INFINITY;
    for round in 1..=MAX_ROUNDS {
        apart = difference(&server.public, round);
        if apart <= 0.05 {
            break;
        }
    }
    assert!(apart <= 0.05, "they are {:.1} % apart, {MAX_ROUNDS} times", apart * 100.0);
}

/// Returns the shortest time of five refused logins.
fn shortest(host: &str, login: &str) -> Duration {
    let mut wire = Wire::to(host);
    let body = Server::login_body(login, "wrong password");
    let refused = |_| {
        let started = Instant::now();
        assert_eq!(wire.sign_in("192.0.2.1", &body).status, 401);
        started.elapsed()
    };
    (0..5).map(refused).min().expect("five times")
}

/// Returns the relative difference between the slowest and the fastest case. The time of a case is the 10th percentile of its
/// tries, because other programs on the machine only add time, so short times are closest to the real work.
fn difference(host: &str, round: usize) -> f64 {
    let mut wire = Wire::to(host);
    let mut times: [Vec<Duration>; CASES.len()] = Default::default();
    let mut replies = Vec::new();
    for number in 0..TRIES * CASES.len() {
        // The order of the cases changes in each round, so that no case always follows the same other case.
        let case = (number + number / CASES.len()) % CASES.len();
        let (_, login) = CASES[case];
        let password = if login == "mallory" { PASSWORD } else { "wrong password" };
        let body = Server::login_body(login, password);
        let started = Instant::now();
        let reply = wire.sign_in("192.0.2.1", &body);
        times[case].push(started.elapsed());
        replies.push((reply.status, reply.fields, reply.body));
    }
    assert!(
        replies.windows(2).all(|pair| pair[0] == pair[1]),
        "all responses are equal except for the date and the request id"
    );
    assert_eq!(replies[0].0, 401);
    let short = times.each_mut().map(|times| {
        times.sort();
        times[TRIES / 10].as_secs_f64()
    });
    let apart = short.iter().copied().fold(0.0, f64::max) / short.iter().copied().fold(f64::INFINITY, f64::min) - 1.0;
    let named: Vec<_> =
        CASES.iter().zip(short).map(|((what, _), time)| format!("{what} {:.2} ms", time * 1e3)).collect();
    println!("round {round}: they are {:.1} % apart: {}", apart * 100.0, named.join(", "));
    apart
}
