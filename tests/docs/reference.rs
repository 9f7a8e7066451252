//! `docs/reference/http.md` and `docs/reference/events.md` say what the program does. The other pages there are generated.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{read, sealjar};

/// Answers that the description of no route has: there is no such route, or not for this method.
const OF_NO_ROUTE: [(&str, &str); 2] = [("404", "not-found"), ("405", "method")];

fn descriptions() -> [Value; 2] {
    [&["openapi"][..], &["openapi", "--admin"]].map(|arguments| {
        let (_, description) = sealjar(arguments);
        serde_json::from_str(&description).expect("JSON")
    })
}

/// The texts in the first two cells of each row of a page, if `is_first` accepts the first and the second is code.
fn rows<'p>(page: &'p str, is_first: impl Fn(&str) -> bool) -> BTreeSet<(&'p str, &'p str)> {
    let cells = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let first = cells.next()?.trim_matches('`');
        Some((first, cells.next()?.strip_prefix('`')?.strip_suffix('`')?))
    });
    cells.filter(|(first, _)| is_first(first)).collect()
}

#[test]
fn the_page_of_http_has_every_route_with_its_methods() {
    let page = read("docs/reference/http.md");
    let listed = rows(&page, |first| ["GET", "POST"].contains(&first));
    let mut described = BTreeSet::new();
    let descriptions = descriptions();
    for description in &descriptions {
        for (path, operations) in description["paths"].as_object().expect("paths") {
            // A proxy asks these with any method; they have tables of their own.
            if let Some(shape) = path.strip_prefix("/auth/verify") {
                let shape = shape.split("/{").next().expect("there is a first");
                assert!(page.contains(&format!("`/auth/verify{shape}")), "docs/reference/http.md lacks {path}");
                continue;
            }
            let methods = operations.as_object().expect("operations").keys().filter(|method| *method != "parameters");
            described.extend(methods.map(|method| (method.to_uppercase(), path.as_str())));
        }
    }
    described.retain(|(method, _)| method != "HEAD");
    let described: BTreeSet<_> = described.iter().map(|(method, path)| (method.as_str(), *path)).collect();
    assert!(described.len() > 14, "only {described:?}");
    assert_eq!(listed, described, "the rows `| `METHOD` | `PATH` |` of docs/reference/http.md");
}

#[test]
fn the_page_of_http_has_every_reason_with_its_status() {
    let page = read("docs/reference/http.md");
    let is_status = |first: &str| first.len() == 3 && first.bytes().all(|byte| byte.is_ascii_digit());
    let listed = rows(&page, is_status);
    let descriptions = descriptions();
    let mut described: BTreeSet<(String, &str)> = BTreeSet::new();
    for description in &descriptions {
        for response in description["components"]["responses"].as_object().expect("responses").values() {
            let problem = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
            let reasons = problem["reason"]["enum"].as_array().into_iter().flatten();
            let status = problem["status"]["enum"][0].to_string();
            described.extend(reasons.map(|reason| (status.clone(), reason.as_str().expect("text"))));
        }
    }
    let mut described: BTreeSet<_> = described.iter().map(|(status, reason)| (status.as_str(), *reason)).collect();
    described.extend(OF_NO_ROUTE);
    assert!(described.len() > 28, "only {described:?}");
    assert_eq!(listed, described, "the rows `| STATUS | `reason` |` of docs/reference/http.md");
}

#[test]
fn the_page_of_events_has_every_audit_event() {
    let source = read("src/audit.rs");
    let page = read("docs/reference/events.md");
    let calls = ["event!(", "sampled_event!("].iter().flat_map(|call| source.split(call).skip(1));
    let names: BTreeSet<&str> =
        calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next()).collect();
    assert!(names.len() > 12, "only {names:?}");
    let (_, table) = page.split_once("\n## Audit events\n").expect("the section");
    let listed: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|row| {
            row.split(" | ")
                .next()
                .expect("there is a first")
                .split('`')
                .step_by(2)
                .filter(|name| !name.trim_matches([',', ' ']).is_empty())
        })
        .collect();
    assert!(names.is_subset(&listed), "docs/reference/events.md lacks {:?}", names.difference(&listed));
    // Values that the fields of events have.
    let values = source
        .split("=> \"")
        .skip(1)
        .chain(source.split("kind = \"").skip(1))
        .chain(source.split("cause = \"").skip(1));
    for value in values.filter_map(|rest| rest.split('"').next()) {
        assert!(table.contains(&format!("`{value}`")), "docs/reference/events.md lacks the value {value}");
    }
}
