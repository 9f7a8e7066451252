//! The route `GET /auth/renew`: renews the session.
//!
//! With a return URL, it redirects the browser there. This is for proxies that drop the `Set-Cookie` of a verify response.
//! Without a return URL, the response is the deadlines of the session in JSON. This is for scripts in pages that stay open.

use crate::http::context::Context;
use crate::http::json::{Object, name};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::session::lifetime::Deadlines;

/// Query parameter that `/auth/renew` adds to the return URL. It shows the verify route that the browser was already redirected,
/// so there is at most one redirect to `/auth/renew`. The verify route removes it again.
const MARKER: &str = "sealjar-renewed";

/// Handles `GET /auth/renew`. `rd` in the query is the return URL.
pub(crate) fn renew(context: &Context) -> Result<Reply, Problem> {
    let rd = context.return_url();
    let outcome = context.with_session(context.site()?, context.now(), |_, deadlines| match &rd {
        Some(rd) => Ok(Reply::found(&with_marker(rd.as_str()))),
        None => {
            let Deadlines { idle, absolute } = deadlines;
            let times =
                Object::new().number(name!("idle_deadline"), idle.0).number(name!("absolute_deadline"), absolute.0);
            Ok(Reply::json(times))
        }
    });
    context.redirect_to_login(rd.as_ref().unwrap_or(&context.app.pages.home), outcome)
}

/// Returns the URL with the marker at the end of its query.
fn with_marker(url: &str) -> String {
    let (before_fragment, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let separator = if before_fragment.contains('?') { '&' } else { '?' };
    format!("{before_fragment}{separator}{MARKER}{fragment}")
}

/// Returns a path and query without the marker, or `None` if they do not have it.
pub(super) fn without_marker(target: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    if !query.split('&').any(|pair| pair == MARKER) {
        return None;
    }
    let other_pairs: Vec<&str> = query.split('&').filter(|pair| *pair != MARKER).collect();
    Some(if other_pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", other_pairs.join("&")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_the_marker_restores_the_url() {
        for url in ["/", "/a", "/a?b", "/a?b=c&d=%20", "/?", "/a?b=1;2,3", "/a??"] {
            let marked = with_marker(url);
            let restored = without_marker(&marked).expect("the URL has the marker");
            // An empty query is removed with the marker.
            assert_eq!(restored.trim_end_matches('?'), url.trim_end_matches('?'), "{marked}");
            assert_eq!(without_marker(&restored), None);
        }
        assert_eq!(with_marker("/a#b?c"), "/a?sealjar-renewed#b?c");
        assert_eq!(without_marker("/a?sealjar-renewed&b=1&sealjar-renewed"), Some("/a?b=1".to_owned()));
        assert_eq!(without_marker("/a?sealjar-renewedx&xsealjar-renewed"), None);
    }
}
