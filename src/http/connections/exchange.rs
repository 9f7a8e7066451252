//! Requests of HTTP/2 and their answers: each is followed from the request's arrival until its answer is taken.
//!
//! In HTTP/1 the socket shows whether a client takes its answer. In HTTP/2 it does not: a client that grants no flow-control window
//! ([RFC 9113 section 5.2](https://www.rfc-editor.org/rfc/rfc9113#section-5.2)) leaves the socket free, and a PING that is answered
//! looks like life. So the last bytes of an answer hold its [`Exchange`], which ends when the HTTP library has written or dropped
//! them. An answer without a body gets an empty last frame for that purpose, behind its HEADERS frame.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use salvo::http::ResBody;
use salvo::hyper::Response as HyperResponse;
use salvo::hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use super::Connections;
use super::slot::Slot;
use crate::metrics::GAVE_WAY;

impl Connections {
    /// Maximum memory of answers of HTTP/2 that wait to be taken.
    const MAX_WAITING_BYTES: usize = 32 << 20;

    /// Counts an answer of HTTP/2 as waiting; returns its number. If all that wait take too much memory, the connection is closed
    /// whose answer has waited longest.
    fn add_answer(&self, slot: &Slot, bytes: usize) -> u64 {
        let all = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let mut answers = slot.answers();
        // Under the lock, so that those of a connection are in the order of their numbers.
        let number = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        let is_counted = answers.add(number, self.now.load(Ordering::Relaxed), bytes);
        drop(answers);
        if !is_counted {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        } else if all > Self::MAX_WAITING_BYTES {
            self.close_longest_answered();
        }
        number
    }

    fn close_longest_answered(&self) {
        let mut open = self.lock();
        while self.waiting_bytes.load(Ordering::Relaxed) > Self::MAX_WAITING_BYTES {
            let waiting = open.slots.values().filter_map(|slot| Some((slot.answers().oldest()?, slot)));
            let Some(slot) = waiting.min_by_key(|(number, _)| *number).map(|(_, slot)| slot.clone()) else {
                return;
            };
            GAVE_WAY.add_many(0, u64::from(!slot.is_closing()));
            open.close(&slot);
            self.waiting_bytes.fetch_sub(slot.answers().abandon(), Ordering::Relaxed);
        }
    }
}

/// The entry of one connection in the list, for what serves the connection.
#[derive(Debug)]
pub(crate) struct Tracker {
    connections: Arc<Connections>,
    slot: Arc<Slot>,
}

impl Tracker {
    pub(super) const fn new(connections: Arc<Connections>, slot: Arc<Slot>) -> Self {
        Self { connections, slot }
    }

    /// Cancelled when the connection is to end as soon as nothing is under way.
    pub(crate) fn leaving(&self) -> CancellationToken {
        self.slot.leaving.clone()
    }

    /// Whether the peer was a trusted proxy when it connected.
    pub(crate) fn is_proxy(&self) -> bool {
        self.slot.is_proxy
    }

    /// Notes that the client speaks HTTP/2: from now on the socket's bytes are no activity.
    pub(crate) fn speaks_http2(&self) {
        self.slot.speaks_http2();
    }

    /// Begins an exchange when a request has arrived over HTTP/2.
    pub(crate) fn begin(self: &Arc<Self>) -> Exchange {
        self.slot.begin_exchange(self.connections.now.load(Ordering::Relaxed));
        Exchange { tracker: self.clone(), answer: None }
    }
}

/// A request of HTTP/2 and its answer. Dropped when the answer was taken, or is not wanted any more.
#[derive(Debug)]
pub(crate) struct Exchange {
    tracker: Arc<Tracker>,
    /// The number of the answer, once there is one.
    answer: Option<u64>,
}

impl Exchange {
    /// Approximate memory of an answer besides its bytes: its stream, its frames and its map of header fields.
    const OVERHEAD_BYTES: usize = 4096;

    /// Lets the answer hold this exchange, and counts it as waiting until it is taken.
    pub(crate) fn answer(mut self, response: HyperResponse<ResBody>) -> HyperResponse<ResBody> {
        let fields = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let body = usize::try_from(response.body().size().unwrap_or_default()).unwrap_or(usize::MAX);
        let bytes = body.saturating_add(fields + Self::OVERHEAD_BYTES);
        self.answer = Some(self.tracker.connections.add_answer(&self.tracker.slot, bytes));
        response.map(|body| ResBody::Boxed(Box::pin(HeldBody { body, exchange: Some(self) })))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Tracker { connections, slot } = &*self.tracker;
        if let Some(number) = self.answer {
            connections.waiting_bytes.fetch_sub(slot.answers().remove(number), Ordering::Relaxed);
        }
        let opened = connections.opened.load(Ordering::Relaxed);
        if slot.end_exchange(opened, connections.now.load(Ordering::Relaxed)) {
            connections.changed.notify_one();
        }
    }
}

/// A body whose last frame holds the exchange.
struct HeldBody {
    body: ResBody,
    /// Taken with the last frame.
    exchange: Option<Exchange>,
}

impl HeldBody {
    fn last_frame(&mut self, bytes: Bytes) -> Frame<Bytes> {
        let bytes = self.exchange.take().map(|exchange| Bytes::from_owner(HeldBytes { bytes, _exchange: exchange }));
        Frame::data(bytes.unwrap_or_default())
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(next) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            // Empty, or it ended without saying so with its last frame.
            let is_over = self.exchange.is_none();
            return Poll::Ready(if is_over { None } else { Some(Ok(self.last_frame(Bytes::new()))) });
        };
        Poll::Ready(Some(match next {
            Ok(frame) if self.body.is_end_stream() => Ok(match frame.into_data() {
                Ok(bytes) => self.last_frame(bytes),
                Err(other) => other,
            }),
            other => other.map_err(Into::into),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Not exact for an empty one, so that hyper adds no `Content-Length` to an answer that must have none.
        if self.body.is_end_stream() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// Bytes that keep an exchange from ending.
struct HeldBytes {
    bytes: Bytes,
    _exchange: Exchange,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
