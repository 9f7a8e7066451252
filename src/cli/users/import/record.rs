//! Parser for one account of the file. Every field is checked, and the message of each fault contains the remedy.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::faults::{Faults, Place};
use super::file::shown;
use crate::account::password::{Budget, stored_cost};
use crate::account::{BadField, DisplayName, Email, LoginName, Profile, Roles};

/// Names of the fields that an account may have. `sub` and `created_at` are allowed because `users list --json` prints them, but
/// their values are not used. A new account always gets a new subject, so that it never has sessions or permissions of another
/// account.
const FIELDS: [&str; 9] =
    ["login", "display_name", "email", "roles", "disabled", "must_change", "password_hash", "sub", "created_at"];

/// A well-formed account of the file.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) profile: Profile,
    pub(super) disabled: bool,
    pub(super) must_change: bool,
    pub(super) hash: Hash,
}

/// The rules for password hashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashing {
    pub(super) budget: Budget,
    /// Value of the setting `password.memory_budget_kib`.
    pub(super) memory_kib: u32,
    /// Whether passwords are generated for accounts without a hash.
    pub(super) generate: bool,
}

/// Source of the password hash of an account.
#[derive(Debug)]
pub(super) enum Hash {
    /// Hash from the file.
    Given(String),
    /// Hash of a password that is generated.
    Generate,
}

impl Record {
    /// Parses an account. Returns `None` if it has a fault.
    pub(super) fn parse(place: Place, value: Value, hashing: Hashing, faults: &mut Faults) -> Option<Self> {
        let Value::Object(fields) = value else {
            faults.add(place, "the account is not a JSON object, such as {\"login\":\"alice\"}");
            return None;
        };
        let mut fields = Fields { fields, place, faults, has_fault: false };
        fields.refuse_unknown();
        let login_name = match fields.text("login") {
            Some(text) => fields.parsed::<LoginName>("login", &text),
            None => {
                fields.fault("login", "it is missing; every account has a login name");
                None
            }
        };
        let display_name = fields.text("display_name").unwrap_or_default();
        let display_name = fields.parsed::<DisplayName>("display_name", &display_name);
        let email = fields.text("email").unwrap_or_default();
        let email = fields.parsed::<Email>("email", &email);
        let roles = fields.roles();
        let disabled = fields.boolean("disabled");
        let must_change = fields.boolean("must_change");
        let hash = fields.hash(hashing);
        if fields.has_fault {
            return None;
        }
        let profile = Profile { login_name: login_name?, display_name: display_name?, email: email?, roles: roles? };
        Some(Self { place, profile, disabled, must_change, hash: hash? })
    }
}

struct Fields<'f> {
    fields: Map<String, Value>,
    place: Place,
    faults: &'f mut Faults,
    has_fault: bool,
}

impl Fields<'_> {
    fn fault(&mut self, field: &str, fault: &str) {
        self.has_fault = true;
        self.faults.add(self.place, &format!("{field}: {fault}"));
    }

    fn refuse_unknown(&mut self) {
        let unknown: Vec<String> =
            self.fields.keys().filter(|name| !FIELDS.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            let fault = match name.as_str() {
                "password" => {
                    "plain passwords are not imported; give password_hash instead, or remove the field and use --generate"
                        .to_owned()
                }
                _ => nearest(&name).map_or_else(
                    || format!("unknown field; the fields are {}", FIELDS.join(", ")),
                    |meant| format!("unknown field; did you mean {meant}?"),
                ),
            };
            self.fault(&shown(&name), &fault);
        }
    }

    /// Removes a field and returns its text, or `None` if the field is missing or `null`.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null) => None,
            Some(_) => {
                self.fault(name, "it must be a text, in quotation marks");
                Some(String::new())
            }
        }
    }

    fn parsed<T: FromStr<Err = BadField>>(&mut self, name: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error: BadField| self.fault(name, error.rule())).ok()
    }

    fn boolean(&mut self, name: &str) -> bool {
        match self.fields.remove(name) {
            Some(Value::Bool(value)) => value,
            None | Some(Value::Null) => false,
            Some(_) => {
                self.fault(name, "it must be true or false, without quotation marks");
                false
            }
        }
    }

    fn roles(&mut self) -> Option<Roles> {
        const NO_LIST: &str = "they must be a list of texts, such as [\"admin\",\"staff\"]";
        let list = match self.fields.remove("roles") {
            Some(Value::Array(list)) => list,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                self.fault("roles", NO_LIST);
                return None;
            }
        };
        let roles: Option<Vec<String>> = list.into_iter().map(|role| role.as_str().map(str::to_owned)).collect();
        let Some(roles) = roles else {
            self.fault("roles", NO_LIST);
            return None;
        };
        Roles::new(&roles).map_err(|error| self.fault("roles", error.rule())).ok()
    }

    fn hash(&mut self, Hashing { budget, memory_kib, generate }: Hashing) -> Option<Hash> {
        const NAME: &str = "password_hash";
        let Some(hash) = self.text(NAME) else {
            if !generate {
                self.fault(NAME, "it is missing; add it, or generate passwords with --generate");
            }
            return Some(Hash::Generate);
        };
        let Some(cost) = stored_cost(&hash) else {
            let fault = if hash.starts_with("$argon2id$") {
                "no server can check this hash: it must have v=19, m up to 262144 KiB, m times t up to 2097152, p up to 16, and a salt and a hash of the usual lengths"
            } else {
                "it is not an Argon2id hash, such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH; remove it, and use --generate"
            };
            self.fault(NAME, fault);
            return None;
        };
        if !budget.suffices_for(cost) {
            let enough = memory_kib.saturating_add(budget.missing_kib(cost.memory_kib));
            self.fault(
                NAME,
                &format!(
                    "the password memory of the server is too small to check it: it needs {} KiB; set password.memory_budget_kib = {enough} or more, also in the configuration of the server",
                    cost.memory_kib
                ),
            );
            return None;
        }
        Some(Hash::Given(hash))
    }
}

/// Returns the field with the most similar name, or `None` if no name is similar.
fn nearest(name: &str) -> Option<&'static str> {
    let letters = |text: &str| -> String {
        text.chars().take(32).filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    // Common names of the same fields in other programs.
    match letters(name).as_str() {
        "username" | "user" | "name" | "loginname" => return Some("login"),
        "hash" | "passwordhash" => return Some("password_hash"),
        "mail" => return Some("email"),
        "groups" => return Some("roles"),
        _ => {}
    }
    let distances = FIELDS.iter().map(|known| (strsim::osa_distance(&letters(known), &letters(name)), *known));
    distances.filter(|(distance, known)| *distance <= (known.len() / 4).max(1)).min().map(|(_, known)| known)
}
