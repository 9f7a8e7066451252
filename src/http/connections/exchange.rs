//! HTTP/2 exchanges: tracks each request from its arrival until the client has taken the response, and limits the memory of all
//! exchanges.
//!
//! In HTTP/1, the socket shows whether a client takes its response. In HTTP/2 it does not: if a client grants no flow-control
//! window ([RFC 9113 section 5.2](https://www.rfc-editor.org/rfc/rfc9113#section-5.2)), the response waits although the socket is
//! writable, and replies to PINGs look like activity. So the last bytes of a response own its [`Exchange`], which ends when hyper
//! has written or dropped these bytes. A response without a body gets an empty last frame after its HEADERS frame for this
//! purpose.
//!
//! In this module, a client has *taken* a response when its last byte is in the buffer of the socket. `entrance.rs` begins the
//! exchanges. The memory of each connection is in `held_memory.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use salvo::http::ResBody;
use salvo::hyper::body::{Body, Bytes, Frame, SizeHint};
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};
use tokio_util::sync::CancellationToken;

use super::held_memory::HeldMemory;
use super::slot::Slot;
use super::{Connection, Connections, Open};
use crate::clock::{Now, milliseconds};
use crate::metrics::EVICTED_CONNECTIONS;

impl Connections {
    /// Maximum memory of HTTP/2 requests without a response and of responses that were not taken yet. Above it, connections are
    /// closed.
    const MAX_HELD_BYTES: usize = 32 << 20;
    /// Maximum of this memory plus the same memory of connections that are being closed to free memory. Above it, new requests
    /// are refused, except requests of trusted proxies.
    const MAX_TOTAL_BYTES: usize = 2 * Self::MAX_HELD_BYTES;
    /// Maximum of the same sum for trusted proxies. Above it, new requests of trusted proxies are refused, too.
    const MAX_TOTAL_BYTES_FOR_PROXIES: usize = 4 * Self::MAX_HELD_BYTES;

    /// Adds an entry for an HTTP/2 request, or an entry for its response, which replaces the entry `replaced`. Returns the
    /// number of the new entry. If all entries together use too much memory, closes connections.
    fn add_entry(&self, slot: &Slot, replaced: Option<u64>, waits_since: Option<u64>, bytes: usize) -> u64 {
        let mut memory = slot.memory();
        let released = replaced.map_or(0, |number| memory.remove(number));
        // The number is taken under the lock, so that the entries of a connection are in the order of their numbers.
        let number = self.entries_created.fetch_add(1, Ordering::Relaxed) + 1;
        memory.add(number, waits_since, bytes);
        let counter = self.counter_of(&memory);
        counter.fetch_add(bytes, Ordering::Relaxed);
        counter.fetch_sub(released, Ordering::Relaxed);
        drop(memory);
        if self.holds_too_much() {
            self.evict_for_memory(&mut self.lock(), milliseconds(Now::read().boot));
        }
        number
    }

    fn remove_entry(&self, slot: &Slot, number: u64) {
        let mut memory = slot.memory();
        let released = memory.remove(number);
        self.counter_of(&memory).fetch_sub(released, Ordering::Relaxed);
    }

    /// Returns the counter that includes the entries of a connection. The caller holds the connection's lock, under which the
    /// entries move from one counter to the other.
    const fn counter_of(&self, memory: &HeldMemory) -> &AtomicUsize {
        if memory.is_closing() { &self.closing_bytes } else { &self.held_bytes }
    }

