//! A connection's bytes, and telling the list of connections of each that comes or goes, and of the protocol.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::connections::Connection;
use crate::http::connections::exchange::Tracker;

/// A stream that is watched, until it is dropped.
pub(super) struct Watched<S> {
    stream: S,
    connection: Connection,
}

impl<S> Watched<S> {
    pub(super) const fn new(stream: S, connection: Connection) -> Self {
        Self { stream, connection }
    }

    fn written(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(1..)) => self.connection.has_written(),
            Poll::Ready(_) => {}
            Poll::Pending => self.connection.stalls(),
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.has_read();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream without TLS, or what TLS carries. Notes if the client begins with the connection preface of HTTP/2
/// ([RFC 9113 section 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)), by which hyper tells the protocols apart too.
pub(super) struct Plaintext<S> {
    stream: S,
    tracker: Arc<Tracker>,
    /// The rest of the preface, as long as all bytes before were of it.
    expected: &'static [u8],
}

impl<S> Plaintext<S> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";

    pub(super) const fn new(stream: S, tracker: Arc<Tracker>) -> Self {
        Self { stream, tracker, expected: Self::PREFACE }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.expected.len());
        let is_preface = self.expected.starts_with(&bytes[..count]);
        self.expected = if is_preface { &self.expected[count..] } else { &[] };
        if is_preface && self.expected.is_empty() {
            self.tracker.speaks_http2();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plaintext<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.expected.is_empty() {
            self.look_at(&buffer.filled()[before..]);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plaintext<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
