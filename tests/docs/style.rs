//! Checks the size of the documents at the top level, and the length of lines and sentences in all documents.

use super::{documents, fences, read};

/// Maximum size of each document in bytes.
const MAX_SIZES: [(&str, usize); 4] =
    [("README.md", 10_000), ("ARCHITECTURE.md", 16_000), ("CONTRIBUTING.md", 10_000), ("SECURITY.md", 10_000)];

/// Maximum number of words in the sentences of a document, on average.
const MAX_AVERAGE_WORDS: f64 = 15.0;
/// Maximum number of words in a sentence.
const MAX_WORDS: usize = 30;

#[test]
fn documents_that_everybody_opens_stay_short() {
    for (document, max) in MAX_SIZES {
        let size = read(document).len();
        assert!(
            size <= max,
            "{document} has {size} bytes, and {max} are allowed; move details for some readers to docs/"
        );
    }
}

#[test]
fn lines_of_text_are_short() {
    for (path, text) in documents() {
        for line in fences(&text).1.lines() {
            // Rows of tables, images and links are not wrapped.
            let is_whole = line.trim_start().starts_with('|')
                || line.starts_with("<img ")
                || line.starts_with("- [") && line.ends_with(')');
            let length = line.chars().count();
            assert!(is_whole || length <= 120, "{}: {length} characters: {line}", path.display());
        }
    }
}

#[test]
fn sentences_are_short() {
    let mut found = 0;
    let mut too_long = Vec::new();
    for (path, text) in documents() {
        let lengths: Vec<(usize, String)> = sentences(&text)
            .into_iter()
            .map(|sentence| (words(&sentence), sentence))
            .filter(|(words, _)| *words >= 3)
            .collect();
        let sum: usize = lengths.iter().map(|(words, _)| words).sum();
        let average = sum as f64 / lengths.len().max(1) as f64;
        assert!(
            average <= MAX_AVERAGE_WORDS,
            "{}: {average:.1} words per sentence, and {MAX_AVERAGE_WORDS} are allowed",
            path.display()
        );
        found += lengths.len();
        let too_long_here = lengths.into_iter().filter(|(words, _)| *words > MAX_WORDS);
        too_long
            .extend(too_long_here.map(|(words, sentence)| format!("{}: {words} words: {sentence}", path.display())));
    }
    assert!(too_long.is_empty(), "sentences of more than {MAX_WORDS} words:\n{}", too_long.join("\n"));
    assert!(found > 2_000, "only {found} sentences were found");
}

/// Returns the sentences of the prose, of the list items and of the table cells. Code is replaced by one word, and URLs of links are
/// removed.
fn sentences(text: &str) -> Vec<String> {
    let (_, prose) = fences(text);
    let mut paragraphs = vec![String::new()];
    for line in prose.lines() {
        let item = line.trim_start();
        let is_item = item.starts_with("- ") || item.split_once(". ").is_some_and(|(number, _)| is_number(number));
        if line.trim().is_empty() || line.starts_with('#') || line.starts_with("<!--") || line.starts_with("|---") {
            paragraphs.push(String::new());
        } else if item.starts_with('|') {
            paragraphs.extend(item.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()));
        } else if is_item {
            paragraphs.push(item.split_once(' ').expect("a list item has a mark and a text").1.to_owned());
        } else {
            let last = paragraphs.last_mut().expect("the list starts with a paragraph");
            *last = format!("{last} {item}");
        }
    }
    let mut found = Vec::new();
    for paragraph in paragraphs {
        let mut rest = without_code_and_addresses(&paragraph);
        while let Some(end) = end_of_sentence(&rest) {
            let after = rest.split_off(end);
            found.push(rest);
            rest = after;
        }
        found.push(rest);
    }
    found
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_code_and_addresses(text: &str) -> String {
    let plain: Vec<&str> =
        text.split('`').enumerate().map(|(index, part)| if index % 2 == 1 { "Code" } else { part }).collect();
    let plain = plain.concat();
    let mut parts = plain.split("](");
    let first = parts.next().expect("split returns at least one part").to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, after)| after))
}

/// Returns the offset after the first `.`, `!` or `?` that ends a sentence. After such a character there is a space, and then no
/// lower-case letter.
fn end_of_sentence(text: &str) -> Option<usize> {
    text.char_indices().filter(|(_, char)| ".!?".contains(*char)).map(|(at, _)| at + 1).find(|at| {
        let after = text[*at..].trim_start_matches([')', '*', '"', '_']);
        after.starts_with(' ') && after.trim_start().starts_with(|next: char| !next.is_lowercase())
    })
}

/// Returns the number of words in a sentence.
fn words(sentence: &str) -> usize {
    sentence.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

#[test]
fn sentences_are_found() {
    let text = "# A title\n\nOne `b. C` two. Three [four](five.md) six!\nSeven, e.g. eight.\n\n- Nine.\n- Ten | no\n\n| a | B. C |\n|---|---|\n";
    let found: Vec<String> =
        sentences(text).into_iter().map(|each| each.trim().to_owned()).filter(|each| !each.is_empty()).collect();
    assert_eq!(found, ["One Code two.", "Three [four six!", "Seven, e.g. eight.", "Nine.", "Ten | no", "a", "B.", "C"]);
    assert_eq!(words(&found[1]), 3);
}
