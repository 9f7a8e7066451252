//! Renders the part of Markdown that the manual pages need: headings, paragraphs, lists, code, tables.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// Renders the text. A line with `# ` becomes the heading of a section, and a line with `## ` the heading of a subsection. Each
/// row of a table becomes a term with its meaning: the first cell is the term, the last cell is the meaning, and a cell between
/// them is the default value.
pub(super) fn render(page: &mut Roff, text: &str) {
    let mut lines = text.lines().peekable();
    let mut is_first_of_section = false;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if let Some(heading) = line.strip_prefix("# ") {
            page.control("SH", [heading]);
            is_first_of_section = true;
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            page.control("SS", [heading]);
            is_first_of_section = true;
            continue;
        }
        if let Some(item) = line.strip_prefix("- ") {
            page.control("IP", ["\\(bu", "2"]);
            page.text(inline(item));
            continue;
        }
        if line.starts_with('|') {
            // The row above the line of dashes has the headings of the table. It is left out.
            if lines.next_if(|next| next.starts_with("|---")).is_none() {
                row(page, line);
            }
            continue;
        }
        if !std::mem::take(&mut is_first_of_section) {
            page.control("PP", []);
        }
        if line.starts_with("```") {
            page.control("nf", []);
            lines.by_ref().take_while(|line| !line.starts_with("```")).for_each(|line| {
                page.text([roman(line)]);
            });
            page.control("fi", []);
        } else {
            let mut paragraph = line.to_owned();
            while let Some(next_line) = lines.next_if(|next| !next.is_empty()) {
                paragraph.extend([" ", next_line]);
            }
            page.text(inline(&paragraph));
        }
    }
}

/// Renders a row of a table.
fn row(page: &mut Roff, line: &str) {
    let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [term, between @ .., meaning] = &cells[..] else { return };
    page.control("TP", []);
    let mut tag = inline(term);
    for default in between {
        tag.extend([roman("  "), italic(default.replace('`', ""))]);
    }
    page.text(tag);
    page.text(inline(meaning));
}

/// Renders the text of a paragraph. Code becomes bold, and other emphasis is removed.
fn inline(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part.replace("**", "")) }).collect()
}
