//! Parses roles from arguments, for `sealjar users add` and `sealjar users roles`.

use crate::account::Roles;
use crate::cli::error::CliError;

/// Parses roles. If several roles are in one argument, the hint is the text that `command` returns for the separate roles.
pub(super) fn parse(roles: &[String], command: impl Fn(&[&str]) -> String) -> Result<Roles, CliError> {
    Roles::new(roles).map_err(|error| {
        let parts: Vec<&str> = roles.iter().flat_map(|role| role.split([',', ' '])).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let are_joined = roles.iter().any(|role| role.contains([',', ' ']));
        if !are_joined || parts.is_empty() || !parts.iter().all(|part| Roles::is_role(part)) {
            return error.into();
        }
        CliError::usage("a role must not contain a comma or a space: each role is a separate argument")
            .hint(format!("write: {}", command(&parts)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_at_separate_arguments_for_joined_roles() {
        let parsed = |roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            parse(&roles, |roles| format!("roles alice {}", roles.join(" "))).map_err(|failure| failure.text())
        };
        assert_eq!(parsed(&["b", "a"]).as_ref().map(Roles::as_str), Ok("a,b"));
        for joined in [&["a,b"][..], &["a,", "b"], &["a, b"], &["a b"]] {
            let text = parsed(joined).expect_err("joined roles are refused");
            assert!(text.contains("must not contain a comma") && text.ends_with("write: roles alice a b"), "{text}");
        }
        for other in [&[""][..], &[" "], &[","], &["a;b,c"]] {
            let text = parsed(other).expect_err("an invalid role is refused");
            assert!(text.contains("a role is 1 to 64 letters"), "{text}");
        }
    }
}
