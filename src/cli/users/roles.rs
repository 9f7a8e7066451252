//! Roles as arguments.

use crate::account::Roles;
use crate::cli::error::CliError;

/// Parses roles. `command` writes what to run, with these roles.
pub(super) fn parse(roles: &[String], command: impl Fn(&[&str]) -> String) -> Result<Roles, CliError> {
    Roles::new(roles).map_err(|error| {
        let parts: Vec<&str> = roles.iter().flat_map(|role| role.split([',', ' '])).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let are_joined = roles.iter().any(|role| role.contains([',', ' ']));
        if !are_joined || parts.is_empty() || !parts.iter().all(|part| Roles::is_role(part)) {
            return error.into();
        }
        CliError::usage("a role has no comma and no blank: each role is an argument of its own")
            .hint(format!("write: {}", command(&parts)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_to_write_roles_that_are_in_one_argument() {
        let said = |roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            parse(&roles, |roles| format!("roles alice {}", roles.join(" "))).map_err(|failure| failure.text())
        };
        assert_eq!(said(&["b", "a"]).as_ref().map(Roles::as_str), Ok("a,b"));
        for joined in [&["a,b"][..], &["a,", "b"], &["a, b"], &["a b"]] {
            let text = said(joined).expect_err("a comma");
            assert!(text.contains("no comma") && text.ends_with("write: roles alice a b"), "{text}");
        }
        for other in [&[""][..], &[" "], &[","], &["a;b,c"]] {
            let text = said(other).expect_err("not a role");
            assert!(text.contains("a role is 1 to 64 letters"), "{text}");
        }
    }
}
