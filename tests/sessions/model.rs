//! Random lives of many sessions against a model of what must be said of each token at each moment.

use proptest::prelude::*;
use sealjar::clock::{CLOCK_SKEW, StepGuard, UnixTime};
use sealjar::keyring::KeyRing;
use sealjar::revocation::retention;
use sealjar::revocation::{Entry, WhenStale};
use sealjar::session::{Cause, Identity, Lifetimes, Refusal, SealedSession};

use crate::fixture::{ALICE, HOUR, LIFETIMES, MINUTE, SITE, World, field, key, lifetime};

#[derive(Debug, Clone, Copy)]
enum Step {
    SignIn {
        remember: bool,
    },
    /// Any token of any session, the newest or not.
    Renew {
        session: usize,
        token: usize,
    },
    RenewWhileItIsRevoked {
        session: usize,
        token: usize,
    },
    /// In this process only, the store being away.
    RevokePending {
        session: usize,
    },
    Revoke {
        session: usize,
    },
    RevokeAccount,
    RevokeEveryone,
    Prune,
    Pass {
        minutes: u64,
    },
    /// The wall clock is set to so much off the right time.
    SetClock {
        quarters_off: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..64usize;
    prop_oneof![
        4 => any::<bool>().prop_map(|remember| Step::SignIn { remember }),
        6 => (index.clone(), index.clone()).prop_map(|(session, token)| Step::Renew { session, token }),
        1 => (index.clone(), index.clone()).prop_map(|(session, token)| Step::RenewWhileItIsRevoked { session, token }),
        1 => index.clone().prop_map(|session| Step::RevokePending { session }),
        2 => index.prop_map(|session| Step::Revoke { session }),
        1 => Just(Step::RevokeAccount),
        1 => Just(Step::RevokeEveryone),
        6 => Just(Step::Prune),
        6 => (0..40u64).prop_map(|minutes| Step::Pass { minutes }),
        4 => (40..600u64).prop_map(|minutes| Step::Pass { minutes }),
        2 => (-8..=8i64).prop_map(|quarters_off| Step::SetClock { quarters_off }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_revoked_session_is_never_accepted_again_and_a_live_one_always(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::new();
        for (number, step) in steps.iter().enumerate() {
            model.take(*step);
            model.check(&format!("after step {number}, {step:?}"));
        }
    }
}

/// A remembered session's idle time is shorter than the day for which a step of the clock holds up pruning.
const SHORTER: Lifetimes = Lifetimes { remembered: lifetime(16 * HOUR, 240 * HOUR), ..LIFETIMES };
const QUARTER: i64 = 15 * MINUTE as i64;

struct Model {
    world: World,
    guard: StepGuard,
    lives: Vec<Life>,
    account_generation: u64,
    global_generation: u64,
    /// Time never counts as earlier.
    floor: UnixTime,
    quarters_off: i64,
}

/// A session and every token it ever had.
struct Life {
    revoked: bool,
    tokens: Vec<SealedSession>,
}

impl Model {
    fn new() -> Self {
        let world = World::with(KeyRing::new(vec![key(1)]), SHORTER, WhenStale::Refuse);
        let guard = StepGuard::new(world.now);
        let lives = Vec::new();
        Self { world, guard, lives, account_generation: 0, global_generation: 0, floor: UnixTime(0), quarters_off: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::SignIn { remember } => {
                let Self { account_generation, global_generation, .. } = *self;
                let identity = Identity { account_generation, global_generation, ..ALICE };
                let signed_in = self.world.sessions.sign_in(&identity, remember, b"", SITE, self.world.now);
                self.lives.push(Life { revoked: false, tokens: vec![signed_in.expect("a key is active")] });
            }
            Step::Renew { session, token } => {
                let Some(life) = pick(&mut self.lives, session) else { return };
                let token = &life.tokens[token % life.tokens.len()];
                if let Ok(Some(renewed)) = self.world.renew(&token.token) {
                    assert_eq!((renewed.sid, renewed.deadlines.absolute), (token.sid, token.deadlines.absolute));
                    life.tokens.push(renewed);
                }
            }
            Step::RenewWhileItIsRevoked { session, token } => {
                let Some(life) = pick(&mut self.lives, session) else { return };
                let token = &life.tokens[token % life.tokens.len()];
                let (world, field) = (&self.world, field(token.token.expose()));
                let renewed = world.sessions.verify([field.as_slice()], SITE, world.now, |session| {
                    world.revoke(token);
                    world.sessions.renew(session)
                });
                assert!(matches!(renewed, Ok(Ok(None)) | Err(_)), "renewed though revoked");
                life.revoked |= renewed.is_ok();
            }
            Step::RevokePending { session } => {
                let Some(life) = pick(&mut self.lives, session) else { return };
                let keep_until = retention::pending_until(life.tokens[0].deadlines.absolute);
                self.world.list().add_pending(life.tokens[0].sid, keep_until);
                life.revoked = true;
            }
            Step::Revoke { session } => {
                let Some(life) = pick(&mut self.lives, session) else { return };
                self.world.revoke(&life.tokens[0]);
                life.revoked = true;
            }
            Step::RevokeAccount => {
                self.account_generation += 1;
                let (below, expires_at) = (self.account_generation, self.world.expiry(None));
                self.world.list().add_durable(&Entry::Subject { sub: ALICE.sub.into(), below, expires_at });
                self.lives.iter_mut().for_each(|life| life.revoked = true);
            }
            Step::RevokeEveryone => {
                self.global_generation += 1;
                self.world.list().raise_global_generation(self.global_generation);
                self.lives.iter_mut().for_each(|life| life.revoked = true);
            }
            Step::Prune => {
                if self.world.prune(&mut self.guard) {
                    self.floor = self.floor.max(self.world.now.wall);
                }
            }
            Step::Pass { minutes } => self.world.pass(minutes * MINUTE),
            Step::SetClock { quarters_off } => {
                self.world.step((quarters_off - self.quarters_off) * QUARTER);
                self.quarters_off = quarters_off;
            }
        }
        // The follower asks several times a second.
        self.guard.look(self.world.now);
    }

    fn check(&self, when: &str) {
        let time = self.world.now.wall.max(self.floor);
        for life in &self.lives {
            for SealedSession { token, sid, sealed_at, deadlines, .. } in &life.tokens {
                let expected = if *sealed_at > time.plus(CLOCK_SKEW) {
                    Err(Refusal::Invalid(Cause::FromTheFuture))
                } else if time >= deadlines.idle || time >= deadlines.absolute {
                    Err(Refusal::Expired)
                } else if life.revoked {
                    Err(Refusal::Revoked)
                } else {
                    Ok(*sid)
                };
                assert_eq!(self.world.verify(token), expected, "{when}");
            }
        }
    }
}

fn pick(lives: &mut [Life], number: usize) -> Option<&mut Life> {
    let count = lives.len();
    lives.get_mut(number.checked_rem(count)?)
}
