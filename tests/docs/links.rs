//! Checks that every link leads to an existing file and heading, that every path and test named in the documents exists, and that every page
//! is in an index.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{ROOT, collect, documents, fences, read, spans};

/// Directories whose files the documents name by their paths.
const DIRECTORIES: [&str; 8] = ["benches/", "deploy/", "docs/", "examples/", "fuzz/", "keys/", "src/", "tests/"];

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let mut followed = 0;
    let changelog = (PathBuf::from("CHANGELOG.md"), read("CHANGELOG.md"));
    for (path, text) in documents().into_iter().chain([changelog]) {
        let (_, prose) = fences(&text);
        let other = prose.lines().find(|line| line.starts_with('[') && line.contains("]: ") || line.contains("<a "));
        assert!(other.is_none(), "{}: this link does not have the form [text](target): {other:?}", path.display());
        for (link, target, heading) in links(&path, &prose) {
            assert!(Path::new(ROOT).join(&target).exists(), "{}: {link} leads nowhere", path.display());
            if let Some(heading) = heading {
                assert!(anchors(&read(&target)).contains(heading), "{}: {link}: no such heading", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 200, "only {followed} links were found");
}

/// Returns the links within the repository: the link as it is written, the path of its target, and the heading.
fn links<'p>(path: &Path, prose: &'p str) -> Vec<(&'p str, PathBuf, Option<&'p str>)> {
    let links = prose.split("](").skip(1).map(|rest| rest.split_once(')').expect("the link is closed").0);
    let images =
        prose.split("<img src=\"").skip(1).map(|rest| rest.split_once('"').expect("the attribute is closed").0);
    let inside = links.chain(images).filter(|link| !link.starts_with("https://"));
    let target = |link: &'p str| {
        let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
        (link, if file.is_empty() { path.to_owned() } else { path.with_file_name(file) }, heading)
    };
    inside.map(target).collect()
}

/// The Debian package has the documents below one directory, with the same relative paths as in the repository.
#[test]
fn links_of_packaged_documents_stay_in_the_package() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("assets");
    let pattern = |asset: &toml::Value| {
        let asset = asset.as_array().expect("an asset");
        let source = asset[0].as_str().expect("a pattern");
        let below = asset[1].as_str().expect("a path").strip_prefix("usr/share/doc/sealjar/")?;
        let directory = source.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"));
        assert_eq!(below, directory, "the directory of {source} in the package");
        Some(source.to_owned())
    };
    let patterns: Vec<String> = assets.iter().filter_map(pattern).collect();
    let is_packaged = |path: &Path| {
        patterns.iter().any(|pattern| match pattern.split_once('*') {
            Some((directory, end)) => {
                let name = path.file_name().expect("a name").to_str().expect("the text is UTF-8");
                Path::new(directory) == path.parent().expect("a directory") && name.ends_with(end)
            }
            None => Path::new(pattern) == path,
        })
    };
    let mut packaged = 0;
    for (path, text) in documents().into_iter().filter(|(path, _)| is_packaged(path)) {
        let (_, prose) = fences(&text);
        for (link, target, _) in links(&path, &prose) {
            let target = resolved(&target);
            let is_directory = Path::new(ROOT).join(&target).is_dir();
            let is_in_package = match is_directory {
                true => patterns.iter().any(|pattern| Path::new(pattern).starts_with(&target)),
                false => is_packaged(&target),
            };
            assert!(is_in_package, "{}: {link} leads out of the Debian package (Cargo.toml, assets)", path.display());
        }
        packaged += 1;
    }
    assert!(packaged > 30, "only {packaged} packaged documents were found");
}

/// Returns the path with its `..` components resolved.
fn resolved(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => drop(path.pop()),
            component => path.push(component),
        }
        path
    })
}

/// Returns the anchors of a document's headings, as GitHub generates them.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let (_, prose) = fences(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|char| char.is_alphanumeric() || " -_".contains(*char))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_page_of_docs_is_in_the_index_above_it() {
    let documents = documents();
    let mut indexed = 0;
    for path in
        documents.keys().filter(|path| path.starts_with("docs") && path.as_path() != Path::new("docs/README.md"))
    {
        // The index is the README of the page's directory, or of the one above.
        let above = path.ancestors().skip(if path.ends_with("README.md") { 2 } else { 1 });
        let index = above.map(|directory| directory.join("README.md")).find(|index| documents.contains_key(index));
        let index = index.expect("docs/ has an index");
        let link = path
            .strip_prefix(index.parent().expect("a directory"))
            .expect("the path is below the directory")
            .display()
            .to_string();
        assert!(documents[&index].contains(&format!("]({link})")), "{} lacks a link to {link}", index.display());
        indexed += 1;
    }
    assert!(indexed > 25, "only {indexed} pages were found");
}

