//! Documents are short enough to be read: the size of those that everybody opens, and the length of sentences.

use super::{documents, fences, read};

/// Most bytes that a document may have. A reader's time is bounded, too.
const SIZES: [(&str, usize); 4] =
    [("README.md", 10_000), ("ARCHITECTURE.md", 16_000), ("CONTRIBUTING.md", 10_000), ("SECURITY.md", 10_000)];

/// Most words that the sentences of a document may have on average, and that any one may have.
const AVERAGE: f64 = 15.0;
const LONGEST: usize = 30;

#[test]
fn documents_that_everybody_opens_stay_short() {
    for (document, most) in SIZES {
        let size = read(document).len();
        assert!(
            size <= most,
            "{document} has {size} bytes; move what is for some readers only to docs/, until it has {most}"
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
        assert!(average <= AVERAGE, "{}: {average:.1} words a sentence, and {AVERAGE} are allowed", path.display());
        found += lengths.len();
        let of_page = lengths.into_iter().filter(|(words, _)| *words > LONGEST);
        too_long.extend(of_page.map(|(words, sentence)| format!("{}: {words} words: {sentence}", path.display())));
    }
    assert!(too_long.is_empty(), "sentences of more than {LONGEST} words:\n{}", too_long.join("\n"));
    assert!(found > 2_000, "only {found} were found");
}

/// The sentences of the prose, the list items and the table cells. Code counts as one word, an address of a link as none.
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
            paragraphs.push(item.split_once(' ').expect("a mark and a text").1.to_owned());
        } else {
            let last = paragraphs.last_mut().expect("there is a first");
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
    let first = parts.next().expect("there is a first").to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, after)| after))
}

/// The place after the first `.`, `!` or `?` that ends a sentence: a space and no lower-case letter follow.
fn end_of_sentence(text: &str) -> Option<usize> {
    text.char_indices().filter(|(_, char)| ".!?".contains(*char)).map(|(at, _)| at + 1).find(|at| {
        let after = text[*at..].trim_start_matches([')', '*', '"', '_']);
        after.starts_with(' ') && after.trim_start().starts_with(|next: char| !next.is_lowercase())
    })
}

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
