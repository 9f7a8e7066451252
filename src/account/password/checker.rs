//! Threads that check passwords.
//!
//! Hashing is the one slow thing that a stranger can ask for. A fixed number of threads does it, at low priority, each with its own
//! memory; the queue before them is short, and a full queue is an answer ([`Overloaded`]). A thread *is* the permit: whoever
//! asked may hang up, but the thread is free only when the work is done.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::super::Password;
use super::{Argon2id, Cost, Stored, Verdict};

/// Below ordinary work, so that sign-ins do not slow down requests that only verify.
const NICENESS: i32 = 10;

/// All threads are busy and the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Overloaded;

enum Job {
    Verify { password: Password, stored: Option<String>, welcome: bool, reply: oneshot::Sender<Verdict> },
    Hash { password: Password, reply: oneshot::Sender<String> },
}

/// The threads that check passwords.
#[derive(Debug, Clone)]
pub(crate) struct Checker {
    jobs: SyncSender<Job>,
}

impl Checker {
    /// Starts the threads; they end when the last handle is dropped.
    pub(crate) fn start(cost: Cost, threads: usize, queue: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..threads {
            let waiting = waiting.clone();
            let name = format!("password-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&waiting, Argon2id::new(cost)))?;
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

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Overloaded> {
        let (reply, hash) = oneshot::channel();
        self.jobs.try_send(Job::Hash { password, reply }).map_err(|_| Overloaded)?;
        hash.await.map_err(|_| Overloaded)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, mut argon2id: Argon2id) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "password threads run at ordinary priority");
    }
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // The receiver may be gone by the time the work is done: it was done all the same.
        match job {
            Ok(Job::Verify { password, stored, welcome, reply }) if !reply.is_closed() => {
                let _ = reply.send(verify(&mut argon2id, &password, stored.as_deref(), welcome));
            }
            Ok(Job::Hash { password, reply }) if !reply.is_closed() => {
                let _ = reply.send(argon2id.hash(&password));
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn verify(argon2id: &mut Argon2id, password: &Password, stored: Option<&str>, welcome: bool) -> Verdict {
    tracing::debug!("checking a password");
    let parsed = stored.and_then(Stored::parse);
    if stored.is_some() && parsed.is_none() {
        tracing::error!("a stored password hash cannot be checked; set that password again with: sealjar users passwd");
    }
    argon2id.verify(password, parsed.as_ref(), welcome)
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
}
