//! The route `GET /openapi.json`: serves the OpenAPI description of a listener. The JSON text and its
//! [`ETag`](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3) are created once, at the start.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use salvo::http::{Request, StatusCode};
use salvo::hyper::body::Bytes;
use salvo::prelude::{Response, handler};
use sha2::{Digest, Sha256};

/// The JSON text of an OpenAPI description, and its `ETag`.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    body: Bytes,
    etag: HeaderValue,
}

impl Description {
    /// Computes the `ETag` of a description: its SHA-256 hash.
    pub(crate) fn new(text: String) -> Self {
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&text)));
        Self { body: text.into(), etag: HeaderValue::try_from(etag).expect("base64url is visible ASCII") }
    }

    /// Returns whether the client already has this description, according to `If-None-Match` ([RFC 9110 section
    /// 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)).
    fn is_cached(&self, headers: &HeaderMap) -> bool {
        let own_tag = self.etag.as_bytes();
        headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(
            |tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own_tag
            },
        )
    }

    /// Returns status, header fields and body of the response: the description, or 304 if the client already has it.
    pub(super) fn response(&self, headers: &HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
        // The description changes with the settings and the version, so caches must revalidate it.
        let fields = [(ETAG, self.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        let mut fields = HeaderMap::from_iter(fields);
        if self.is_cached(headers) {
            return (StatusCode::NOT_MODIFIED, fields, Bytes::new());
        }
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (StatusCode::OK, fields, self.body.clone())
    }
}

/// Handler of `GET /openapi.json` on the admin listener.
#[handler]
impl Description {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        let (status, headers, body) = self.response(request.headers());
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
    fn recognizes_the_etag_of_a_cached_description() {
        let description = Description::new("{}".to_owned());
        let tag = description.etag.to_str().expect("visible ASCII").to_owned();
        for (value, is_cached) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"other\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (tag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().expect("a header value"))]);
            assert_eq!(description.is_cached(&headers), is_cached, "{value}");
        }
        assert!(!description.is_cached(&HeaderMap::new()));
    }
}