#[test]
fn every_path_and_test_that_is_named_exists() {
    let mut paths = 0;
    let mut tests = 0;
    for (document, text) in documents() {
        let (_, prose) = fences(&text);
        for span in spans(&prose) {
            let (path, test) = span.split_once("::").map_or((&*span, None), |(path, test)| (path, Some(test)));
            if !DIRECTORIES.iter().any(|directory| path.starts_with(directory)) || path.contains(['*', '<', '…', ' '])
            {
                continue;
            }
            for file in expanded(path) {
                assert!(Path::new(ROOT).join(&file).exists(), "{}: there is no {file}", document.display());
                paths += 1;
            }
            let Some(test) = test else { continue };
            assert!(is_test(&read(path), path, test), "{}: {path} has no test {test}", document.display());
            tests += 1;
        }
    }
    assert!(paths > 200 && tests > 80, "only {paths} paths and {tests} tests were found");
}

#[test]
fn every_test_that_contributing_names_exists() {
    let mut sources = Vec::new();
    for (directory, extension) in [("src", "rs"), ("tests", "rs"), ("tests/web", "py")] {
        collect(directory, extension, &mut sources);
    }
    let all: String = sources.iter().map(read).collect();
    let page = read("CONTRIBUTING.md");
    let (blocks, prose) = fences(&page);
    // Names of at least four words are taken for tests. Shorter ones are functions of the program.
    let names = spans(&prose).into_iter().filter(|span| span.matches('_').count() > 2);
    let names = names.filter(|span| span.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    let mut found = 0;
    for name in names {
        assert!(all.contains(&format!("fn {name}(")), "CONTRIBUTING.md: there is no test {name}");
        found += 1;
    }
    assert!(found > 4, "only {found} tests were found");
    // The last word of a command that runs some tests has the names of modules, and the beginning of a test's name.
    let architecture = read("ARCHITECTURE.md");
    let lines = blocks.iter().flat_map(|(_, block)| block.lines()).map(str::to_owned).chain(spans(&architecture));
    for line in lines.filter(|line| line.starts_with("cargo test")) {
        let words: Vec<&str> = line.split(' ').collect();
        let Some(at) = words.iter().position(|word| ["--lib", "--test"].contains(word)) else { continue };
        for part in words[at + 1..].iter().flat_map(|word| word.split("::")) {
            let is_file = sources
                .iter()
                .any(|path| path.file_stem().is_some_and(|stem| stem == part) || path.iter().any(|name| name == part));
            assert!(is_file || all.contains(&format!("fn {part}")), "{line}: there is no {part}");
        }
    }
}

/// Returns the paths that a path with one `{a,b}` stands for.
fn expanded(path: &str) -> Vec<String> {
    let alternatives = path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    match alternatives {
        Some((head, (names, tail))) => names.split(',').map(|name| format!("{head}{name}{tail}")).collect(),
        None => vec![path.to_owned()],
    }
}

/// Returns whether a source file has a test with this name.
pub(crate) fn is_test(source: &str, file: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    if file.ends_with(".py") {
        return name.starts_with("test_") && lines.iter().any(|line| line.starts_with(&format!("def {name}(")));
    }
    let head = format!("fn {name}(");
    let found = lines.iter().position(|line| line.starts_with(&head) || line.starts_with(&format!("async {head}")));
    let attribute = |line: &&&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    found.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| attribute(&line))
    })
}

#[test]
fn a_helper_function_does_not_count_as_a_test() {
    assert!(is_test("#[test]\nfn holds() {}", "a.rs", "holds"));
    assert!(!is_test("fn helper() {}", "a.rs", "helper"));
    assert!(!is_test("def helper():", "a.py", "helper"));
    assert_eq!(expanded("src/{a,b}.rs"), ["src/a.rs", "src/b.rs"]);
}

/// Returns the pages below `docs/` that messages name: the path, and the heading if the message quotes one before "in".
fn pages_in_messages(source: &str) -> Vec<(&str, Option<&str>)> {
    let ends = source.match_indices(".md").map(|(at, end)| at + end.len());
    let pages = ends.filter_map(|end| {
        let start = source[..end].rfind(|char: char| !(char.is_ascii_alphanumeric() || "/_.-".contains(char)))? + 1;
        let before = source[..start].trim_end();
        let heading =
            before.strip_suffix("\\\" in").and_then(|before| before.rsplit_once("\\\"")).map(|(_, heading)| heading);
        source[start..end].starts_with("docs/").then_some((&source[start..end], heading))
    });
    pages.collect()
}

#[test]
fn messages_name_pages_and_headings_that_exist() {
    let mut sources = Vec::new();
    super::collect("src", "rs", &mut sources);
    let mut headings = 0;
    for source in sources {
        // A string literal may continue on the next line.
        let text: String = read(&source).lines().map(|line| line.trim().trim_end_matches('\\')).collect();
        for (page, heading) in pages_in_messages(&text) {
            assert!(Path::new(ROOT).join(page).exists(), "{}: there is no {page}", source.display());
            if let Some(heading) = heading {
                headings += 1;
                let has = read(page).lines().any(|line| line.trim_start_matches('#').trim() == heading);
                assert!(has, "{}: {page} has no heading {heading:?}", source.display());
            }
        }
    }
    assert!(headings >= 2, "only {headings} headings were found");
}
