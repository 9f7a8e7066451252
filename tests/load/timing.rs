//! Nobody learns from the time of a refusal whether an account exists, is disabled, or has an old hash.

use std::time::{Duration, Instant};

use crate::harness::{Home, PASSWORD, Server};
use crate::{Wire, alone};

const TRIES: usize = 300;
const CASES: [(&str, &str); 4] = [
    ("an unknown user", "nobody"),
    ("a wrong password", "alice"),
    ("a disabled user", "mallory"),
    ("an account whose stored hash is weaker", "walter"),
];

#[test]
fn refused_sign_ins_take_the_same_time_and_say_the_same() {
    let _alone = alone();
    let settings = ["throttle.network_burst=0", "throttle.account_and_network_burst=0", "throttle.account_burst=0"];
    let home = Home::with_settings(&settings);
    let cost = ["--set", "password.memory_kib=9728", "--set", "password.passes=2"];
    for login in ["alice", "mallory"] {
        let _ = home.run(&["users", "delete", login]);
        let add = home.run_with_input(&[&["users", "add", login][..], &cost].concat(), &format!("{PASSWORD}\n"));
        assert!(add.status.success());
    }
    home.add_user("walter");
    home.ok(&["users", "disable", "mallory"]);
    let server = home.start_with(&cost, &[]);
    let mut wire = Wire::to(&server.public);
    let mut times: [Vec<Duration>; 4] = Default::default();
    let mut replies = Vec::new();
    for number in 0..TRIES * CASES.len() {
        // Each round in another order, so that none always comes after the same.
        let case = (number + number / CASES.len()) % CASES.len();
        let (_, login) = CASES[case];
        let password = if login == "mallory" { PASSWORD } else { "wrong password" };
        let body = Server::login_body(login, password);
        let started = Instant::now();
        let reply = wire.sign_in("192.0.2.1", &body);
        times[case].push(started.elapsed());
        replies.push((reply.status, reply.fields, reply.body));
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "all answers are alike but for their date");
    assert_eq!(replies[0].0, 401);
    let medians = times.each_mut().map(|times| {
        times.sort();
        times[TRIES / 2]
    });
    for ((what, _), median) in CASES.iter().zip(medians) {
        println!("{what}: median {median:?}");
    }
    let (least, most) = (medians.iter().min().expect("four"), medians.iter().max().expect("four"));
    let apart = most.as_secs_f64() / least.as_secs_f64() - 1.0;
    println!("medians are {:.1} % apart", apart * 100.0);
    assert!(apart <= 0.05, "{medians:?}");
}
