//! Streams that report to `http/connections.rs` that bytes were read or written, that a write must wait, and that the client uses
//! HTTP/2. The timeouts and the eviction of connections depend on these reports.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::connections::Connection;
use crate::http::connections::exchange::ConnectionTracker;

/// A stream that reports reads and writes to its entry in the list of connections. Dropping it removes the entry.
pub(super) struct TrackedStream<S> {
    stream: S,
    connection: Connection,
}

impl<S> TrackedStream<S> {
    pub(super) const fn new(stream: S, connection: Connection) -> Self {
        Self { stream, connection }
    }

    /// Reports the result of a write.
    fn report_write(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(1..)) => self.connection.record_write(),
            Poll::Ready(_) => {}
            Poll::Pending => self.connection.record_stall(),
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.record_read();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.report_write(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.report_write(outcome)
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

/// A stream of decrypted bytes, or a stream without TLS. Reports HTTP/2 if the client first sends the connection preface of
/// HTTP/2 ([RFC 9113 section 3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)). hyper detects HTTP/2 by the same bytes.
pub(super) struct Http2Detector<S> {
    stream: S,
    tracker: Arc<ConnectionTracker>,
    /// Rest of the preface that has not arrived yet. Empty if the preface is complete, or if other bytes arrived.
    expected: &'static [u8],
}

impl<S> Http2Detector<S> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";

    pub(super) const fn new(stream: S, tracker: Arc<ConnectionTracker>) -> Self {
        Self { stream, tracker, expected: Self::PREFACE }
    }

    /// Compares newly read bytes with the preface.
    fn inspect(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.expected.len());
        let is_preface = self.expected.starts_with(&bytes[..count]);
        self.expected = if is_preface { &self.expected[count..] } else { &[] };
        if is_preface && self.expected.is_empty() {
            self.tracker.mark_http2();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http2Detector<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.expected.is_empty() {
            self.inspect(&buffer.filled()[before..]);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http2Detector<S> {
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
