//! Request bodies: of two media types, up to a length, within a time.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use salvo::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue};
use salvo::http::{ReqBody, Request, Version};
use salvo::hyper::body::{Body, Bytes};

use crate::account::credentials::MediaType;
use crate::http::connections::{Paused, Working};
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::proxy_hints;
use crate::http::return_url::ReturnUrl;
use crate::session::form::Bound;
use crate::sync::key_directory::KeyDirectory;
use crate::web::csrf::{self, Sender};

/// The body of a request that changes something, read whole.
#[derive(Debug)]
pub(crate) struct Submission {
    /// `None` if none was named.
    pub(crate) media_type: Option<MediaType>,
    pub(crate) body: Bytes,
    sender: Sender,
    header_token: Option<Vec<u8>>,
    /// From here on the connection must not be closed to make room for others.
    working: Working,
}

impl Submission {
    /// Reads the body, which may come in chunks, and may be missing.
    pub(crate) async fn read(context: &Context, request: &mut Request) -> Result<Self, Problem> {
        let app = &context.app;
        let headers = context.headers();
        let media_type = media_type(headers);
        let mut body = request.take_body();
        let refused = if is_encoded(headers) {
            Some(Problem::ContentEncoding)
        } else {
            (media_type.is_none() && headers.contains_key(CONTENT_TYPE)).then_some(Problem::MediaType)
        };
        if let Some(problem) = refused {
            discard(context.version(), headers, body);
            return Err(problem);
        }
        let sender = csrf::sender(headers, &context.served()?.origin, &app.hosts)
            .inspect_err(|_| proxy_hints::note_own_cross_site(context))?;
        let header_token = headers.get(csrf::TOKEN_HEADER).map(|value| value.as_bytes().to_vec());
        let limit = usize::try_from(app.max_body_bytes).unwrap_or(usize::MAX);
        let is_shared = app.connections.wait_for_body(context.peer(), app.body_timeout);
        let client = is_shared.then(|| context.client());
        let whole = whole(&mut body, limit);
        let arrives = async {
            match client {
                Some(client) => app.body_waits.run(client, whole).await,
                None => Some(whole.await),
            }
        };
        let body = match tokio::time::timeout(app.body_timeout, arrives).await {
            Ok(Some(Ok(whole))) => whole,
            Ok(Some(Err(problem))) => {
                // The client has leave to send by now, if it waited for that.
                discard_sent(context.version(), body);
                return Err(problem);
            }
            Ok(None) | Err(_) => {
                // The rest of the body is not waited for, and only HTTP/2 can end a request without its connection.
                if !is_shared {
                    app.connections.take_leave_of(context.peer());
                }
                return Err(Problem::Slow);
            }
        };
        let working = app.connections.work_for(context.peer());
        let submission = Self { media_type, body, sender, header_token, working };
        if submission.needs_token() && app.sessions.lacks_key_of_form(&submission.token()) {
            let _paused = submission.pause_work(KeyDirectory::TIMEOUT);
            context.reread_keys().await?;
        }
        Ok(submission)
    }

