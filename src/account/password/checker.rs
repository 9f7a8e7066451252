//! Threads that check passwords.
//!
//! Hashing is the one slow thing that a stranger can ask for. A fixed number of threads does it, at low priority, each with its own
//! memory; the queue before them is short, and a full queue is an answer ([`Overloaded`]). A thread *is* the permit: whoever
//! asked may hang up, but the thread is free only when the work is done.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::super::{BadField, Password, Profile};
use super::{Argon2id, Cost, Stored, Verdict, check_uncommon};

/// Below ordinary work, so that sign-ins do not slow down requests that only verify.
const NICENESS: i32 = 10;

/// All threads are busy and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Overloaded;

enum Job {
    Verify { password: Password, stored: Option<String>, welcome: bool, reply: oneshot::Sender<Verdict> },
    HashNew { password: Password, profile: Box<Profile>, reply: oneshot::Sender<Result<String, BadField>> },
}

/// The threads that check passwords.
#[derive(Debug, Clone)]
pub(crate) struct Checker {
    jobs: SyncSender<Job>,
}

impl Checker {
    /// Starts the threads; they end when the last handle is dropped. What the threads' own memory leaves of `budget_kib` is for
    /// stored hashes that ask for more than today's cost.
    pub(crate) fn start(cost: Cost, threads: u32, queue: usize, budget_kib: u32) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(queue);
        let spare = Spare::new(budget_kib.saturating_sub(threads.saturating_mul(cost.memory_kib)));
        let shared = Arc::new((Mutex::new(waiting), spare));
        for number in 0..threads {
            let shared = shared.clone();
            let name = format!("password-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&shared.0, &shared.1, cost))?;
        }
        Ok(Self { jobs })
    }

    /// Checks a password against a stored hash, or against nothing in the same time.
    pub(crate) async fn verify(
        &self,
        password: Password,
        stored: Option<String>,
        welcome: bool,
    ) -> Result<Verdict, Overloaded> {
        let (reply, verdict) = oneshot::channel();
        self.jobs.try_send(Job::Verify { password, stored, welcome, reply }).map_err(|_| Overloaded)?;
        verdict.await.map_err(|_| Overloaded)
    }

    /// Hashes a new password, if it is not too common.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        profile: Profile,
    ) -> Result<Result<String, BadField>, Overloaded> {
        let (reply, hash) = oneshot::channel();
        let profile = Box::new(profile);
        self.jobs.try_send(Job::HashNew { password, profile, reply }).map_err(|_| Overloaded)?;
        hash.await.map_err(|_| Overloaded)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, spare: &Spare, cost: Cost) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at ordinary priority");
    }
    let mut argon2id = Argon2id::warmed_up(cost);
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // The receiver may be gone by the time the work is done: it was done all the same.
        match job {
            Ok(Job::Verify { password, stored, welcome, reply }) if !reply.is_closed() => {
                let _ = reply.send(verify(&mut argon2id, spare, &password, stored.as_deref(), welcome));
            }
            Ok(Job::HashNew { password, profile, reply }) if !reply.is_closed() => {
                let _ = reply.send(check_uncommon(&password, &profile).map(|()| argon2id.hash(&password)));
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn verify(argon2id: &mut Argon2id, spare: &Spare, password: &Password, stored: Option<&str>, welcome: bool) -> Verdict {
    tracing::debug!("checking a password");
    let more_kib = |stored: &Stored| stored.cost.memory_kib.saturating_sub(argon2id.cost.memory_kib);
    let parsed = stored.and_then(Stored::parse).filter(|stored| more_kib(stored) <= spare.total_kib);
    if stored.is_some() && parsed.is_none() {
        tracing::error!(
            "a stored password hash cannot be checked, or asks for more memory than password.memory_budget_kib leaves; raise that, or set the password again with: sealjar users passwd"
        );
    }
    let _taken = parsed.as_ref().map(|stored| spare.take(more_kib(stored)));
    argon2id.verify(password, parsed.as_ref(), welcome)
}

/// Memory that is lent to a thread for one password.
struct Spare {
    total_kib: u32,
    free_kib: Mutex<u32>,
    returned: Condvar,
}

impl Spare {
    const fn new(total_kib: u32) -> Self {
        Self { total_kib, free_kib: Mutex::new(total_kib), returned: Condvar::new() }
    }

    /// Waits until there is so much, which must not be more than there ever is.
    fn take(&self, kib: u32) -> Taken<'_> {
        let enough = self.returned.wait_while(self.free_kib(), |free| *free < kib);
        *enough.unwrap_or_else(PoisonError::into_inner) -= kib;
        Taken { spare: self, kib }
    }

    fn free_kib(&self) -> MutexGuard<'_, u32> {
        self.free_kib.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Taken<'s> {
    spare: &'s Spare,
    kib: u32,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.spare.free_kib() += self.kib;
        self.spare.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use zeroize::Zeroizing;

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    #[tokio::test]
    async fn a_full_queue_is_an_answer_and_a_place_in_it_is_kept_until_a_thread_takes_it() {
        let (jobs, waiting) = sync_channel(1);
        let checker = Checker { jobs };
        let mut first = Box::pin(checker.verify(password("x"), None, true));
        assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err(), "it waits for a thread");
        assert_eq!(checker.verify(password("x"), None, true).await, Err(Overloaded));
        drop(first);
        assert_eq!(checker.verify(password("x"), None, true).await, Err(Overloaded), "hanging up frees nothing");
        let Ok(Job::Verify { reply, .. }) = waiting.recv() else { panic!("the first is still queued") };
        assert!(reply.is_closed());
        let second = checker.verify(password("x"), None, true);
        let answer = async {
            let Ok(Job::Verify { reply, .. }) = waiting.recv() else { panic!("the second is queued") };
            reply.send(Verdict::Refused).expect("somebody waits");
        };
        assert_eq!(tokio::join!(second, answer).0, Ok(Verdict::Refused));
    }

    #[test]
    fn memory_beyond_a_threads_own_is_lent_to_as_many_as_it_is_enough_for() {
        let spare = Arc::new(Spare::new(100));
        let (first, second) = (spare.take(60), spare.take(40));
        let third = std::thread::spawn({
            let spare = spare.clone();
            move || spare.take(50).kib
        });
        drop(second);
        assert!(!third.is_finished(), "40 are not enough");
        drop(first);
        assert_eq!(third.join().expect("it runs"), 50);
        assert_eq!(*spare.free_kib(), 100);
    }

    #[test]
    fn a_stored_hash_that_asks_for_more_than_the_budget_is_refused_and_not_computed() {
        let own = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let stored = super::super::hash(Cost { memory_kib: 128, ..own }, &password("correct horse"));
        let check = |spare| {
            verify(&mut Argon2id::new(own), &Spare::new(spare), &password("correct horse"), Some(&stored), true)
        };
        assert_eq!(check(63), Verdict::Refused);
        assert_eq!(check(64), Verdict::Accepted { rehashed: None });
    }
}
