//! Reads the bodies of requests that change something: JSON or a form, with a maximum length and a timeout. Checks the form
//! token.
//!
//! From the end of the body to the response, the connection of the request is protected from eviction (`connections.rs`). The
//! protection is paused during waits that any client can cause ([`Submission::pause_work`]).

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use salvo::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue};
use salvo::http::{ReqBody, Request, Version};
use salvo::hyper::body::{Body, Bytes};

use crate::account::credentials::MediaType;
use crate::http::connections::{PausedWork, WorkGuard};
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::proxy_hints;
use crate::http::return_url::ReturnUrl;
use crate::session::form::FormBinding;
use crate::sync::key_directory::KeyDirectory;
use crate::web::csrf::{self, Sender};

/// The complete body of a request that changes something.
#[derive(Debug)]
pub(crate) struct Submission {
    /// Media type of the body. `None` if the request has no `Content-Type`.
    pub(crate) media_type: Option<MediaType>,
    pub(crate) body: Bytes,
    sender: Sender,
    /// Form token in the header field [`csrf::TOKEN_HEADER`].
    header_token: Option<Vec<u8>>,
    /// Protects the connection from eviction until this is dropped.
    work: WorkGuard,
}

impl Submission {
    /// Reads the body. It may be sent in chunks, and may be missing.
    ///
    /// # Errors
    /// A [`Problem`] if the media type, the encoding, the sender or the length is not accepted, or if the body does not arrive in
    /// time.
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
            // Refuse the request before its body is read.
            discard(context.version(), headers, body);
            return Err(problem);
        }
        let sender = csrf::sender(headers, &context.served()?.origin, &app.hosts)
            .inspect_err(|_| proxy_hints::log_own_cross_site(context))?;
        let header_token = headers.get(csrf::TOKEN_HEADER).map(|value| value.as_bytes().to_vec());
        let limit = usize::try_from(app.max_body_bytes).unwrap_or(usize::MAX);
        // While the body arrives, its own timeout applies instead of the connection's idle timeout.
        let is_shared = app.connections.extend_idle_timeout(context.peer(), app.body_timeout);
        // Only requests on a shared connection count as body waits.
        let client = is_shared.then(|| context.client());
        let read = read_whole(&mut body, limit);
        let limited_read = async {
            match client {
                Some(client) => app.body_waits.run(client, read).await,
                None => Some(read.await),
            }
        };
        let body = match tokio::time::timeout(app.body_timeout, limited_read).await {
            Ok(Some(Ok(whole))) => whole,
            Ok(Some(Err(problem))) => {
                // A client that sent `Expect: 100-continue` has received `100 Continue` by now, and sends its body.
                read_and_discard(context.version(), body);
                return Err(problem);
            }
            Ok(None) | Err(_) => {
                // The server does not wait for the rest of the body. HTTP/2 can end a request without its connection, but HTTP/1
                // cannot. So a connection ends after the response, unless other clients share it.
                if !is_shared {
                    app.connections.shutdown_peer(context.peer());
                }
                return Err(Problem::Slow);
            }
        };
        let work = app.connections.begin_work(context.peer());
        let submission = Self { media_type, body, sender, header_token, work };
        if submission.needs_token() && app.sessions.lacks_key_of_form(&submission.token()) {
            // Any client can invent a key id, so this wait does not protect the connection.
            let _paused = submission.pause_work(KeyDirectory::TIMEOUT);
            context.reread_keys().await?;
        }
        Ok(submission)
    }

    /// Removes the protection from eviction until the returned guard is dropped. To be called for a wait that any client can
    /// cause.
    pub(crate) fn pause_work(&self, timeout: Duration) -> PausedWork<'_> {
        self.work.pause(timeout)
    }

    /// Refuses a form of a browser unless it has a form token of this server whose binding `may_act` accepts (rule 3 of
    /// `csrf.rs`).
    pub(crate) fn check_token(
        &self,
        context: &Context,
        may_act: impl FnOnce(FormBinding) -> bool,
    ) -> Result<(), Problem> {
        if !self.needs_token() {
            return Ok(());
        }
        if context.app.sessions.open_form_token(&self.token()).is_some_and(may_act) {
            Ok(())
        } else {
            Err(Problem::FormToken)
        }
    }

    /// Refuses a browser's form before login unless it has the token of a login form. If a page of the same origin sent the
    /// form, every such token is accepted, even an old one, because the cookie of the form may have expired or belong to
    /// another tab. For other senders, the token must be bound to the cookie.
    pub(crate) fn check_sign_in_token(&self, context: &Context) -> Result<(), Problem> {
        self.check_token(context, |bound| match (bound, self.sender) {
            (FormBinding::Session(_), _) => false,
            (FormBinding::SignIn(_), Sender::SameOrigin) => true,
            (FormBinding::SignIn(form), Sender::Browser | Sender::Program) => context.sign_in_form() == Some(form),
        })
    }

    /// Returns whether the request needs a form token, which proves that a page of this server sent it.
    fn needs_token(&self) -> bool {
        self.sender != Sender::Program && self.media_type != Some(MediaType::Json)
    }

    /// Returns the form token as it was sent. It is empty if none was sent.
    fn token(&self) -> Cow<'_, [u8]> {
        match self.field(csrf::TOKEN_FIELD) {
            Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
            Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            None => Cow::Borrowed(self.header_token.as_deref().unwrap_or_default()),
        }
    }

    /// Returns the media type.
    ///
    /// # Errors
    /// [`Problem::MediaType`] if the request has none.
    pub(crate) fn required_type(&self) -> Result<MediaType, Problem> {
        self.media_type.ok_or(Problem::MediaType)
    }

    /// Returns a field of the form as text, or `None` if the body is not a form or has no such field.
    pub(crate) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        if self.media_type != Some(MediaType::Form) {
            return None;
        }
        form_urlencoded::parse(&self.body).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns the return URL in the form, or `None` if there is none or it is not allowed.
    pub(crate) fn return_url(&self, context: &Context) -> Option<ReturnUrl> {
        let own_origin = &context.served().ok()?.origin;
        ReturnUrl::parse(&self.field("rd")?, own_origin, &context.app.hosts)
    }

    pub(crate) fn is_form(&self) -> bool {
        self.media_type == Some(MediaType::Form)
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`Problem::TooLarge`] and [`Problem::Incomplete`].
async fn read_whole(body: &mut ReqBody, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    while let Some(data) = next_data(body).await {
        let data = data?;
        if whole.len() + data.len() > max_bytes {
            return Err(Problem::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Disposes of a body that no handler reads: reads it while the response is sent, within limits, or drops it.
///
/// Over HTTP/1, the body is read, because a client that is still sending when its connection is closed may not receive the
/// response. The exception is a client that sent `Expect: 100-continue`, and so waits before it sends the body. It gets the
/// response and need not send the body. Then hyper closes the connection, because the next bytes may be the body or another
/// request ([RFC 9110 section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)).
///
/// Over HTTP/2, the body is dropped: the stream ends with the response, and the connection continues ([RFC 9113 section
/// 8.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1)). If the server waited for a body that never arrives, the request
/// would occupy one of the few streams that a proxy has for all its clients.
pub(crate) fn discard(version: Version, headers: &HeaderMap, body: impl Body + Into<ReqBody>) {
    let waits_for_100 = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !body.is_end_stream() && !headers.get_all(EXPECT).iter().any(waits_for_100) {
        read_and_discard(version, body);
    }
}

/// Reads a body in a task, within limits, or drops it (HTTP/2). Called only if the client does not wait for `100 Continue`.
fn read_and_discard(version: Version, body: impl Body + Into<ReqBody>) {
    const MAX_BYTES: usize = 1 << 20;
    const TIMEOUT: Duration = Duration::from_secs(5);
    if version == Version::HTTP_2 {
        return;
    }
    let mut body = body.into();
    tokio::spawn(tokio::time::timeout(TIMEOUT, async move {
        let mut read_bytes = 0;
        while read_bytes < MAX_BYTES
            && let Some(Ok(data)) = next_data(&mut body).await
        {
            read_bytes += data.len();
        }
    }));
}

/// Waits for the next part of a body. Returns `None` at its end. Trailers are returned as empty parts.
async fn next_data(body: &mut ReqBody) -> Option<Result<Bytes, Problem>> {
    let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(|_| Problem::Incomplete))
}

/// Returns whether the body must be decoded before it is read ([RFC 9110 section
/// 8.4](https://www.rfc-editor.org/rfc/rfc9110#section-8.4)). No coding is accepted, because a small compressed body could become
/// very large.
fn is_encoded(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// Returns the media type in the `Content-Type` field, without its parameters. Returns `None` for any other type, or if the field
/// is absent or occurs several times.
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
