//! `GET /auth/renew`: renews and returns to the checked return URL, for browsers behind proxies that drop the `Set-Cookie` of a
//! verify answer. Without a return URL it answers with the deadlines, for scripts of pages that only fetch.

use crate::http::context::Context;
use crate::http::json::{Object, name};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::session::lifetime::Deadlines;

/// What the return URL's query carries after a renewal, so that there is one round trip at most. The verify route takes it away.
const MARKER: &str = "sealjar-renewed";

/// `GET /auth/renew`. `rd` in the query is the return URL.
pub(crate) fn renew(context: &Context) -> Result<Reply, Problem> {
    let rd = context.return_url();
    let outcome = context.with_session(context.site()?, context.now(), |_, deadlines| match &rd {
        Some(rd) => Ok(Reply::found(&marked(rd.as_str()))),
        None => {
            let Deadlines { idle, absolute } = deadlines;
            let times =
                Object::new().number(name!("idle_deadline"), idle.0).number(name!("absolute_deadline"), absolute.0);
            Ok(Reply::json(times))
        }
    });
    context.or_sign_in(rd.as_ref().unwrap_or(&context.app.pages.home), outcome)
}

fn marked(url: &str) -> String {
    let (before_fragment, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let separator = if before_fragment.contains('?') { '&' } else { '?' };
    format!("{before_fragment}{separator}{MARKER}{fragment}")
}

/// A target without the marker, if it has it.
pub(super) fn unmarked(target: &str) -> Option<String> {
    let (path, query) = target.split_once('?')?;
    if !query.split('&').any(|pair| pair == MARKER) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| *pair != MARKER).collect();
    Some(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_comes_off_as_it_went_on() {
        for url in ["/", "/a", "/a?b", "/a?b=c&d=%20", "/?", "/a?b=1;2,3", "/a??"] {
            let marked = marked(url);
            let back = unmarked(&marked).expect("it is marked");
            // An empty query goes with the marker.
            assert_eq!(back.trim_end_matches('?'), url.trim_end_matches('?'), "{marked}");
            assert_eq!(unmarked(&back), None);
        }
        assert_eq!(marked("/a#b?c"), "/a?sealjar-renewed#b?c");
        assert_eq!(unmarked("/a?sealjar-renewed&b=1&sealjar-renewed"), Some("/a?b=1".to_owned()));
        assert_eq!(unmarked("/a?sealjar-renewedx&xsealjar-renewed"), None);
    }
}
