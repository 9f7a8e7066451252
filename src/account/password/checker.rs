//! Threads that check and hash passwords.
//!
//! Hashing is the only slow operation that an unauthenticated client can cause. A fixed number of threads does it, at
//! low priority. The [`queue`] of jobs is short; if it is full, the result is [`Overloaded`]. The number of threads
//! limits the concurrent work: if a client disconnects, its thread still finishes the hash before it takes the next
//! job.
//!
//! A thread takes memory from a [`FreeList`] for each job. The memory is freed after [`IDLE_MEMORY_TIMEOUT`] without a job.
//!
//! A panic ends the job and not the thread, because without threads no user could log in.

pub(crate) mod queue;
mod spare_memory;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::account::password::memory::{FreeList, OutOfMemory};
use crate::account::password::{Argon2id, Budget, Cost, StoredHash, Verdict, check_uncommon, decoy};
use crate::account::{BadPassword, Password, Profile};
use crate::clock::Now;
use crate::log_sampler::sampled;
use crate::metrics::{HASHING, HASHING_THREADS};
pub(crate) use queue::Overloaded;
use queue::{Next, Priority, Queue};
use spare_memory::SpareMemory;

/// Niceness of the threads ([nice(2)](https://man7.org/linux/man-pages/man2/nice.2.html)). It is above the default 0,
/// so that logins do not slow down requests that only check a session.
pub(crate) const NICENESS: i32 = 10;

/// Time after which unused memory is freed.
const IDLE_MEMORY_TIMEOUT: Duration = Duration::from_secs(60);

/// Prefix of the names of the threads. The log omits the messages of their panics, which may quote a password.
pub(crate) const THREAD_NAME_PREFIX: &str = "password-";

/// Password for which a thread panics during the check.
#[cfg(test)]
pub(crate) const PANICKING_PASSWORD: &str = "the password for which a thread panics";

/// Error if a password was not checked or hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckerError {
    /// All threads are busy and the queue is full, or no memory could be allocated.
    Overloaded,
    /// The thread panicked during the job.
    Failed,
}

impl From<Overloaded> for CheckerError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<OutOfMemory> for CheckerError {
    fn from(error: OutOfMemory) -> Self {
        sampled!(
            ERROR,
            %error,
            "password check failed: out of memory; give the server more memory, or lower password.threads or password.memory_kib"
        );
        Self::Overloaded
    }
}

/// A job for a thread. The result is sent to `reply`.
enum Job {
    Verify {
        password: Password,
        stored: Option<String>,
        may_sign_in: bool,
        reply: oneshot::Sender<Result<Verdict, CheckerError>>,
    },
    HashNew {
        password: Password,
        profile: Box<Profile>,
        reply: oneshot::Sender<Result<Result<String, BadPassword>, CheckerError>>,
    },
    /// Occupies a thread until the sender is dropped.
    #[cfg(test)]
    Hold(std::sync::mpsc::Receiver<()>),
}

/// Handle of the threads that check passwords. Dropping it stops them.
#[derive(Debug)]
pub(crate) struct Checker {
    shared: Arc<Shared>,
    threads: u32,
}

impl Checker {
    /// Starts the threads. `queue_capacity` is the maximum number of waiting jobs of each [`Priority`]. `budget_kib` is the
    /// total memory. The part that is not needed for the configured cost is used for checks of stored hashes that need
    /// more memory than the configured cost.
    pub(crate) fn start(cost: Cost, threads: u32, queue_capacity: usize, budget_kib: u32) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(queue_capacity, Budget::new(cost, threads, budget_kib)));
        for number in 0..threads {
            let shared = shared.clone();
            let name = format!("{THREAD_NAME_PREFIX}{number}");
            std::thread::Builder::new().name(name).spawn(move || run_thread(&shared))?;
        }
        Ok(Self { shared, threads })
    }

    /// Returns the number of threads.
    pub(crate) const fn threads(&self) -> u32 {
        self.threads
    }

    /// Returns the number of waiting jobs of known and of unknown clients, and the maximum for each.
    pub(crate) fn waiting(&self) -> ([usize; 2], usize) {
        self.shared.jobs.waiting()
    }

    /// Checks a password against a stored hash. Without a stored hash (an unknown account), it checks a random hash
    /// that matches no password, which takes the same time.
    pub(crate) async fn verify(
        &self,
        priority: Priority,
        password: Password,
        stored: Option<String>,
        may_sign_in: bool,
    ) -> Result<Verdict, CheckerError> {
        let (reply, verdict) = oneshot::channel();
        self.shared.jobs.push(priority, Job::Verify { password, stored, may_sign_in, reply })?;
        verdict.await.unwrap_or(Err(CheckerError::Failed))
    }

    /// Hashes a new password, unless it is too common. The job has the priority of a known client, because the
    /// client has just sent the correct old password.
    pub(crate) async fn hash_new(
        &self,
        password: Password,
        profile: Profile,
    ) -> Result<Result<String, BadPassword>, CheckerError> {
        let (reply, hash) = oneshot::channel();
        let profile = Box::new(profile);
        self.shared.jobs.push(Priority::Known, Job::HashNew { password, profile, reply })?;
        hash.await.unwrap_or(Err(CheckerError::Failed))
    }

    /// Occupies a thread until the sender is dropped. If there is only one thread, no password is checked until then.
    #[cfg(test)]
    pub(crate) fn hold_thread(&self) -> std::sync::mpsc::SyncSender<()> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(0);
        self.shared.jobs.push(Priority::Known, Job::Hold(receiver)).expect("the queue is empty");
        sender.send(()).expect("a thread takes the job");
        sender
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.shared.jobs.close();
    }
}

