//! Checks rules of the language of comments and of local bindings: how a documentation comment begins, words that readers could not
//! follow, and one binding per `let`. `CONTRIBUTING.md` names the rules. `names.rs` checks the names of tests.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// First words that a documentation comment must not have. It begins with what the item is or does.
const FORBIDDEN_OPENERS: [&str; 13] = [
    "What", "Who", "Whose", "Whoever", "Whatever", "Which", "Why", "How", "When", "Where", "That", "So many", "So much",
];

/// Expressions that are hard to understand for readers whose first language is not English, and a plain one for each.
const UNCLEAR_WORDS: [(&str, &str); 9] = [
    ("whoever", "a client, a user, an attacker"),
    ("whatever", "any"),
    ("so many", "the number"),
    ("so much", "the amount"),
    ("says goodbye", "sends a termination message"),
    ("made anew", "rebuilt"),
    ("made good", "repaired"),
    ("which is none", "invalid"),
    ("has not the", "does not have the"),
];

#[test]
fn documentation_comments_start_with_what_the_item_is() {
    let mut found = 0;
    let mut refused = Vec::new();
    for (name, text) in sources() {
        let openings = if is_python(&name) { python_docs(&text) } else { rust_docs(&text) };
        found += openings.len();
        let bad = openings.iter().filter(|(_, opening)| has_forbidden_opener(opening));
        refused.extend(bad.map(|(line, opening)| format!("{name}:{line}: {opening}")));
    }
    assert!(found > 4_000, "only {found} documentation comments were found");
    assert!(refused.is_empty(), "{} comments start with a forbidden word:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn comments_have_none_of_the_unclear_words() {
    let mut refused = Vec::new();
    for (name, text) in sources() {
        for (number, comment) in comments(&name, &text) {
            let comment = comment.to_lowercase();
            for (word, plain) in UNCLEAR_WORDS {
                if contains_word(&comment, word) {
                    refused.push(format!("{name}:{number}: instead of \"{word}\", write for example \"{plain}\""));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{} comments have unclear words:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn every_rust_file_has_a_module_comment() {
    let mut refused = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_python(name)) {
        let mut lines = text.lines().skip_while(|line| line.is_empty() || line.starts_with("#!"));
        // A file that is included into a module cannot have a module comment.
        if !lines.next().is_some_and(|line| line.starts_with("//!") || line.starts_with("// ")) {
            refused.push(name);
        }
    }
    assert!(refused.is_empty(), "these files do not begin with a comment:\n{}", refused.join("\n"));
}

#[test]
fn a_let_has_one_binding() {
    let mut refused = Vec::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_python(name)) {
        let offsets = double_bindings(&text);
        refused.extend(offsets.iter().map(|offset| format!("{name}:{}", line_of(&text, *offset))));
    }
    assert!(refused.is_empty(), "{} `let` have two bindings; write two lines:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn finds_documentation_comments() {
    let rust =
        "//! A module.\n//! Second line.\n\n    /// Whether it is.\n    /// What is not first.\n    a: bool, // What\n";
    assert_eq!(rust_docs(rust), [(1, "A module."), (4, "Whether it is.")]);
    let python = "\"\"\"A module.\"\"\"\n\ndef f():\n    \"\"\"What it does.\n\n    More.\n    \"\"\"\n    x = \"\"\"no doc\"\"\"\n";
    assert_eq!(python_docs(python), [(1, "A module."), (4, "What it does.")]);
    for (opening, expected) in
        [("What it is", true), ("Whatsoever", false), ("So many", true), ("So that", false), ("Whether", false)]
    {
        assert_eq!(has_forbidden_opener(opening), expected, "{opening}");
    }
}

#[test]
fn finds_unclear_words_in_comments_only() {
    let text = "let whoever = \"// whoever\"; // a whoever\n/// so many of them\n";
    let words: Vec<_> = comments("a.rs", text).into_iter().map(|(line, comment)| (line, comment.to_owned())).collect();
    assert_eq!(words, [(1, " a whoever".to_owned()), (2, "/ so many of them".to_owned())]);
    assert!(contains_word("whoever asks", "whoever") && contains_word("not so many", "so many"));
    assert!(!contains_word("also many", "so many") && !contains_word("so manyfold", "so many"));
}

#[test]
fn finds_two_bindings_in_a_let() {
    for (text, expected) in [
        ("let (a, b) = (1, 2);", true),
        ("let (a, mut b): (u8, u8) =\n    (f(1), g((2, 3)));", true),
        ("let (a, b) = (b, a);", false),
        ("let (a, b) = f(1, 2);", false),
        ("let (a, b) = (f)(1);", false),
        ("let (Some(a), Some(b)) = (x, y) else { return };", false),
        ("if let (Some(a), Some(b)) = (x, y) {}", false),
        ("x && let (a, b) = (1, 2)", false),
    ] {
        assert_eq!(!double_bindings(text).is_empty(), expected, "{text}");
    }
}

/// Returns the path, relative to the repository, and the text of every source file.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["benches", "examples", "fuzz/fuzz_targets", "src", "tests"] {
        collect(&root.join(directory), &mut files);
    }
    let own = Path::new(file!()).file_name();
    files.retain(|file| file.file_name() != own);
    assert!(files.len() > 500, "only {} sources were found", files.len());
    let read = |file: PathBuf| {
        let name = file.strip_prefix(root).expect("it is below the root").display().to_string();
        (name, fs::read_to_string(&file).expect("a source can be read"))
    };
    files.into_iter().map(read).collect()
}

/// Adds all sources in a directory and below it to `files`.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the entry can be read").path();
        let is_generated = path.ends_with("target") || path.join("pyvenv.cfg").exists();
        if path.is_dir() && !is_generated {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            files.push(path);
        }
    }
}

fn is_python(name: &str) -> bool {
    name.ends_with(".py")
}

/// Returns line number and text of the first line of each documentation comment.
fn rust_docs(text: &str) -> Vec<(usize, &str)> {
    let mut docs = Vec::new();
    let mut was_doc = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let content = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        if let Some(content) = content.filter(|_| !was_doc) {
            docs.push((index + 1, content.trim()));
        }
        was_doc = content.is_some();
    }
    docs
}

