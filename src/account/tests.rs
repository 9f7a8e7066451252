//! Tests of the validation of account fields.

use super::*;

#[test]
fn debug_output_does_not_contain_the_password() {
    let password = Password::new(Zeroizing::new("hunter2".to_owned()));
    assert_eq!(format!("{password:?}"), "Password(..)");
}

#[test]
fn normalizes_equivalent_spellings_of_a_password() {
    let normalized = |text: &str| Password::new(Zeroizing::new(text.to_owned())).expose().to_vec();
    for (first, second) in [
        ("Schl\u{fc}ssel", "Schlu\u{308}ssel"),
        ("\u{d55c}\u{ae00}", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
        ("a\u{323}\u{307}", "a\u{307}\u{323}"),
        ("correct horse", "correct\u{a0}horse"),
        ("\u{30d1}\u{30b9} \u{30ef}", "\u{30cf}\u{309a}\u{30b9}\u{3000}\u{30ef}"),
        ("a b c d", "a\u{2000}b\u{202f}c\u{1680}d"),
    ] {
        assert_eq!(normalized(first), normalized(second), "{first:?} and {second:?}");
    }
    // Compatibility characters (such as the ligature "fi") and upper-case letters are not replaced.
    for (first, second) in [("\u{ff41}", "a"), ("\u{fb01}", "fi"), ("\u{b2}", "2"), ("A", "a"), ("a\tb", "a b")] {
        assert_ne!(normalized(first), normalized(second), "{first:?} and {second:?}");
    }
}

#[test]
fn counts_the_length_of_a_password_after_normalization() {
    let check = |text: &str| Password::new(Zeroizing::new(text.to_owned())).check_new();
    assert_eq!(check(&"u\u{308}".repeat(8)), Ok(()));
    assert!(check(&"u\u{308}".repeat(7)).is_err(), "7 characters");
    assert_eq!(
        check(&"\u{1112}\u{1161}\u{11ab}".repeat(341)),
        Ok(()),
        "1023 bytes after normalisation, and three times as many before"
    );
    assert!(check(&"\u{d55c}".repeat(342)).is_err());
}

#[test]
fn normalizing_needs_at_most_three_times_the_memory() {
    for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
        let capacity = 3 * c.len_utf8();
        assert_eq!(normalize(c.encode_utf8(&mut [0; 4])).capacity(), capacity, "{c:?}");
    }
}

#[test]
fn a_login_name_is_lower_cased_and_validated() {
    assert_eq!("Alice.B@x-1_".parse::<LoginName>().map(|name| name.to_string()).as_deref(), Ok("alice.b@x-1_"));
    let with_whitespace = ["a ", " a", "a\n", "\u{a0}a"].map(|text| text.parse::<LoginName>().map_err(BadField::rule));
    assert!(
        with_whitespace
            .iter()
            .all(|rule| rule.as_ref().is_err_and(|rule| rule.contains("begin or end with whitespace")))
    );
    for bad in ["", " ", ".a", "-a", "a b", "a,b", "\u{e4}", "a\n", &"a".repeat(65)] {
        assert!(bad.parse::<LoginName>().is_err(), "{bad:?}");
    }
}

#[test]
fn roles_are_sorted_and_contain_no_comma() {
    let roles = |list: &[&str]| Roles::new(&list.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>());
    assert_eq!(roles(&["b", "a", "b"]).map(|roles| roles.0).as_deref(), Ok("a,b"));
    for bad in [&["a,b"][..], &[""], &["a b"], &["\u{e9}"]] {
        assert!(roles(bad).is_err(), "{bad:?}");
    }
    assert!(
        Roles::new(&(0..40).map(|n| format!("{n:060}")).collect::<Vec<_>>()).is_err(),
        "the joined roles are too long"
    );
}

#[test]
fn email_and_display_name_may_be_empty_but_not_unsafe() {
    assert!("".parse::<Email>().is_ok() && "a@b".parse::<Email>().is_ok());
    assert!("".parse::<DisplayName>().is_ok() && "J\u{f6}rg Ng\u{1ecd}z\u{1ecb}".parse::<DisplayName>().is_ok());
    for bad in ["a", "@b", "a@", "a@b\r\nX: y", "\u{e4}@b"] {
        assert!(bad.parse::<Email>().is_err(), "{bad:?}");
    }
    assert!("a\nb".parse::<DisplayName>().is_err());
}
