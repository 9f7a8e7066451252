//! A response and the session cookie that it sets. The in-process tests and the tests of the real binary share this file.

use salvo::http::header::HeaderMap;
use serde_json::Value;

/// The value of a session cookie, as a browser stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) String);

impl Session {
    /// Returns the session that a response with these header fields sets, or `None` if it does not set a session cookie.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII"));
        let mut sessions = fields.filter_map(|value| value.strip_prefix("__Host-sealjar="));
        let (token, _) = sessions.next()?.split_once(';')?;
        assert!(sessions.next().is_none(), "a cookie is set more than once");
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    pub(crate) fn cookie(&self) -> String {
        format!("__Host-sealjar={}", self.0)
    }
}

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) session: Option<Session>,
}

impl Response {
    pub(crate) fn new(status: u16, headers: HeaderMap, body: String) -> Self {
        Self { status, session: Session::of(&headers), headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Returns the status, and for a problem also its reason, such as `401 revoked`.
    pub(crate) fn verdict(&self) -> String {
        if self.status < 400 {
            return self.status.to_string();
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        format!("{} {}", self.status, problem["reason"].as_str().expect("a reason"))
    }
}
