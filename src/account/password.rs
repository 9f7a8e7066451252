//! Passwords: Argon2id (RFC 9106). The threads that check them are in [`checker`].
//!
//! * A wrong password, an unknown account and a disabled one take the same time. A stored hash that is weaker than the configured
//!   cost, or more than twice as costly, is replaced at the next sign-in. A failed check of a weaker one goes on until it took as
//!   long as a whole one. That is measured, because a block of a smaller memory, which fits the caches better, costs less.
//! * Cost parameters in a stored hash are bounded before they are obeyed: `m=4294967295` parses fine.

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

/// Computes hashes on one thread.
pub(crate) struct Argon2id {
    /// Cost of new hashes.
    cost: Cost,
    memory: Memory,
    /// Ring with the times that the last hashes of this cost took on this thread.
    whole: [Duration; 16],
    hashed: usize,
    /// How many of those times were used.
    drawn: usize,
}

impl Argon2id {
    pub(crate) fn new(cost: Cost) -> Self {
        Self { cost, memory: Memory::default(), whole: [Duration::ZERO; 16], hashed: 0, drawn: 0 }
    }

    /// Uses this memory for the next hashes. If it is not enough for hashes of the two costs, allocates memory, so that a check does
    /// not include the time for that. The first call also measures how long a hash takes.
    fn prepare(&mut self, memory: Memory, stored: Option<Cost>) -> Result<(), OutOfMemory> {
        self.memory = memory;
        self.memory.reserve(self.cost.blocks().max(stored.map_or(0, Cost::blocks)))?;
        if self.hashed == 0 {
            let nobody = Password::new(Zeroizing::new(String::new()));
            self.compute(self.cost, &nobody, &[0; SALT_BYTES], &mut [0; OUTPUT_BYTES]);
            self.whole = [self.whole[0]; 16];
        }
        Ok(())
    }

    fn take_memory(&mut self) -> Memory {
        std::mem::take(&mut self.memory)
    }

    /// A PHC string with a fresh salt.
    pub(crate) fn hash(&mut self, password: &Password) -> String {
        let salt: [u8; SALT_BYTES] = id::random();
        let mut output = [0; OUTPUT_BYTES];
        self.compute(self.cost, password, &salt, &mut output);
        phc_string(self.cost, salt, output)
    }

    /// Whether the password is that of `stored`; `may_sign_in` is false for an account that may not sign in whatever it knows. A
    /// stored hash that cannot be checked, `None`, takes the time of a whole hash.
    fn verify(&mut self, password: &Password, stored: Option<&Stored>, may_sign_in: bool) -> Verdict {
        let Some(Stored { cost, salt, output: expected }) = stored else {
            self.compute(self.cost, password, &[0; SALT_BYTES], &mut [0; OUTPUT_BYTES]);
            return Verdict::Unusable;
        };
        let started = thread_time();
        let mut output = vec![0; expected.len()];
        self.compute(*cost, password, salt, &mut output);
        let accepted = bool::from(output.ct_eq(expected)) && may_sign_in;
        if !accepted {
            if cost.is_weaker_than(self.cost) {
                let whole = self.draw();
                while thread_time().saturating_sub(started) < whole {
                    self.compute(self.cost.fraction(), password, salt, &mut output);
                }
            }
            return Verdict::Refused;
        }
        Verdict::Accepted { rehashed: cost.is_replaced_by(self.cost).then(|| self.hash(password)) }
    }

    /// How long a whole hash took, another one each time: so what is made to last as long is spread like them, too.
    fn draw(&mut self) -> Duration {
        self.drawn = self.drawn.wrapping_add(1);
        self.whole[self.drawn % self.whole.len()]
    }

    fn compute(&mut self, cost: Cost, password: &Password, salt: &[u8], output: &mut [u8]) {
        let started = thread_time();
        let params = cost.params().expect("a configured or stored cost was checked to be bearable");
        let blocks = self.memory.blocks(params.block_count());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password.expose(), salt, output, blocks)
            .expect("lengths of password, salt and output are within Argon2's, and the memory is as large as it asks");
        if cost == self.cost {
            self.whole[self.hashed % self.whole.len()] = thread_time().saturating_sub(started);
            self.hashed = self.hashed.wrapping_add(1);
        }
    }
}

/// A stored hash that this server can and will check.
struct Stored {
    cost: Cost,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Stored {
    fn parse(phc: &str) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        let known = hash.params.iter().all(|(name, _)| ["m", "t", "p"].contains(&name.as_str()));
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) || !known {
            return None;
        }
        let number = |name: &str| hash.params.get_decimal(name);
        let cost = Cost { memory_kib: number("m")?, passes: number("t")?, lanes: number("p")? };
        let (salt, output) = (hash.salt?.to_vec(), hash.hash?.as_bytes().to_vec());
        let sound = cost.is_bearable() && (8..=64).contains(&salt.len()) && (16..=64).contains(&output.len());
        sound.then_some(Self { cost, salt, output })
    }
}