/// Returns line number and text of the first line of each docstring: a string that follows a `:` or begins the file.
fn python_docs(text: &str) -> Vec<(usize, &str)> {
    let mut docs = Vec::new();
    let mut previous = ":";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(content) = line.strip_prefix("\"\"\"").filter(|_| previous.ends_with(':')) {
            docs.push((index + 1, content.trim_end_matches('"').trim()));
        }
        if !line.is_empty() && !line.starts_with("#!") {
            previous = line;
        }
    }
    docs
}

fn has_forbidden_opener(text: &str) -> bool {
    FORBIDDEN_OPENERS.iter().any(|opener| {
        text.strip_prefix(opener).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
    })
}

/// Returns line number and text of the comments: of what follows `//` or `#` at the beginning of a line or after a blank, outside of
/// string literals.
fn comments<'t>(name: &str, text: &'t str) -> Vec<(usize, &'t str)> {
    let marker = if is_python(name) { "#" } else { "//" };
    let mut comments = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_comment = |at: &usize| {
            let before = &line[..*at];
            (before.is_empty() || before.ends_with(' ')) && before.matches('"').count() % 2 == 0
        };
        if let Some(at) = line.match_indices(marker).map(|(at, _)| at).find(is_comment) {
            comments.push((index + 1, &line[at + marker.len()..]));
        }
    }
    comments
}

/// Returns whether `text` contains `word` with no letter before or after it.
fn contains_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// Returns the offsets of statements such as `let (a, b) = (x, y);`. Swaps and patterns that may not match are permitted.
fn double_bindings(text: &str) -> Vec<usize> {
    let is_double = |at: &usize| {
        let before = text[..*at].trim_end();
        let is_condition = ["if", "while", "&&", "||", "("].iter().any(|end| before.ends_with(end));
        !is_condition && is_double_binding(&text[at + "let ".len()..])
    };
    text.match_indices("let (").map(|(at, _)| at).filter(is_double).collect()
}

/// Returns whether a statement, without its `let`, binds the elements of one tuple to those of another.
fn is_double_binding(statement: &str) -> bool {
    let Some((names, rest)) = parenthesized(statement) else { return false };
    let rest = match rest.strip_prefix(": ") {
        Some(types) => parenthesized(types).map_or("", |(_, rest)| rest),
        None => rest,
    };
    let Some(values) = rest.trim_start().strip_prefix('=') else { return false };
    let Some((values, rest)) = parenthesized(values.trim_start()) else { return false };
    let sorted = |list: &str| {
        let mut elements: Vec<_> = list.split(',').map(|element| element.trim().to_owned()).collect();
        elements.sort_unstable();
        elements
    };
    rest.starts_with(';') && sorted(names) != sorted(values)
}

/// Returns the content of the parentheses that a text begins with, and the text after them.
fn parenthesized(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[1..at], &text[at + 1..]));
        }
    }
    None
}

/// Returns the number of the line at an offset.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}
