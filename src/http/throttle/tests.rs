use super::*;
use std::net::{IpAddr, Ipv4Addr};

const LIMITS: Limits = Limits {
    network: Rate { burst: 20, interval: Duration::from_secs(6) },
    account_and_network: Rate { burst: 5, interval: Duration::from_secs(60) },
    account: Rate { burst: 50, interval: Duration::from_secs(60) },
};
const NOW: Duration = Duration::from_secs(1_000);

fn name(text: &str) -> LoginName {
    text.parse().expect("a login name")
}

fn network(number: u32) -> Network {
    IpAddr::V4(Ipv4Addr::from_bits(number)).into()
}

/// One failed attempt, if it is let in.
fn fail(throttle: &Throttle, account: &str, from: u32) -> Result<(), Limit> {
    let account = &name(account);
    let attempt = LoginAttempt { account, network: network(from), session: None };
    throttle.admit(attempt, NOW).map(drop).map_err(|throttled| throttled.by)
}

fn succeed(throttle: &Throttle, account: &str, from: u32, session: Option<Sid>, now: Duration) -> Result<(), Limit> {
    let attempt = LoginAttempt { account: &name(account), network: network(from), session };
    throttle.admit(attempt, now).map(|attempt| attempt.succeeded(now)).map_err(|throttled| throttled.by)
}

/// Uses up the account's own limit from many networks.
fn attack(throttle: &Throttle, account: &str) {
    let tries = (1_000..2_000).map(|from| fail(throttle, account, from));
    assert_eq!(tries.filter(Result::is_ok).count(), 50);
    assert_eq!(fail(throttle, account, 5_000), Err(Limit::Account), "a network that never failed, but a stranger's");
}

#[test]
fn failures_of_one_network_stop_no_others_and_no_other_accounts() {
    let throttle = Throttle::new(LIMITS);
    assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork));
    assert_eq!((fail(&throttle, "alice", 2), fail(&throttle, "bob", 1)), (Ok(()), Ok(())));
    let others = (0..100).map(|number| fail(&throttle, &format!("user{number}"), 1));
    assert_eq!(others.filter(Result::is_ok).count(), 14, "20 from a network, whatever the accounts");
    assert_eq!(fail(&throttle, "carol", 1), Err(Limit::Network));
}

#[test]
fn the_accounts_own_user_is_let_in_under_attack_from_elsewhere() {
    let throttle = Throttle::new(LIMITS);
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
    attack(&throttle, "alice");
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()), "from a network that is known to the account");
    assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Err(Limit::Account), "and not from one that is not");
    let sid = Some(Sid::from_bytes([1; 16]));
    assert_eq!(succeed(&throttle, "alice", 2, sid, NOW), Ok(()), "but with a token of the account");
    assert_eq!(succeed(&throttle, "alice", 2, None, NOW), Ok(()), "whose network is known from then on");
    attack(&throttle, "bob");
    assert_eq!(succeed(&throttle, "bob", 1, None, NOW), Err(Limit::Account), "known to one account is not to another");
}

#[test]
fn a_network_is_known_for_thirty_days() {
    let throttle = Throttle::new(Limits { account: Rate { burst: 1, interval: KNOWN_FOR * 2 }, ..LIMITS });
    assert_eq!(succeed(&throttle, "alice", 1, None, NOW), Ok(()));
    assert_eq!(fail(&throttle, "alice", 2), Ok(()));
    let almost = NOW + KNOWN_FOR - Duration::from_secs(1);
    let known = |now| throttle.admit(LoginAttempt { account: &name("alice"), network: network(1), session: None }, now);
    assert!(known(almost).is_ok());
    assert!(known(almost + Duration::from_secs(1)).is_err());
}

#[test]
fn a_guesser_with_a_stolen_token_has_the_tries_of_one_network() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let tries = (0..100).map(|from| {
        let session = Some(Sid::from_bytes([1; 16]));
        throttle.admit(LoginAttempt { account: &alice, network: network(from), session }, NOW).map(drop)
    });
    assert_eq!(tries.filter(Result::is_ok).count(), 5);
}

#[test]
fn a_success_forgets_only_failures_of_its_account_and_network() {
    let throttle = Throttle::new(LIMITS);
    for _ in 0..10 {
        assert!((0..4).all(|_| matches!(fail(&throttle, "alice", 1), Ok(()) | Err(Limit::Network))));
        let _ = succeed(&throttle, "alice", 1, None, NOW);
    }
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::Network), "the network's failures stay");
    assert!((0..50).all(|_| succeed(&throttle, "bob", 2, None, NOW).is_ok()), "successes are not counted");
}

#[test]
fn many_at_once_are_charged_first_and_refunded_if_not_checked() {
    let throttle = Throttle::new(LIMITS);
    let alice = name("alice");
    let admit = || throttle.admit(LoginAttempt { account: &alice, network: network(1), session: None }, NOW);
    let mut waiting: Vec<_> = (0..5).map(|_| admit().expect("let in")).collect();
    assert_eq!(admit().expect_err("five wait already").wait, Duration::from_secs(60));
    waiting.pop().expect("one of five").withdrawn();
    waiting.push(admit().expect("in its place"));
    drop(waiting);
    assert!(admit().is_err(), "those that ended without an answer were failures");
}

#[test]
fn a_flood_of_names_takes_no_more_memory_and_hides_nobody() {
    let throttle = Throttle::new(LIMITS);
    assert!((0..5).all(|_| fail(&throttle, "alice", 1).is_ok()));
    // Three times as many as a table of failures has places.
    for number in 0..200_000 {
        assert_eq!(fail(&throttle, &format!("user{number}"), 1_000 + number), Ok(()));
    }
    assert_eq!(fail(&throttle, "alice", 1), Err(Limit::AccountAndNetwork), "who failed most is remembered best");
    let Tables { networks, pairs, accounts, known, .. } = &*throttle.tables();
    let bytes: usize = [networks, pairs, accounts, known].map(Table::bytes).iter().sum();
    println!("the throttle takes {bytes} bytes after 200,000 accounts and networks, as before");
    assert_eq!(bytes, 7 << 20);
}