/// What a stored hash costs to check; `None` if no server can or will check it.
pub(crate) fn stored_cost(phc: &str) -> Option<Cost> {
    Stored::parse(phc).map(|stored| stored.cost)
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The password is right; a new hash if the stored one is to be replaced.
    Accepted { rehashed: Option<String> },
    /// Wrong password, no account, or no may_sign_in.
    Refused,
    /// The stored hash cannot be checked, so no password is accepted.
    Unusable,
}

fn phc_string(cost: Cost, salt: [u8; SALT_BYTES], output: [u8; OUTPUT_BYTES]) -> String {
    let Cost { memory_kib, passes, lanes } = cost;
    let salt = STANDARD_NO_PAD.encode(salt);
    let output = STANDARD_NO_PAD.encode(output);
    format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}")
}

/// Returns a stored hash that no password matches: its output is random.
fn decoy(cost: Cost) -> String {
    phc_string(cost, id::random(), id::random())
}

/// Hashes a new password, on this thread.
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
        Argon2id::new(cost).verify(&password(text), Stored::parse(stored).as_ref(), may_sign_in)
    }

    #[test]
    fn accepts_the_right_password_of_a_may_sign_in_account_only() {
        let stored = hash(CHEAP, &password("correct horse"));
        assert_eq!(check(CHEAP, "correct horse", &stored, true), Verdict::Accepted { rehashed: None });
        assert_eq!(check(CHEAP, "correct horse", &stored, false), Verdict::Refused);
        assert_eq!(check(CHEAP, "correct horsf", &stored, true), Verdict::Refused);
        assert_eq!(check(CHEAP, "", "not a hash", true), Verdict::Unusable);
    }

    #[test]
    fn brings_a_weaker_hash_up_to_cost() {
        let stored = hash(Cost { memory_kib: 32, ..CHEAP }, &password("correct horse"));
        let Verdict::Accepted { rehashed: Some(new) } = check(CHEAP, "correct horse", &stored, true) else {
            panic!("accepted and hashed again");
        };
        assert!(new.starts_with("$argon2id$v=19$m=64,t=2,p=1$"), "{new}");
        assert_eq!(check(CHEAP, "correct horse", &new, true), Verdict::Accepted { rehashed: None });
    }

    #[test]
    fn brings_a_hash_of_over_twice_the_cost_down_to_the_cost() {
        for costlier in [Cost { memory_kib: 192, ..CHEAP }, Cost { passes: 5, ..CHEAP }] {
            let stored = hash(costlier, &password("correct horse"));
            let Verdict::Accepted { rehashed: Some(new) } = check(CHEAP, "correct horse", &stored, true) else {
                panic!("accepted and hashed again: {costlier:?}");
            };
            assert_eq!(stored_cost(&new), Some(CHEAP));
        }
        let twice = hash(Cost { passes: 4, ..CHEAP }, &password("correct horse"));
        assert_eq!(check(CHEAP, "correct horse", &twice, true), Verdict::Accepted { rehashed: None });
    }

    #[test]
    fn a_failed_check_of_a_weaker_hash_takes_no_less_than_a_whole() {
        let full = Cost { memory_kib: 8_192, passes: 2, lanes: 1 };
        let weak =
            Stored::parse(&hash(Cost { memory_kib: 1_024, ..full }, &password("correct horse"))).expect("a hash");
        let mut argon2id = Argon2id::new(full);
        argon2id.prepare(Memory::default(), Some(weak.cost)).expect("there is memory");
        let whole = argon2id.whole[0];
        let started = thread_time();
        assert_eq!(argon2id.verify(&password("wrong"), Some(&weak), true), Verdict::Refused);
        assert!(thread_time().saturating_sub(started) >= whole, "without more it is an eighth");
    }

    #[test]
    fn refuses_to_compute_what_a_stored_hash_should_not_ask_for() {
        let of = |parameters: &str| {
            format!("$argon2id$v=19${parameters}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        };
        assert!(Stored::parse(&of("m=19456,t=2,p=1")).is_some());
        for parameters in [
            "m=4294967295,t=1,p=1",
            "m=19456,t=4294967295,p=1",
            "m=19456,t=0,p=1",
            "m=19456,t=2,p=64",
            "m=1,t=1,p=1",
            "t=2,p=1",
        ] {
            assert!(Stored::parse(&of(parameters)).is_none(), "{parameters}");
        }
        for other in [
            of("m=64,t=2,p=1").replace("argon2id", "argon2d"),
            of("m=64,t=2,p=1").replace("v=19", "v=16"),
            "$2b$10$abc".to_owned(),
        ] {
            assert!(Stored::parse(&other).is_none(), "{other}");
        }
    }

    /// RFC 9106 section 5.3, with its secret and associated data, through the crate that this module relies on.
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
            .expect("computes");
        assert_eq!(output, expected);
    }
}