    /// Closes connections until the memory is within its limit. Closes them in the order of [`EvictionClass`]. In each class, the
    /// connection with the oldest entry is closed first. If no connection may be closed now, [`Connections::close_idle`] tries
    /// again.
    pub(super) fn evict_for_memory(&self, open: &mut Open, now: u64) {
        while self.holds_too_much() {
            let order = |slot: &Slot| {
                let memory = slot.memory();
                Some((EvictionClass::of(slot, memory.bytes(), now)?, memory.oldest()?))
            };
            let slots = open.slots.values();
            let mut candidates: Vec<_> = slots.filter_map(|slot| Some((order(slot)?, slot.clone()))).collect();
            let count = Self::batch_size(open.slots.len()).min(candidates.len());
            if count == 0 {
                return;
            }
            // Keep the first `count` candidates in this order, and sort only these.
            candidates.select_nth_unstable_by_key(count - 1, |(order, _)| *order);
            candidates.truncate(count);
            candidates.sort_unstable_by_key(|(order, _)| *order);
            for (_, slot) in candidates {
                // A batch may contain more connections than necessary. Do not close a proxy's connection without need.
                if slot.is_proxy && !self.holds_too_much() {
                    return;
                }
                EVICTED_CONNECTIONS.add_many(0, u64::from(!slot.is_closing()));
                open.close(&slot);
                let mut memory = slot.memory();
                let bytes = memory.mark_closing();
                self.closing_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    fn holds_too_much(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) > Self::MAX_HELD_BYTES
    }

    /// Returns the memory of all entries, including entries of connections that are being closed.
    fn total_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed).saturating_add(self.closing_bytes.load(Ordering::Relaxed))
    }
}

/// Classes of connections, in the order in which they are closed to free memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EvictionClass {
    /// A connection that is already being closed for another reason than memory.
    Closing,
    /// A connection of a client that is not a trusted proxy.
    Ordinary,
    /// A connection of a trusted proxy.
    Proxy,
}

impl EvictionClass {
    /// Memory above which a request in progress no longer protects an ordinary connection: twice the memory of a request with the
    /// largest head (32 KiB).
    const LARGE_BYTES: usize = 2 * (Exchange::REQUEST_BYTES + 32 * 1024);

    /// Returns the class of a connection, or `None` if it must not be closed now: a request is in progress or, on a proxy's
    /// connection, a response is on its way.
    ///
    /// An ordinary connection has less protection: none above [`Self::LARGE_BYTES`], and none by a response on its way. A client
    /// can prolong both states without limit, and the connections of other clients would then be closed instead.
    fn of(slot: &Slot, bytes: usize, now: u64) -> Option<Self> {
        if slot.is_closing() {
            Some(Self::Closing)
        } else if slot.is_proxy {
            slot.may_be_closed(now).then_some(Self::Proxy)
        } else {
            (bytes > Self::LARGE_BYTES || !slot.is_working()).then_some(Self::Ordinary)
        }
    }
}

/// Handle to the state of one connection, for the code that serves the connection.
#[derive(Debug)]
pub(crate) struct ConnectionTracker {
    connections: Arc<Connections>,
    slot: Arc<Slot>,
}

impl Connection {
    /// Returns a handle to the state of this connection.
    pub(crate) fn tracker(&self) -> Arc<ConnectionTracker> {
        Arc::new(ConnectionTracker { connections: self.connections.clone(), slot: self.slot.clone() })
    }
}

impl ConnectionTracker {
    /// Returns the token that is cancelled when the connection must shut down gracefully.
    pub(crate) fn shutdown_token(&self) -> CancellationToken {
        self.slot.shutdown.clone()
    }

    /// Returns whether the peer was a trusted proxy when it connected.
    pub(crate) fn is_proxy(&self) -> bool {
        self.slot.is_proxy
    }

    /// Records that the client uses HTTP/2. From now on bytes on the socket do not count as activity.
    pub(crate) fn mark_http2(&self) {
        self.slot.mark_http2();
    }

    /// Returns whether a new HTTP/2 request must be refused before any work is done for it, because too much memory is in use.
    pub(crate) fn must_refuse_request(&self) -> bool {
        let max_bytes =
            if self.slot.is_proxy { Connections::MAX_TOTAL_BYTES_FOR_PROXIES } else { Connections::MAX_TOTAL_BYTES };
        self.connections.total_bytes() > max_bytes
    }

