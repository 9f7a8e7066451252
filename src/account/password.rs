//! Hashes and checks passwords with Argon2id ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)).
//!
//! * **Equal time.** The checks of a wrong password, of an unknown account and of a disabled account take the same time,
//!   so that the time does not reveal which accounts exist. A stored hash that is weaker than the configured cost, or
//!   costs more than twice as much, is replaced at the next login. A failed check of a weaker hash is extended with further
//!   hashes, until it has taken as long as a hash of the configured cost. The time of such a hash is measured, because it
//!   is not proportional to the memory: a smaller memory fits the CPU caches better.
//! * **Bounded cost.** The cost parameters of a stored hash are checked before they are used: `m=4294967295` (4 TiB of
//!   memory) is valid syntax.
//!
//! The threads that check passwords are in [`checker`]. `calibrate` proposes a cost, and `common` refuses common passwords.

pub(crate) mod calibrate;
pub(crate) mod checker;
mod common;
mod cost;
mod memory;

use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Password;
use crate::clock::thread_time;
use crate::id;
pub(crate) use common::check_uncommon;
pub(crate) use cost::{Budget, Cost};
use memory::{Memory, OutOfMemory};

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Computes hashes on one thread, and measures the time of each hash.
pub(crate) struct Argon2id {
    /// Cost of new hashes.
    cost: Cost,
    memory: Memory,
    /// Ring buffer of the CPU times that the last hashes of this cost took on this thread.
    hash_times: [Duration; 16],
    /// Number of measured hashes. It determines the slot of the next measurement.
    hash_count: usize,
    /// Number of measurements read. It determines the slot that is read next.
    read_count: usize,
}

impl Argon2id {
    /// Creates the state of a thread, without memory.
    pub(crate) fn new(cost: Cost) -> Self {
        Self { cost, memory: Memory::default(), hash_times: [Duration::ZERO; 16], hash_count: 0, read_count: 0 }
    }

    /// Sets the memory for the next hashes. Allocates more if it is too small for the configured cost or for `stored`,
    /// so that the measured time of a check does not include the allocation. The first call also measures the time of
    /// one hash.
    fn prepare(&mut self, memory: Memory, stored: Option<Cost>) -> Result<(), OutOfMemory> {
        self.memory = memory;
        self.memory.reserve(self.cost.blocks().max(stored.map_or(0, Cost::blocks)))?;
        if self.hash_count == 0 {
            let empty = Password::new(Zeroizing::new(String::new()));
            self.compute(self.cost, &empty, &[0; SALT_BYTES], &mut [0; OUTPUT_BYTES]);
            self.hash_times = [self.hash_times[0]; 16];
        }
        Ok(())
    }

    /// Takes the memory back, so that another thread can use it.
    fn take_memory(&mut self) -> Memory {
        std::mem::take(&mut self.memory)
    }

    /// Hashes a password with a new random salt. Returns a
    /// [PHC string](https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md).
    pub(crate) fn hash(&mut self, password: &Password) -> String {
        let salt: [u8; SALT_BYTES] = id::random();
        let mut output = [0; OUTPUT_BYTES];
        self.compute(self.cost, password, &salt, &mut output);
        phc_string(self.cost, salt, output)
    }

    /// Compares a password with a stored hash. `may_sign_in` is false for an account that may not log in, even with the right
    /// password. `stored` is `None` for a hash that cannot be checked; this takes the time of a hash of the configured cost.
    fn verify(&mut self, password: &Password, stored: Option<&StoredHash>, may_sign_in: bool) -> Verdict {
        let Some(StoredHash { cost, salt, output: expected }) = stored else {
            self.compute(self.cost, password, &[0; SALT_BYTES], &mut [0; OUTPUT_BYTES]);
            return Verdict::Unusable;
        };
        let started = thread_time();
        let mut output = vec![0; expected.len()];
        self.compute(*cost, password, salt, &mut output);
        let accepted = bool::from(output.ct_eq(expected)) && may_sign_in;
        if !accepted {
            // The check of a weaker hash took less time. Compute further hashes until the time of a hash of the configured
            // cost has passed.
            if cost.is_weaker_than(self.cost) {
                let target = self.next_hash_time();
                while thread_time().saturating_sub(started) < target {
                    self.compute(self.cost.fraction(), password, salt, &mut output);
                }
            }
            return Verdict::Refused;
        }
        Verdict::Accepted { rehashed: cost.is_replaced_by(self.cost).then(|| self.hash(password)) }
    }

