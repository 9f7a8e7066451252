//! Builder of a request to a [`Site`], and methods that read its response.

use std::net::{IpAddr, SocketAddr};

use salvo::http::header::{HeaderMap, HeaderName, HeaderValue};
use salvo::http::{Method, ReqBody, ResBody, Version};
use salvo::hyper::body::{Body, Bytes};
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};
use serde_json::Value;

use super::fixture::Site;
use super::openapi_check;
use super::response::{Response, Session};
use crate::id::Kid;
use crate::seal::token::UntrustedToken;

/// Builder of a request. [`RequestBuilder::send`] sends it.
pub(crate) struct RequestBuilder<'s> {
    site: &'s Site,
    peer: IpAddr,
    version: Version,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: ReqBody,
}

impl<'s> RequestBuilder<'s> {
    pub(super) fn new(site: &'s Site, method: Method, path: &str) -> Self {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("host"), HeaderValue::from_static("127.0.0.1"))]);
        let peer = IpAddr::from([127, 0, 0, 1]);
        Self { site, peer, version: Version::HTTP_11, method, path: path.to_owned(), headers, body: ReqBody::None }
    }

    /// Uses HTTP/2.
    pub(crate) fn http2(self) -> Self {
        Self { version: Version::HTTP_2, ..self }
    }

    /// Sets the address of the peer.
    pub(crate) fn from(self, peer: &str) -> Self {
        Self { peer: peer.parse().expect("an address"), ..self }
    }

    /// Appends a header field. A `Host` field replaces the default one.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a field name");
        let value = HeaderValue::from_str(value).expect("a field value");
        if name == "host" {
            self.headers.insert(name, value);
        } else {
            self.headers.append(name, value);
        }
        self
    }

    /// Adds header fields with [`RequestBuilder::header`].
    pub(crate) fn headers(self, fields: &[(&str, &str)]) -> Self {
        fields.iter().fold(self, |request, (name, value)| request.header(name, value))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    pub(crate) fn session(self, session: &Session) -> Self {
        self.cookie(&session.cookie())
    }

    /// Adds the header fields of a navigation, as a browser sends them for a page that it shows.
    pub(crate) fn navigate(self) -> Self {
        let request = self.header("sec-fetch-site", "same-origin").header("sec-fetch-mode", "navigate");
        request.header("accept", "text/html,*/*;q=0.8")
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = serde_urlencoded::to_string(fields).expect("texts");
        self.body("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn body(self, media_type: &str, body: impl Into<Bytes>) -> Self {
        let with_type = if media_type.is_empty() { self } else { self.header("content-type", media_type) };
        Self { body: ReqBody::Once(body.into()), ..with_type }
    }

    pub(crate) async fn send(self) -> Response {
        let mut request = HyperRequest::new(self.body);
        let target = if self.version == Version::HTTP_2 && self.path.starts_with('/') {
            format!("http://{}{}", self.headers["host"].to_str().expect("ASCII"), self.path)
        } else {
            self.path
        };
        *request.uri_mut() = target.parse().expect("a target");
        *request.method_mut() = self.method;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let response = Response::of(self.site.send(SocketAddr::new(self.peer, 1), request).await).await;
        openapi_check::check(self.site, &method, &path, &response);
        response
    }
}

impl Session {
    /// Returns the id of the key that sealed the token.
    pub(crate) fn kid(&self) -> Kid {
        UntrustedToken::from_cookie_value(self.0.as_bytes()).and_then(UntrustedToken::kid).expect("a token")
    }
}

impl Response {
    async fn of(response: HyperResponse<ResBody>) -> Self {
        let (head, body) = response.into_parts();
        let body = String::from_utf8(collect(body).await).expect("text");
        Self::new(head.status.as_u16(), head.headers, body)
    }

    /// Returns name and value of the first cookie that is set, as a browser sends them back.
    pub(crate) fn set_cookie(&self) -> &str {
        self.header("set-cookie").and_then(|set| set.split(';').next()).expect("a cookie is set")
    }

    /// Returns the value of a hidden form field of a page.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let start = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start).unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        rest.split_once('"').expect("the value has an end").0.to_owned()
    }

    /// Asserts that the response is a page. Returns its status and body.
    pub(crate) fn page(&self) -> (u16, &str) {
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{}", self.body);
        (self.status, &self.body)
    }
}

async fn collect(mut body: ResBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        bytes.extend(frame.expect("a frame").into_data().expect("no trailers"));
    }
    bytes
}
