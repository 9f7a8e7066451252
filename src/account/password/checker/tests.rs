//! Tests of the checker, with at most one thread and a low cost.

use super::*;
use zeroize::Zeroizing;

const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned()))
}

#[tokio::test]
async fn a_full_queue_is_an_error_and_a_slot_is_kept_until_taken() {
    let checker = Checker { shared: Arc::new(Shared::new(1, Budget::new(CHEAP, 0, 0))), threads: 0 };
    let verify = || checker.verify(Priority::Unknown, password("x"), None, true);
    let take_job = || {
        let Next::Job(Job::Verify { reply, .. }) = checker.shared.jobs.pop(None) else {
            panic!("the job must be in the queue")
        };
        reply
    };
    let mut first = Box::pin(verify());
    assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err(), "the request waits for a thread");
    assert_eq!(verify().await, Err(CheckerError::Overloaded));
    drop(first);
    assert_eq!(verify().await, Err(CheckerError::Overloaded), "the slot of a disconnected client is not free");
    assert!(take_job().is_closed());
    let reply = async { take_job().send(Ok(Verdict::Refused)).expect("the caller waits") };
    assert_eq!(tokio::join!(verify(), reply).0, Ok(Verdict::Refused));
}

#[tokio::test]
async fn a_panic_ends_its_job_but_not_the_thread() {
    let checker = Checker::start(CHEAP, 1, 8, 64).expect("a thread starts");
    let stored = crate::account::password::hash(CHEAP, &password("correct horse"));
    for _ in 0..2 {
        let panicked = checker.verify(Priority::Known, password(PANICKING_PASSWORD), None, true).await;
        assert_eq!(panicked, Err(CheckerError::Failed));
        let verdict = checker.verify(Priority::Known, password("correct horse"), Some(stored.clone()), true);
        let verdict = tokio::time::timeout(Duration::from_secs(60), verdict).await.expect("the thread still runs");
        assert_eq!(verdict, Ok(Verdict::Accepted { rehashed: None }));
    }
}

#[tokio::test]
async fn memory_of_the_configured_size_is_kept_for_the_next_job() {
    let checker = Checker::start(CHEAP, 1, 8, 256).expect("a thread starts");
    let costly = crate::account::password::hash(Cost { memory_kib: 128, ..CHEAP }, &password("correct horse"));
    let check = async |stored: Option<String>| {
        checker
            .verify(Priority::Known, password("correct horse"), stored, true)
            .await
            .expect("the password is checked");
    };
    assert!(checker.shared.free_memory.is_empty(), "no memory is allocated before the first job");
    check(None).await;
    assert!(!checker.shared.free_memory.is_empty());
    check(Some(costly)).await;
    assert!(checker.shared.free_memory.is_empty(), "larger memory is not added to the list");
}

#[test]
fn a_job_that_panicked_is_not_counted_as_in_progress() {
    let in_progress = AtomicU64::new(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| measured(&in_progress, || panic!("the test causes this panic"))));
    assert!(outcome.is_err());
    assert_eq!(in_progress.load(Ordering::Relaxed), 0);
}

#[test]
fn refuses_a_stored_hash_that_needs_more_than_the_budget() {
    let stored = crate::account::password::hash(Cost { memory_kib: 128, ..CHEAP }, &password("correct horse"));
    let check = |spare_kib| {
        let shared = Shared::new(1, Budget { cost: CHEAP, spare_kib });
        check_password(&mut Argon2id::new(CHEAP), &shared, &password("correct horse"), &stored, true)
    };
    assert_eq!(check(63), Ok(Verdict::Unusable));
    assert_eq!(check(64), Ok(Verdict::Accepted { rehashed: None }));
}
