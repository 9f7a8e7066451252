//! Checks that every decision record has its parts (context, decision, consequences), and that every dependency has a reason.

use super::{documents, read};

#[test]
fn every_decision_has_its_parts_and_is_in_the_index() {
    let documents = documents();
    let index = read("docs/decisions/README.md");
    let pages = documents.iter().filter(|(path, _)| path.starts_with("docs/decisions") && !path.ends_with("README.md"));
    let mut found = 0;
    for (path, text) in pages {
        let mut sections = text.split("\n## ");
        let head = sections.next().expect("split returns at least one part");
        assert!(head.starts_with("# "), "{}", path.display());
        // dependencies.md has a policy and a table instead of these parts.
        for section in sections.filter(|_| !path.ends_with("dependencies.md")) {
            let (title, body) = section.split_once('\n').expect("more than a title");
            let parts = ["**Context.** ", "**Decision.** ", "**Consequences.** "];
            let at: Vec<_> = parts.iter().map(|part| body.find(&format!("\n{part}"))).collect();
            assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{}: {title}: {at:?}", path.display());
            let link = format!("- [{}]({}#", title.replace('`', ""), path.file_name().expect("a name").display());
            assert!(
                index.contains(&link) || index.contains(&link.replace(&title.replace('`', ""), title)),
                "the index lacks {title:?}"
            );
            if let Some((_, measured)) = body.split_once("\n**Measured.** ") {
                let names_method =
                    ["`make ", "`cargo ", "`tests/", "once"].iter().any(|method| measured.contains(method));
                assert!(names_method, "{}: {title}: the command that measures the figures is missing", path.display());
            }
            found += 1;
        }
    }
    assert!(found > 70, "only {found} decisions were found");
}

#[test]
fn every_dependency_has_its_reason_above_it() {
    let mut found = 0;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml", "tests/loom/Cargo.toml"] {
        let text = read(manifest);
        let mut previous = "";
        let mut in_dependencies = false;
        for line in text.lines() {
            if let Some(section) = line.strip_prefix('[') {
                in_dependencies = section.contains("dependencies");
            } else if in_dependencies && line.starts_with(|first: char| first.is_ascii_lowercase()) {
                assert!(previous.starts_with("# "), "{manifest}: a comment with the reason is missing above {line}");
                found += 1;
            }
            previous = line;
        }
    }
    assert!(found > 55, "only {found} dependencies were found");
}
