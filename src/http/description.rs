//! A description of a listener (OpenAPI) as it is served: prepared once, with a tag.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use salvo::http::{Request, StatusCode};
use salvo::hyper::body::Bytes;
use salvo::prelude::{Response, handler};
use sha2::{Digest, Sha256};

/// A description as it is served, prepared once.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    body: Bytes,
    tag: HeaderValue,
}

impl Description {
    pub(crate) fn new(text: String) -> Self {
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&text)));
        Self { body: text.into(), tag: HeaderValue::try_from(tag).expect("base64url is visible ASCII") }
    }

    /// Whether the client has it already (RFC 9110 section 13.1.2).
    fn is_held(&self, headers: &HeaderMap) -> bool {
        let own = self.tag.as_bytes();
        headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(
            |tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
            },
        )
    }

    /// Returns status, header fields and body for a request with these header fields: the description, or that the client has it.
    pub(super) fn answer(&self, headers: &HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
        // It changes with the settings and the version.
        let fields = [(ETAG, self.tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        let mut fields = HeaderMap::from_iter(fields);
        if self.is_held(headers) {
            return (StatusCode::NOT_MODIFIED, fields, Bytes::new());
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (StatusCode::OK, fields, self.body.clone())
    }
}

/// `GET /openapi.json` of the admin listener.
#[handler]
impl Description {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (status, headers, body) = self.answer(request.headers());
        response.status_code(status);
        *response.headers_mut() = headers;
        if !body.is_empty() {
            response.body(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_is_held_is_known_by_its_tag() {
        let description = Description::new("{}".to_owned());
        let tag = description.tag.to_str().expect("visible ASCII").to_owned();
        for (value, is_held) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"other\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (tag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().expect("a header value"))]);
            assert_eq!(description.is_held(&headers), is_held, "{value}");
        }
        assert!(!description.is_held(&HeaderMap::new()));
    }
}
