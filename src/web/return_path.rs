//! Paths to which a browser may be redirected after a sign-in: nothing can read them as the address of another host.
//!
//! `http/return_url.rs` has the table of what is refused, and why.

/// Maximum length in bytes.
pub(crate) const MAX_BYTES: usize = 2048;
/// Maximum length in bytes as it stands in a page, where each character that HTML escapes takes five. So a short link cannot ask for
/// a long page.
const MAX_ESCAPED_BYTES: usize = MAX_BYTES + 512;

/// Returns a path without its query and fragment.
pub(crate) fn before_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Returns whether this is a path, perhaps with a query and a fragment, and cannot be read as anything else.
pub(crate) fn is_path(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let path = before_query(&lower);
    let dots = |segment: &str| [".", ".."].contains(&segment.replace("%2e", ".").as_str());
    lower.bytes().all(|byte| byte.is_ascii_graphic())
        && path.starts_with('/')
        && !["//", "/%2f", "/%5c"].iter().any(|start| path.starts_with(start))
        && !path.contains('\\')
        && !path.split('/').any(dots)
        && !has_encoded_control(path)
}

/// Returns whether a path is short enough for a link in a page.
pub(crate) fn is_short(text: &str) -> bool {
    text.len() <= MAX_BYTES && escaped_length(text) <= MAX_ESCAPED_BYTES
}

/// The length in a page.
pub(crate) fn escaped_length(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'&' | b'\'' | b'<' | b'>') { 5 } else { 1 }).sum()
}

fn has_encoded_control(lower: &str) -> bool {
    lower.as_bytes().windows(3).any(|triplet| match triplet {
        [b'%', b'0' | b'1', digit] => digit.is_ascii_hexdigit(),
        [b'%', b'7', b'f'] => true,
        _ => false,
    })
}