    /// Returns the next measured hash time of the ring buffer. The extended checks therefore have the same distribution of
    /// times as ordinary checks.
    fn next_hash_time(&mut self) -> Duration {
        self.read_count = self.read_count.wrapping_add(1);
        self.hash_times[self.read_count % self.hash_times.len()]
    }

    /// Computes one hash. If it has the configured cost, records its CPU time.
    fn compute(&mut self, cost: Cost, password: &Password, salt: &[u8], output: &mut [u8]) {
        let started = thread_time();
        let params = cost.params().expect("the cost is configured or stored, and its limits were checked");
        let blocks = self.memory.blocks(params.block_count());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password.expose(), salt, output, blocks)
            .expect("the lengths of password, salt and output are within Argon2's limits, and the memory has the required size");
        if cost == self.cost {
            self.hash_times[self.hash_count % self.hash_times.len()] = thread_time().saturating_sub(started);
            self.hash_count = self.hash_count.wrapping_add(1);
        }
    }
}

/// A parsed stored hash with a supported algorithm and a cost within the limits.
struct StoredHash {
    cost: Cost,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl StoredHash {
    /// Parses a PHC string. Returns `None` if its algorithm or parameters are not supported, or if its cost is too high.
    fn parse(phc: &str) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        let has_known_params = hash.params.iter().all(|(name, _)| ["m", "t", "p"].contains(&name.as_str()));
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || !has_known_params {
            return None;
        }
        let number = |name: &str| hash.params.get_decimal(name);
        let cost = Cost { memory_kib: number("m")?, passes: number("t")?, lanes: number("p")? };
        let salt = hash.salt?.to_vec();
        let output = hash.hash?.as_bytes().to_vec();
        let is_valid = cost.is_within_limits() && (8..=64).contains(&salt.len()) && (16..=64).contains(&output.len());
        is_valid.then_some(Self { cost, salt, output })
    }
}

/// Returns the cost of checking a stored hash, or `None` if no server can check it: its format is not supported, or its
/// cost is over the limits.
pub(crate) fn stored_cost(phc: &str) -> Option<Cost> {
    StoredHash::parse(phc).map(|stored| stored.cost)
}

/// Result of the check of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The password is right. `rehashed` is a new hash if the stored hash must be replaced.
    Accepted { rehashed: Option<String> },
    /// The password is wrong, there is no such account, or the account may not log in.
    Refused,
    /// The stored hash cannot be checked, so no password is accepted.
    Unusable,
}

/// Returns the PHC string of a hash.
fn phc_string(cost: Cost, salt: [u8; SALT_BYTES], output: [u8; OUTPUT_BYTES]) -> String {
    let Cost { memory_kib, passes, lanes } = cost;
    let salt = STANDARD_NO_PAD.encode(salt);
    let output = STANDARD_NO_PAD.encode(output);
    format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}")
}

/// Returns a stored hash that matches no password, because its output is random. It is checked for unknown accounts.
fn decoy(cost: Cost) -> String {
    phc_string(cost, id::random(), id::random())
}

