//! An answer and the session's cookie that it sets, as tests of both kinds look at them: in-process, and of the real binary.

use salvo::http::header::HeaderMap;
use serde_json::Value;

/// A session's cookie, as a browser keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) String);

impl Session {
    /// Returns the session that an answer with these header fields sets.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let set = headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("ASCII"));
        let mut ours = set.filter_map(|value| value.strip_prefix("__Host-sealjar="));
        let (token, _) = ours.next()?.split_once(';')?;
        assert!(ours.next().is_none(), "one Set-Cookie of a name at most");
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    pub(crate) fn cookie(&self) -> String {
        format!("__Host-sealjar={}", self.0)
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) session: Option<Session>,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: HeaderMap, body: String) -> Self {
        Self { status, session: Session::of(&headers), headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// Returns `200`, or status and reason of a problem.
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