    /// Lets the connection be closed to make room until the result is dropped: for a wait that anybody can cause.
    pub(crate) fn pause_work(&self, timeout: Duration) -> Paused<'_> {
        self.working.pause(timeout)
    }

    /// Refuses a browser's form without a token of ours that is bound to what `may_act` allows (rule 3 of `csrf.rs`).
    pub(crate) fn check_token(&self, context: &Context, may_act: impl FnOnce(Bound) -> bool) -> Result<(), Problem> {
        if !self.needs_token() {
            return Ok(());
        }
        if context.app.sessions.open_form_token(&self.token()).is_some_and(may_act) {
            Ok(())
        } else {
            Err(Problem::FormToken)
        }
    }

    /// Refuses a browser's form before sign-in without a token of a sign-in form. From a page of the same origin, any such token will
    /// do, however old: the cookie of the form may be gone by then, or be another tab's. From others, it is bound to the cookie.
    pub(crate) fn check_sign_in_token(&self, context: &Context) -> Result<(), Problem> {
        self.check_token(context, |bound| match (bound, self.sender) {
            (Bound::Session(_), _) => false,
            (Bound::SignIn(_), Sender::SameOrigin) => true,
            (Bound::SignIn(form), Sender::Browser | Sender::Program) => context.sign_in_form() == Some(form),
        })
    }

    /// Whether a form token must prove that it comes from a page of ours.
    fn needs_token(&self) -> bool {
        self.sender != Sender::Program && self.media_type != Some(MediaType::Json)
    }

    /// The form token as it was sent; empty if none was.
    fn token(&self) -> Cow<'_, [u8]> {
        match self.field(csrf::TOKEN_FIELD) {
            Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            None => Cow::Borrowed(self.header_token.as_deref().unwrap_or_default()),
        }
    }

    /// The media type, of which there must be one.
    pub(crate) fn required_type(&self) -> Result<MediaType, Problem> {
        self.media_type.ok_or(Problem::MediaType)
    }

    /// A field of the form, as text; `None` if this is no form or has no such field.
    pub(crate) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        if self.media_type != Some(MediaType::Form) {
            return None;
        }
        form_urlencoded::parse(&self.body).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The return URL in the form, if it is a good one.
    pub(crate) fn return_url(&self, context: &Context) -> Option<ReturnUrl> {
        let own = &context.served().ok()?.origin;
        ReturnUrl::parse(&self.field("rd")?, own, &context.app.hosts)
    }

    pub(crate) fn is_form(&self) -> bool {
        self.media_type == Some(MediaType::Form)
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`Problem::TooLarge`] and [`Problem::Incomplete`].
async fn whole(body: &mut ReqBody, most_bytes: usize) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    while let Some(data) = next_data(body).await {
        let data = data?;
        if whole.len() + data.len() > most_bytes {
            return Err(Problem::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Takes a body that nobody reads any more: reads it beside the answer, within limits, or drops it.
///
/// Over HTTP/1 it is read: a client that is still sending when its connection is closed may lose the answer. But a client that waits
/// for leave to send (`Expect: 100-continue`) gets the answer instead, and need not send the body; so its connection is closed,
/// because what comes next may be the body or another request
/// ([RFC 9110 section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).
///
/// Over HTTP/2 the stream ends with the answer, and the connection goes on
/// ([RFC 9113 section 8.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1)). A body that never came would hold one of the few streams
/// that a proxy has for all its visitors.
pub(crate) fn discard(version: Version, headers: &HeaderMap, body: impl Body + Into<ReqBody>) {
    let waits = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !body.is_end_stream() && !headers.get_all(EXPECT).iter().any(waits) {
        discard_sent(version, body);
    }
}

/// Reads a body beside the answer, within limits, or drops it. Its client does not wait for leave to send it.
fn discard_sent(version: Version, body: impl Body + Into<ReqBody>) {
    const MOST_BYTES: usize = 1 << 20;
    const MOST_TIME: Duration = Duration::from_secs(5);
    if version == Version::HTTP_2 {
        return;
    }
    let mut body = body.into();
    tokio::spawn(tokio::time::timeout(MOST_TIME, async move {
        let mut taken = 0;
        while taken < MOST_BYTES
            && let Some(Ok(data)) = next_data(&mut body).await
        {
            taken += data.len();
        }
    }));
}

/// Waits for the next part of a body; `None` at its end. Trailers are empty parts.
async fn next_data(body: &mut ReqBody) -> Option<Result<Bytes, Problem>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| Problem::Incomplete))
}

/// Returns whether the body must be decoded before it is read ([RFC 9110 section
/// 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4)). No coding is taken: a small body could become a large one.
fn is_encoded(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// The media type that the headers name, parameters aside; `None` for any other, for none and for several.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next()?.trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Some(MediaType::Json)
    } else if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Some(MediaType::Form)
    } else {
        None
    }
}