/// Hashes a new password on the calling thread.
pub(crate) fn hash(cost: Cost, password: &Password) -> String {
    Argon2id::new(cost).hash(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 2, lanes: 1 };

    fn password(text: &str) -> Password {
        Password::new(Zeroizing::new(text.to_owned()))
    }

    fn check(cost: Cost, text: &str, stored: &str, may_sign_in: bool) -> Verdict {
        Argon2id::new(cost).verify(&password(text), StoredHash::parse(stored).as_ref(), may_sign_in)
    }

    #[test]
    fn accepts_the_right_password_only_if_the_account_may_sign_in() {
        let stored = hash(CHEAP, &password("correct horse"));
        assert_eq!(check(CHEAP, "correct horse", &stored, true), Verdict::Accepted { rehashed: None });
        assert_eq!(check(CHEAP, "correct horse", &stored, false), Verdict::Refused);
        assert_eq!(check(CHEAP, "correct horsf", &stored, true), Verdict::Refused);
        assert_eq!(check(CHEAP, "", "not a hash", true), Verdict::Unusable);
    }

    #[test]
    fn replaces_a_weaker_hash_with_one_of_the_configured_cost() {
        let stored = hash(Cost { memory_kib: 32, ..CHEAP }, &password("correct horse"));
        let Verdict::Accepted { rehashed: Some(new) } = check(CHEAP, "correct horse", &stored, true) else {
            panic!("the password must be accepted and hashed again");
        };
        assert!(new.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{new}");
        assert_eq!(check(CHEAP, "correct horse", &new, true), Verdict::Accepted { rehashed: None });
    }

    #[test]
    fn replaces_a_hash_of_more_than_twice_the_configured_cost() {
        for higher_cost in [Cost { memory_kib: 192, ..CHEAP }, Cost { passes: 5, ..CHEAP }] {
            let stored = hash(higher_cost, &password("correct horse"));
            let Verdict::Accepted { rehashed: Some(new) } = check(CHEAP, "correct horse", &stored, true) else {
                panic!("the password must be accepted and hashed again: {higher_cost:?}");
            };
            assert_eq!(stored_cost(&new), Some(CHEAP));
        }
        let twice = hash(Cost { passes: 4, ..CHEAP }, &password("correct horse"));
        assert_eq!(check(CHEAP, "correct horse", &twice, true), Verdict::Accepted { rehashed: None });
    }

    #[test]
    fn a_failed_check_of_a_weaker_hash_takes_the_full_time() {
        let full = Cost { memory_kib: 8_192, passes: 2, lanes: 1 };
        let weak =
            StoredHash::parse(&hash(Cost { memory_kib: 1_024, ..full }, &password("correct horse"))).expect("a hash");
        let mut argon2id = Argon2id::new(full);
        argon2id.prepare(Memory::default(), Some(weak.cost)).expect("memory is allocated");
        let full_time = argon2id.hash_times[0];
        let started = thread_time();
        assert_eq!(argon2id.verify(&password("wrong"), Some(&weak), true), Verdict::Refused);
        assert!(
            thread_time().saturating_sub(started) >= full_time,
            "the failed check must take as long as a hash of the configured cost"
        );
    }

    #[test]
    fn refuses_a_stored_hash_with_an_excessive_cost() {
        let phc_with = |parameters: &str| {
            format!("$argon2id$v=19${parameters}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        };
        assert!(StoredHash::parse(&phc_with("m=19456,t=2,p=1")).is_some());
        for parameters in [
            "m=4294967295,t=1,p=1",
            "m=19456,t=4294967295,p=1",
            "m=19456,t=0,p=1",
            "m=19456,t=2,p=64",
            "m=1,t=1,p=1",
            "t=2,p=1",
        ] {
            assert!(StoredHash::parse(&phc_with(parameters)).is_none(), "{parameters}");
        }
        for unsupported in [
            phc_with("m=64,t=2,p=1").replace("argon2id", "argon2d"),
            phc_with("m=64,t=2,p=1").replace("v=19", "v=16"),
            "$2b$10$abc".to_owned(),
        ] {
            assert!(StoredHash::parse(&unsupported).is_none(), "{unsupported}");
        }
    }

    /// Computes the test vector of RFC 9106 section 5.3, which has a secret and associated data, with the crate `argon2`.
    #[test]
    fn agrees_with_rfc_9106() {
        let expected = [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9, 0xd0, 0x1e,
            0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
        ];
        let data = argon2::AssociatedData::new(&[4; 12]).expect("12 bytes");
        let params = argon2::ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build().expect("valid");
        let mut output = [0; 32];
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .expect("a short secret")
            .hash_password_into(&[1; 32], &[2; 16], &mut output)
            .expect("the hash is computed");
        assert_eq!(output, expected);
    }
}
