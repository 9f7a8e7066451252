//! Checks paths to which a browser may be redirected after a login, so that there is no open redirect.
//!
//! Browsers and proxies cannot interpret an accepted path as the URL of another host. `http/return_url.rs` has the table of
//! refused paths with the reasons.

/// Maximum length of a path in bytes.
pub(crate) const MAX_BYTES: usize = 2048;
/// Maximum length of a path in a page in bytes, where each escaped HTML character counts as five bytes. So a short request
/// cannot cause a long page.
const MAX_ESCAPED_BYTES: usize = MAX_BYTES + 512;

/// Returns a path without its query and fragment.
pub(crate) fn before_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Returns whether a text is a path, possibly with a query and a fragment, and cannot be interpreted as anything else.
pub(crate) fn is_path(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let path = before_query(&lower);
    let is_dot_segment = |segment: &str| [".", ".."].contains(&segment.replace("%2e", ".").as_str());
    lower.bytes().all(|byte| byte.is_ascii_graphic())
        && path.starts_with('/')
        && !["//", "/%2f", "/%5c"].iter().any(|start| path.starts_with(start))
        && !path.contains('\\')
        && !path.split('/').any(is_dot_segment)
        && !has_encoded_control(path)
}

/// Returns whether a path is short enough for a link in a page.
pub(crate) fn is_short(text: &str) -> bool {
    text.len() <= MAX_BYTES && escaped_length(text) <= MAX_ESCAPED_BYTES
}

/// Returns the length of a text in a page, with escaped HTML characters.
pub(crate) fn escaped_length(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'&' | b'\'' | b'<' | b'>') { 5 } else { 1 }).sum()
}

/// Returns whether a path in lower case contains a percent-encoded control character.
fn has_encoded_control(lower: &str) -> bool {
    lower.as_bytes().windows(3).any(|triplet| match triplet {
        [b'%', b'0' | b'1', digit] => digit.is_ascii_hexdigit(),
        [b'%', b'7', b'f'] => true,
        _ => false,
    })
}