    /// Begins the exchange of an HTTP/2 request that has arrived, and counts the memory of the request.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &HyperRequest<B>) -> Exchange {
        self.slot.begin_exchange(self.connections.now_ms.load(Ordering::Relaxed));
        let number = self.connections.add_entry(&self.slot, None, None, Exchange::request_bytes(request));
        Exchange { tracker: self.clone(), number }
    }

    /// Returns the number of exchanges so far if the client uses HTTP/2 and none is open. If two calls return the same number, no
    /// exchange began between them.
    pub(crate) fn exchange_count_if_idle(&self) -> Option<u32> {
        self.slot.exchange_count_if_idle()
    }
}

/// An HTTP/2 request and its response. Dropped when the client has taken the response or does not need it any more.
#[derive(Debug)]
pub(crate) struct Exchange {
    tracker: Arc<ConnectionTracker>,
    /// Number of the entry of the request or, when it exists, of the response.
    number: u64,
}

impl Exchange {
    /// Approximate memory of a request in addition to its head: its stream, and the tasks that read its body and create its
    /// response.
    const REQUEST_BYTES: usize = 24 * 1024;
    /// Approximate memory of a header field in addition to its name and value.
    const FIELD_BYTES: usize = 100;
    /// Approximate memory of a response in addition to its bytes: its stream, its frames and its map of header fields.
    const RESPONSE_BYTES: usize = 4096;
    /// Maximum memory that is counted for a body. Every body that a response owns is smaller, except the metrics on the admin
    /// listener. Larger bodies, such as `/openapi.json`, exist in memory only once, and all responses share them.
    const MAX_BODY_BYTES: usize = 32 * 1024;

    fn request_bytes<B>(request: &HyperRequest<B>) -> usize {
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + Self::FIELD_BYTES).sum::<usize>();
        let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        Self::REQUEST_BYTES + path + fields
    }

    /// Attaches this exchange to its response. The entry of the response replaces the entry of the request. It exists until the
    /// client has taken the response.
    pub(crate) fn attach_to(mut self, response: HyperResponse<ResBody>) -> HyperResponse<ResBody> {
        let fields = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let body = usize::try_from(response.body().size().unwrap_or_default()).unwrap_or(usize::MAX);
        let bytes = body.min(Self::MAX_BODY_BYTES) + fields + Self::RESPONSE_BYTES;
        let ConnectionTracker { connections, slot } = &*self.tracker;
        let now = connections.now_ms.load(Ordering::Relaxed);
        self.number = connections.add_entry(slot, Some(self.number), Some(now), bytes);
        response.map(|body| ResBody::Boxed(Box::pin(TrackedBody { body, exchange: Some(self) })))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ConnectionTracker { connections, slot } = &*self.tracker;
        connections.remove_entry(slot, self.number);
        let opened = connections.opened.load(Ordering::Relaxed);
        if slot.end_exchange(opened, connections.now_ms.load(Ordering::Relaxed)) {
            connections.changed.notify_one();
        }
    }
}

/// A response body whose last frame owns the exchange.
struct TrackedBody {
    body: ResBody,
    /// Exchange of the response. `None` when the last frame, which then owns the exchange, was created.
    exchange: Option<Exchange>,
}

impl TrackedBody {
    /// Creates the last frame, which owns the exchange.
    fn last_frame(&mut self, bytes: Bytes) -> Frame<Bytes> {
        let bytes = self.exchange.take().map(|exchange| Bytes::from_owner(TrackedBytes { bytes, _exchange: exchange }));
        Frame::data(bytes.unwrap_or_default())
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(next) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            // The body is empty, or its last frame was not marked as the last one: add an empty frame.
            let is_finished = self.exchange.is_none();
            return Poll::Ready(if is_finished { None } else { Some(Ok(self.last_frame(Bytes::new()))) });
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
        // For an empty body, the hint is not exact. Otherwise hyper would add a `Content-Length` to responses that must not have
        // one.
        if self.body.is_end_stream() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// Bytes that own an exchange. The exchange ends when the bytes are dropped.
struct TrackedBytes {
    bytes: Bytes,
    _exchange: Exchange,
}

impl AsRef<[u8]> for TrackedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
