//! Flood of logins with wrong passwords, ten times as many as the server can hash. No session check waits for a hash.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Home, PASSWORD, Server};
use crate::{Wire, alone};

/// CPU cores of the server and of the load.
const CORES: [&str; 2] = ["0", "1"];
const BUDGET_KIB: u64 = 40_000;
/// Number of status requests of a measurement. One is sent every 2 ms.
const SAMPLES: usize = 2_000;
/// Maximum number of measurements. One of them must pass, because other programs also use this machine.
const MAX_ROUNDS: usize = 5;
const FLOODERS: usize = 64;
/// Address of the account's real user.
const HOME: &str = "192.0.2.1";

#[test]
fn under_a_flood_of_sign_ins_no_session_waits_for_a_hash() {
    let _alone = alone();
    // Move this process to the second core, including threads that it starts later.
    let own_pid = std::process::id().to_string();
    assert!(
        Command::new("taskset").args(["-apc", CORES[1], &own_pid]).output().expect("taskset runs").status.success()
    );
    let budget = format!("password.memory_budget_kib={BUDGET_KIB}");
    let settings =
        ["password.memory_kib=19456", "password.passes=4", "password.threads=1", "throttle.network_burst=10"];
    let home = Home::with_settings(
        &[&settings[..], &[&budget, "password.queue=16", "http.trusted_proxies=127.0.0.1"]].concat(),
    );
    let server = home.start();
    let pid = server.pid().to_string();
    assert!(Command::new("taskset").args(["-apc", CORES[0], &pid]).output().expect("taskset runs").status.success());
    let host = server.public.as_str();
    let rate = sign_ins_a_second(host);
    // The password threads have hashed passwords, so they have set their priority.
    assert_eq!(
        niceness_of_password_threads(&pid),
        [10],
        "the priority is lower than that of the threads that process requests"
    );
    let hash = Duration::from_secs_f64(1.0 / rate);
    let session = signed_in(host);
    println!("the server needs {hash:?} for a password on its core; the flood brings ten in that time");
    let mut passed = false;
    for round in 1..=MAX_ROUNDS {
        let calm = p99(host, &session);
        let ((flooded, longest), answers) =
            flood(host, rate * 10.0, || (p99(host, &session), longest_sign_in_of_a_known_user(host)));
        println!(
            "round {round}: under the flood, all ten logins of the account's real user succeed within {longest:?}"
        );
        println!("round {round}: p99 of /auth/status {calm:?} without the flood, {flooded:?} with it; {answers:?}");
        let Answers { refused, throttled, overloaded } = answers;
        assert!(refused > 0 && throttled > 0, "{answers:?}");
        assert!(overloaded + throttled > 5 * refused, "the flood was too small: {answers:?}");
        // A request that waits for a password thread takes at least as long as one hash.
        passed = flooded * 2 < hash;
        if passed {
            break;
        }
    }
    let peak = peak_kib(&pid);
    println!("at most {} MiB resident, of which {} MiB may be for passwords", peak / 1024, BUDGET_KIB / 1024);
    assert!(peak <= BUDGET_KIB + 64 * 1024, "{peak} KiB");
    assert!(passed, "p99 over half the time of a hash, {MAX_ROUNDS} times");
}

/// Number of responses to the flood: 401, 429 and 503.
#[derive(Debug, Default, Clone, Copy)]
struct Answers {
    refused: usize,
    throttled: usize,
    overloaded: usize,
}

/// Floods the server while `measured` runs. Each login has another account. A quarter of the logins comes from one network,
/// and each of the others from another network.
fn flood<R>(host: &str, a_second: f64, measured: impl FnOnce() -> R) -> (R, Answers) {
    let stop = AtomicBool::new(false);
    let sent = AtomicUsize::new(0);
    let answers = Mutex::new(Answers::default());
    let started = Instant::now();
    let flooder = || {
        // The measuring threads have a higher priority.
        rustix::process::setpriority_process(None, 10).expect("a process may lower its priority");
        let mut wire = Wire::to(host);
        while !stop.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let due = started + Duration::from_secs_f64(number as f64 / a_second);
            // This sleep sets the rate of the flood. It does not wait for a result.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let client = if number.is_multiple_of(4) { 7 } else { number + 256 };
            let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(client).expect("small"));
            let body = Server::login_body(&format!("user{number}"), "wrong password");
            let status = wire.sign_in(&client.to_string(), &body).status;
            let mut answers = answers.lock().expect("no flooder panics");
            match status {
                401 => answers.refused += 1,
                429 => answers.throttled += 1,
                503 => answers.overloaded += 1,
                other => panic!("the response to a login was {other}"),
            }
        }
    };
    let measured = std::thread::scope(|scope| {
        for _ in 0..FLOODERS {
            scope.spawn(flooder);
        }
        let measured = measured();
        stop.store(true, Ordering::Relaxed);
        measured
    });
    (measured, answers.into_inner().expect("no flooder panicked"))
}

/// Returns the 99th percentile of the times of status requests with a live session. Each response must be 200.
fn p99(host: &str, cookie: &str) -> Duration {
    let mut wire = Wire::to(host);
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            // This sleep sets the rate of the requests. It does not wait for a result.
            std::thread::sleep(Duration::from_millis(2));
            let started = Instant::now();
            let reply = wire.get("/auth/status", cookie);
            let time = started.elapsed();
            assert_eq!(reply.status, 200, "{}", reply.body);
            time
        })
        .collect();
    times.sort();
    times[SAMPLES * 99 / 100]
}

/// Returns the longest time of ten logins from a network from which the user has logged in before. Each login must succeed.
fn longest_sign_in_of_a_known_user(host: &str) -> Duration {
    let mut wire = Wire::to(host);
    let sign_in = |_| {
        let started = Instant::now();
        let reply = wire.sign_in(HOME, &Server::login_body("alice", PASSWORD));
        assert_eq!(reply.status, 200, "{}", reply.body);
        started.elapsed()
    };
    (0..10).map(sign_in).max().expect("ten")
}

fn signed_in(host: &str) -> String {
    let reply = Wire::to(host).sign_in(HOME, &Server::login_body("alice", PASSWORD));
    let cookie = reply.fields.iter().find_map(|field| field.strip_prefix("set-cookie: "));
    cookie.expect("a session").split(';').next().expect("a cookie").to_owned()
}

fn sign_ins_a_second(host: &str) -> f64 {
    let mut wire = Wire::to(host);
    let started = Instant::now();
    for number in 0..20 {
        let reply = wire.sign_in(&format!("192.0.2.{number}"), &Server::login_body("alice", PASSWORD));
        assert_eq!(reply.status, 200);
    }
    20.0 / started.elapsed().as_secs_f64()
}

/// Returns the nice value of each password thread, from field 19 of `/proc/<pid>/task/<tid>/stat` (`proc_pid_stat(5)`).
fn niceness_of_password_threads(pid: &str) -> Vec<i32> {
    let read = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("stat")).expect("it runs");
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let stats = threads.map(|thread| read(thread.expect("an entry")));
    let password = stats.filter(|stat| stat.contains("(password"));
    // The name is the second field, and may contain spaces.
    let niceness = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok();
    password.map(|stat| niceness(stat).expect("a number")).collect()
}

/// Returns the maximum resident memory of the process so far, in KiB.
fn peak_kib(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
