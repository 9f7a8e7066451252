//! Renders the part of Markdown that the manual pages need: headings, paragraphs, lists, code, tables.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// Renders `# ` as a section and `## ` as a subsection. Each row of a table becomes a term (its first cell), its default (the second
/// of three cells) and its meaning.
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
            // The line above a table's rule is its head.
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
            while let Some(more) = lines.next_if(|next| !next.is_empty()) {
                paragraph.extend([" ", more]);
            }
            page.text(inline(&paragraph));
        }
    }
}

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

/// Code is bold; other emphasis is left out.
fn inline(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part.replace("**", "")) }).collect()
}
