//! Checks the documents about security. `docs/security/promises.md` has all parts of each promise, and every check of `sealjar doctor`.
//! `SECURITY.md` links to each promise, and to each attack that Sealjar does not defend against. `docs/security/limits.md` names constants
//! that exist.

use std::collections::BTreeSet;

use super::links::anchors;
use super::{collect, read};

/// Text that marks a section without a promise.
const NO_PROMISE: &str = "**Promise.** None;";

/// Returns title and text of each section at one level of headings.
fn sections<'t>(text: &'t str, mark: &str) -> Vec<(&'t str, &'t str)> {
    text.split(&format!("\n{mark} "))
        .skip(1)
        .map(|section| section.split_once('\n').expect("a section has a title and a text"))
        .collect()
}

#[test]
fn every_promise_has_its_parts() {
    let page = read("docs/security/promises.md");
    let promises = sections(&page, "##");
    assert!(promises.len() > 20, "only {} promises were found", promises.len());
    for (title, text) in promises {
        let parts = ["Promise", "Mechanism", "Exceptions", "Tests", "`sealjar doctor` checks"];
        let at: Vec<_> = parts
            .iter()
            .map(|part| text.find(&format!("\n**{part}.** ")).or(text.find(&format!("\n**{part}.**\n"))))
            .collect();
        assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{title}: {at:?}");
        let tests = &text[at[3].expect("checked above")..at[4].expect("checked above")];
        assert!(tests.contains("::") || text.contains(NO_PROMISE), "{title}: no test is named");
    }
}

#[test]
fn promises_name_every_check_of_the_doctor() {
    let mut sources = Vec::new();
    collect("src/cli/doctor", "rs", &mut sources);
    let mut checks = BTreeSet::new();
    for source in sources {
        let text = read(source);
        let calls =
            ["ok", "ok_otherwise", "skipped", "warning", "problem", "failure"].map(|call| format!("report.{call}("));
        let literals = calls.iter().flat_map(|call| text.split(call.as_str()).skip(1));
        let constants = text.split("const CHECK: &str =").skip(1);
        let names = literals.chain(constants).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        checks.extend(names.map(str::to_owned));
    }
    assert!(checks.len() > 35, "only {checks:?}");
    let page = read("docs/security/promises.md");
    let named: String =
        page.split("**`sealjar doctor` checks.**").skip(1).filter_map(|rest| rest.split("\n## ").next()).collect();
    let missing: Vec<_> = checks.iter().filter(|check| !named.contains(&format!("`{check}`"))).collect();
    assert!(missing.is_empty(), "docs/security/promises.md lacks {missing:?}");
}

#[test]
fn security_leads_to_every_promise_and_every_limit() {
    let front = read("SECURITY.md");
    let promises = read("docs/security/promises.md");
    let limits = read("docs/security/limits.md");
    let (_, not_defended) = limits.split_once("\n## Not defended\n").expect("limits.md has this section");
    for (page, text, mark) in [("promises", &*promises, "##"), ("limits", not_defended, "###")] {
        for (title, _) in sections(text, mark).into_iter().filter(|(_, text)| !text.contains(NO_PROMISE)) {
            let anchor = anchors(&format!("# {title}")).pop_first().expect("one heading");
            let link = format!("](docs/security/{page}.md#{anchor})");
            assert!(front.contains(&link), "SECURITY.md has no link to {title:?} in docs/security/{page}.md");
        }
    }
}

#[test]
fn limits_name_constants_of_their_files() {
    let page = read("docs/security/limits.md");
    let mut found = 0;
    for cell in page.lines().filter(|line| line.starts_with("| ")).flat_map(|row| row.split(" | ")) {
        let code: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let Some(file) = code.iter().find(|code| code.starts_with("src/")) else { continue };
        for name in code.iter().filter(|code| code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')) {
            assert!(read(file).contains(&format!("const {name}: ")), "docs/security/limits.md: {file} has no {name}");
            found += 1;
        }
    }
    assert!(found > 5, "only {found} constants were found");
}
