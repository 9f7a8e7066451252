//! Checks the table of modules in `ARCHITECTURE.md`: it has every source file, and names only files and types that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{ROOT, collect, fences, read, spans};

fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Returns the files and directories that the first cell of a row names. The cell may omit `.rs`.
fn named(cell: &str) -> Vec<PathBuf> {
    let names = code(cell);
    let mut directory = Path::new(names[0]).parent().expect("a file is in a directory").to_owned();
    let mut found = Vec::new();
    for (name, after) in names.iter().zip(cell.split('`').skip(2).step_by(2)) {
        // The first name, and every name that contains a directory, is relative to `src/`.
        let has_directory = name.trim_end_matches('/').contains('/');
        let path = if has_directory { PathBuf::from(name) } else { directory.join(name) };
        if after.starts_with(':') {
            directory.clone_from(&path);
        } else {
            found.push(if name.ends_with('/') { path } else { path.with_extension("rs") });
        }
    }
    found
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let page = read("ARCHITECTURE.md");
    let (before, rest) = page.split_once("\n## Modules\n").expect("the page has this section");
    let (_, after) = rest.split_once("\n## ").expect("a section follows");
    let spans = [before, after].map(|text| spans(&fences(text).1)).concat();
    let files: Vec<_> = spans.iter().filter(|span| span.ends_with(".rs")).collect();
    assert!(files.len() > 15, "only {files:?}");
    for file in files {
        let exists = ["", "src"].iter().any(|directory| Path::new(ROOT).join(directory).join(file).exists());
        assert!(exists, "ARCHITECTURE.md: there is no {file}");
    }
}

#[test]
fn the_modules_of_the_architecture_are_the_sources() {
    let page = read("ARCHITECTURE.md");
    let (_, table) = page.split_once("\n## Modules\n").expect("the page has this section");
    let (table, _) = table.split_once("\n## ").expect("a section follows");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|row| row.trim_start_matches("| ").trim_end_matches('|').split(" | ").collect())
        .collect();
    let listed: BTreeSet<PathBuf> = rows.iter().flat_map(|row| named(row[0])).collect();
    for path in &listed {
        assert!(Path::new(ROOT).join("src").join(path).exists(), "ARCHITECTURE.md: there is no {}", path.display());
    }
    let mut sources = Vec::new();
    collect("src", "rs", &mut sources);
    let all: String = sources.iter().map(read).collect();
    for name in rows.iter().filter_map(|row| row.get(2)).flat_map(|cell| code(cell)) {
        let exists = ["struct", "enum", "trait", "impl"].iter().any(|kind| {
            all.split(&format!("{kind} {name}")).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric))
        });
        assert!(exists, "ARCHITECTURE.md: there is no type {name}");
    }
    assert!(listed.len() > 100, "only {} files were found", listed.len());
    for source in sources.iter().map(|source| source.strip_prefix("src").expect("the path is below src")) {
        let is_left_out = source == Path::new("lib.rs")
            || source.components().any(|part| part.as_os_str() == "tests")
            || source.ends_with("tests.rs");
        let has_row = source.ancestors().any(|path| listed.contains(path));
        assert!(is_left_out || has_row, "ARCHITECTURE.md: the table of modules lacks {}", source.display());
    }
}