/// State that the threads share.
#[derive(Debug)]
struct Shared {
    jobs: Queue<Job>,
    free_memory: FreeList,
    spare_memory: SpareMemory,
    budget: Budget,
}

impl Shared {
    fn new(queue_capacity: usize, budget: Budget) -> Self {
        let free_memory = FreeList::new(budget.cost.blocks());
        Self { jobs: Queue::new(queue_capacity), free_memory, spare_memory: SpareMemory::new(budget.spare_kib), budget }
    }

    /// Runs `compute` with the most recently used memory, and returns the memory to the free list. A panic frees the memory.
    fn with_memory<T>(
        &self,
        argon2id: &mut Argon2id,
        stored: Option<Cost>,
        compute: impl FnOnce(&mut Argon2id) -> T,
    ) -> Result<T, OutOfMemory> {
        argon2id.prepare(self.free_memory.take(), stored)?;
        let computed = compute(argon2id);
        self.free_memory.put(argon2id.take_memory(), Now::read().boot);
        Ok(computed)
    }

    /// Waits for a job, and frees unused memory while it waits. Returns `None` if the queue is closed and empty.
    fn next_job(&self) -> Option<Job> {
        loop {
            // A thread that waits without a timeout is woken only by a job. A thread that has returned memory to the
            // free list then waits with a timeout. While the list contains memory, at least one thread therefore waits
            // with a timeout.
            let timeout = (!self.free_memory.is_empty()).then_some(IDLE_MEMORY_TIMEOUT);
            match self.jobs.pop(timeout) {
                Next::Job(job) => return Some(job),
                Next::Closed => return None,
                Next::TimedOut => {
                    self.free_memory.free_unused_since(Now::read().boot.saturating_sub(IDLE_MEMORY_TIMEOUT))
                }
            }
        }
    }
}

/// Runs a thread: does jobs until the queue is closed, and continues after a panic.
fn run_thread(shared: &Shared) {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "cannot lower the priority of the password threads; they run at normal priority");
    }
    // A panic drops the job with its sender, so the caller gets `CheckerError::Failed`. The panic hook logs the panic.
    // Everything that the job may have left in an inconsistent state is dropped and recreated: the memory, the decoy,
    // and the measured hash times.
    while catch_unwind(AssertUnwindSafe(|| do_jobs(shared))).is_err() {}
}

/// Does jobs until the queue is closed.
fn do_jobs(shared: &Shared) {
    let mut argon2id = Argon2id::new(shared.budget.cost);
    let decoy = decoy(shared.budget.cost);
    while let Some(job) = shared.next_job() {
        // A job whose client has disconnected is skipped. The client may also disconnect during the work, so errors of
        // `send` are ignored.
        match job {
            Job::Verify { password, stored, may_sign_in, reply } if !reply.is_closed() => {
                let stored = stored.as_deref().unwrap_or(&decoy);
                let check = || check_password(&mut argon2id, shared, &password, stored, may_sign_in);
                let _ = reply.send(measured(&HASHING_THREADS, check).map_err(CheckerError::from));
            }
            Job::HashNew { password, profile, reply } if !reply.is_closed() => {
                let hash = || hash_new(&mut argon2id, shared, &password, &profile);
                let _ = reply.send(measured(&HASHING_THREADS, hash).map_err(CheckerError::from));
            }
            Job::Verify { .. } | Job::HashNew { .. } => {}
            #[cfg(test)]
            Job::Hold(receiver) => receiver.iter().for_each(drop),
        }
    }
}

/// Runs `work`, and records its time in the metrics. `in_progress` is the number of jobs in progress; a guard
/// decrements it even if `work` panics.
fn measured<T>(in_progress: &AtomicU64, work: impl FnOnce() -> T) -> T {
    struct InProgress<'a>(&'a AtomicU64);
    impl Drop for InProgress<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let started = Now::read().boot;
    in_progress.fetch_add(1, Ordering::Relaxed);
    let guard = InProgress(in_progress);
    let result = work();
    drop(guard);
    HASHING.observe(Now::read().boot.saturating_sub(started));
    result
}

/// Hashes a new password, or returns an error if it is too common.
fn hash_new(
    argon2id: &mut Argon2id,
    shared: &Shared,
    password: &Password,
    profile: &Profile,
) -> Result<Result<String, BadPassword>, OutOfMemory> {
    if let Err(bad) = check_uncommon(password, profile) {
        return Ok(Err(bad));
    }
    shared.with_memory(argon2id, None, |argon2id| Ok(argon2id.hash(password)))
}

/// Checks a password against a stored hash, if the budget is large enough for the hash.
fn check_password(
    argon2id: &mut Argon2id,
    shared: &Shared,
    password: &Password,
    stored: &str,
    may_sign_in: bool,
) -> Result<Verdict, OutOfMemory> {
    sampled!(DEBUG, "checking a password");
    #[cfg(test)]
    assert!(password.expose_text() != PANICKING_PASSWORD, "the test causes this panic");
    let Shared { spare_memory, budget, .. } = shared;
    let parsed = StoredHash::parse(stored).filter(|stored| budget.suffices_for(stored.cost));
    if parsed.is_none() {
        sampled!(
            ERROR,
            "a stored password hash cannot be checked, so no password is accepted for its account; for the account and the remedy, run: sealjar doctor"
        );
    }
    // Held until the check has finished.
    let _reservation = parsed.as_ref().map(|stored| spare_memory.reserve(budget.extra_kib(stored.cost)));
    let cost = parsed.as_ref().map(|stored| stored.cost);
    shared.with_memory(argon2id, cost, |argon2id| argon2id.verify(password, parsed.as_ref(), may_sign_in))
}
