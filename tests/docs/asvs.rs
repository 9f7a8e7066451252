//! Checks `docs/security/asvs.md`: the table has every requirement of the [ASVS](https://owasp.org/www-project-application-security-verification-standard/)
//! sections that it covers, and names tests that exist.

use super::links::is_test;
use super::read;

/// Sections of ASVS 5.0.0 that the table covers completely, with the levels of their requirements in order.
const ASVS: [(&str, &[u8]); 9] = [
    ("3.3", &[1, 2, 2, 2, 3]),
    ("3.5", &[1, 1, 1, 2, 2, 3, 3, 3]),
    ("6.3", &[1, 1, 2, 2, 3, 3, 3, 3]),
    ("7.1", &[2, 2, 2]),
    ("7.2", &[1, 1, 1, 1]),
    ("7.3", &[2, 2]),
    ("7.4", &[1, 1, 2, 2, 2]),
    ("7.5", &[2, 2, 3]),
    ("7.6", &[2, 2]),
];

const PAGE: &str = include_str!("../../docs/security/asvs.md");

/// Returns the cells of the table's rows: id with level, requirement, verdict with explanation, tests.
fn rows() -> Vec<[&'static str; 4]> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id"));
    let cells = |row: &'static str| row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>();
    rows.map(|row| cells(row).try_into().unwrap_or_else(|_| panic!("not four cells: {row}"))).collect()
}

#[test]
fn the_asvs_table_has_every_requirement_once_with_its_level() {
    // The only requirement of section 3.7 that applies.
    let mut expected: Vec<String> = vec!["3.7.2 (L2)".to_owned()];
    for (section, levels) in ASVS {
        expected.extend(levels.iter().zip(1..).map(|(level, number)| format!("{section}.{number} (L{level})")));
    }
    expected.sort();
    let found: Vec<&str> = rows().iter().map(|[id, ..]| *id).collect();
    assert_eq!(found, expected, "the table has exactly these requirements, in order");
}

#[test]
fn the_asvs_table_agrees_with_the_lists_above_it() {
    const VERDICTS: [&str; 4] = ["Met", "In part", "Not met", "Does not apply"];
    for verdict in VERDICTS {
        let prefix = format!("**{verdict}.** ");
        let with_verdict = rows().into_iter().filter(|[_, _, explanation, _]| explanation.starts_with(&prefix));
        let ids: Vec<&str> = with_verdict.map(|[id, ..]| id.split(' ').next().expect("an id")).collect();
        let listed = verdict == "Met" || PAGE.contains(&format!("\n{verdict}: {}.\n", ids.join(", ")));
        assert!(listed, "{verdict}: {ids:?}");
    }
    for [id, requirement, explanation, tests] in rows() {
        let verdict = VERDICTS.iter().find(|verdict| explanation.starts_with(&format!("**{verdict}.** ")));
        let verdict = verdict.unwrap_or_else(|| panic!("{id}: no verdict"));
        assert!(!requirement.is_empty() && explanation.len() > verdict.len() + 10, "{id}");
        let names_test = tests.contains("::");
        assert!(names_test || !["Met", "In part"].contains(verdict), "{id} is {verdict}, and no test is named");
    }
}

#[test]
fn every_test_that_the_asvs_table_names_exists() {
    let mut named = 0;
    for [id, _, _, tests] in rows() {
        for name in tests.split('`').filter(|text| text.contains("::")) {
            let (file, test) = name.split_once("::").expect("the name has `::`");
            assert!(is_test(&read(file), file, test), "{id}: {file} has no test {test}");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} tests were found");
}
