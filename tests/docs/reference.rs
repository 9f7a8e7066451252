//! Compares `docs/reference/http.md` and `docs/reference/events.md` with the program. The other pages in `docs/reference/` are generated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{read, sealjar};

/// Responses that no route describes, because the path or the method does not exist.
const UNROUTED_RESPONSES: [(&str, &str); 2] = [("404", "not-found"), ("405", "method")];

fn descriptions() -> [Value; 2] {
    [&["openapi"][..], &["openapi", "--admin"]].map(|arguments| {
        let (_, description) = sealjar(arguments);
        serde_json::from_str(&description).expect("JSON")
    })
}

/// Returns the texts of the first two cells of each table row whose first cell `is_first` accepts and whose second cell is code.
fn rows(page: &str, is_first: impl Fn(&str) -> bool) -> BTreeSet<(&str, &str)> {
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
    let listed = rows(&page, |first| ["GET", "POST", "any"].contains(&first));
    let mut described = BTreeSet::new();
    let descriptions = descriptions();
    for description in &descriptions {
        for (path, operations) in description["paths"].as_object().expect("paths") {
            // A proxy may call these routes with any method.
            if path.starts_with("/auth/verify") {
                described.insert(("any".to_owned(), path.as_str()));
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
fn the_page_of_http_names_statuses_that_the_routes_have() {
    let page = read("docs/reference/http.md");
    let [public, _] = descriptions();
    let mut found = 0;
    for cells in table(&page, "## Routes") {
        let method = code(cells[0]).first().map_or("get".to_owned(), |method| method.to_lowercase());
        let path = code(cells[1])[0];
        let responses = public["paths"][path][&method]["responses"].as_object().expect("the route is described");
        let words = cells[3].split(|char: char| !char.is_ascii_alphanumeric());
        for status in words.filter(|word| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit())) {
            assert!(responses.contains_key(status), "docs/reference/http.md: {method} {path} has no response {status}");
            found += 1;
        }
    }
    assert!(found > 25, "only {found} were found");
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
            described.extend(reasons.map(|reason| (status.clone(), reason.as_str().expect("the text is UTF-8"))));
        }
    }
    let mut described: BTreeSet<_> = described.iter().map(|(status, reason)| (status.as_str(), *reason)).collect();
    described.extend(UNROUTED_RESPONSES);
    assert!(described.len() > 28, "only {described:?}");
    assert_eq!(listed, described, "the rows `| STATUS | `reason` |` of docs/reference/http.md");
}

#[test]
fn the_page_of_events_has_every_audit_event_with_its_fields() {
    let source = read("src/audit.rs");
    let page = read("docs/reference/events.md");
    let mut logged: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (call, sampled) in [(" event!(", None), ("sampled_event!(", Some("left_out")), ("\n            event!(", None)]
    {
        for rest in source.split(call).skip(1).filter(|rest| rest.trim_start().starts_with('"')) {
            let call = rest.split(';').next().expect("split returns at least one part");
            let call = call.split("),\n").next().expect("split returns at least one part");
            let mut texts = call.split('"');
            let name = texts.nth(1).expect("a name");
            let fields = call.split_once(name).expect("it has one").1.split_once("\",").expect("a comma").1;
            let (_, fields) = fields.split_once("\",").expect("a message");
            let names =
                fields.split(',').map(|field| field.split('=').next().expect("a first").trim_matches([' ', '\n', ')']));
            logged.entry(name).or_default().extend(names.filter(|name| !name.is_empty()).chain(sampled));
        }
    }
    assert!(logged.len() > 12, "only {logged:?}");
    let listed: BTreeMap<&str, BTreeSet<&str>> = table(&page, "## Audit events")
        .into_iter()
        .map(|cells| (code(cells[0])[0], code(cells[1]).into_iter().collect()))
        .collect();
    // The other fields of the event `revocation` depend on its kind.
    logged.insert("revocation", BTreeSet::from(["kind", "cause"]));
    assert_eq!(listed, logged, "the table below \"Audit events\" of docs/reference/events.md");
}

#[test]
fn the_page_of_events_has_every_value_of_their_fields() {
    let page = read("docs/reference/events.md");
    let audit = read("src/audit.rs");
    let (purposes, failures) = audit.split_once("impl Failure").expect("the reasons come after the purposes");
    let refusals = read("src/session/refusal.rs");
    let (_, causes) = refusals.split_once("pub const fn cause").expect("the short names");
    let (causes, _) = causes.split_once("pub enum Cause").expect("the causes come before the enum");
    let throttle = read("src/http/throttle/counts.rs");
    for (heading, source) in [
        ("### Values of during", purposes),
        ("### Reasons of sign-in-failed", failures),
        ("### Limits of throttled", &*throttle),
        ("### Causes of token-refused", causes.split_once("\n    }\n").expect("the end of the function").0),
        ("### Events of commands", &*read("src/cli/audit.rs")),
    ] {
        let named: BTreeSet<&str> = source.split(" => \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let listed: BTreeSet<&str> = table(&page, heading).into_iter().map(|cells| code(cells[0])[0]).collect();
        assert!(
            named.len() > 2 && listed == named,
            "{heading}: the page lists {listed:?}, and the source has {named:?}"
        );
    }
    let kinds: BTreeSet<&str> =
        table(&page, "### Fields of revocation").into_iter().map(|cells| code(cells[0])[0]).collect();
    let named: BTreeSet<&str> = audit.split("kind = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(kinds, named, "the kinds of revocation in docs/reference/events.md");
}

/// Returns the cells of the rows of the first table below a heading.
fn table<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no {heading}"));
    let rows =
        rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches(['|', ' ']).split(" | ").collect()).collect()
}

/// Returns the code spans of a cell.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
