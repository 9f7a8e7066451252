//! Requests of HTTP/2 and their answers: each is followed from the request's arrival until its answer is taken.
//!
//! In HTTP/1 the socket shows whether a client takes its answer. In HTTP/2 it does not: a client that grants no flow-control window
//! ([RFC 9113 section 5.2](https://www.rfc-editor.org/rfc/rfc9113#section-5.2)) leaves the socket free, and a PING that is answered
//! looks like life. So the last bytes of an answer hold its [`Exchange`], which ends when the HTTP library has written or dropped
//! them. An answer without a body gets an empty last frame for that purpose, behind its HEADERS frame.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use salvo::http::ResBody;
use salvo::hyper::body::{Body, Bytes, Frame, SizeHint};
use salvo::hyper::{Request as HyperRequest, Response as HyperResponse};
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::slot::Slot;
use super::{Connection, Connections, Open};
use crate::clock::{Now, milliseconds};
use crate::metrics::GAVE_WAY;

impl Connections {
    /// Maximum memory of requests of HTTP/2 that are not answered and answers that are not taken.
    const MAX_HELD_BYTES: usize = 32 << 20;
    /// The same with that of connections that are being closed for it, whose tasks are not dropped yet: beyond this a stranger's new
    /// requests are refused, and beyond the second those of trusted proxies.
    const MAX_TOTAL_BYTES: usize = 2 * Self::MAX_HELD_BYTES;
    const MAX_TOTAL_BYTES_FOR_PROXIES: usize = 4 * Self::MAX_HELD_BYTES;

    /// Counts a request of HTTP/2, or its answer in the place of entry `before`; returns the new entry's number. If all take too much
    /// memory, the connection is closed that has held its oldest entry longest.
    fn hold(&self, slot: &Slot, before: Option<u64>, waits_since: Option<u64>, bytes: usize) -> u64 {
        let mut held = slot.held();
        let released = before.map_or(0, |number| held.remove(number));
        // Under the lock, so that those of a connection are in the order of their numbers.
        let number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        held.add(number, waits_since, bytes);
        let total = self.total_of(&held);
        total.fetch_add(bytes, Ordering::Relaxed);
        total.fetch_sub(released, Ordering::Relaxed);
        drop(held);
        if self.holds_too_much() {
            self.close_longest_holding(&mut self.lock(), milliseconds(Now::read().boot));
        }
        number
    }

    fn release(&self, slot: &Slot, number: u64) {
        let mut held = slot.held();
        let released = held.remove(number);
        self.total_of(&held).fetch_sub(released, Ordering::Relaxed);
    }

    /// The total that a connection's entries are part of. It changes under the connection's lock only.
    const fn total_of(&self, held: &Held) -> &AtomicUsize {
        if held.is_abandoned() { &self.closing_bytes } else { &self.held_bytes }
    }

    /// Closes connections until the memory is within its limit, in the order of [`Turn`], and of several of one kind the one that has
    /// held its oldest entry longest. If none may be closed, [`Connections::close_idle`] looks again.
    pub(super) fn close_longest_holding(&self, open: &mut Open, now: u64) {
        while self.holds_too_much() {
            let order = |slot: &Slot| {
                let held = slot.held();
                Some((Turn::of(slot, held.bytes(), now)?, held.oldest()?))
            };
            let holding = open.slots.values();
            let mut holding: Vec<_> = holding.filter_map(|slot| Some((order(slot)?, slot.clone()))).collect();
            let count = Self::at_once(open.slots.len()).min(holding.len());
            if count == 0 {
                return;
            }
            holding.select_nth_unstable_by_key(count - 1, |(order, _)| *order);
            holding.truncate(count);
            holding.sort_unstable_by_key(|(order, _)| *order);
            for (_, slot) in holding {
                // No proxy's is closed only because several are closed at once.
                if slot.is_proxy && !self.holds_too_much() {
                    return;
                }
                GAVE_WAY.add_many(0, u64::from(!slot.is_closing()));
                open.close(&slot);
                let mut held = slot.held();
                let abandoned = held.abandon();
                self.closing_bytes.fetch_add(abandoned, Ordering::Relaxed);
                self.held_bytes.fetch_sub(abandoned, Ordering::Relaxed);
            }
        }
    }

    fn holds_too_much(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) > Self::MAX_HELD_BYTES
    }

    /// The memory of all, those of connections that are being closed included.
    fn total_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed).saturating_add(self.closing_bytes.load(Ordering::Relaxed))
    }
}

/// Kinds of connections, in the order in which they are closed for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Closing,
    Stranger,
    Proxy,
}

impl Turn {
    /// Twice the most that one request can hold, with its head of 32 KiB.
    const LARGE_BYTES: usize = 2 * (Exchange::REQUEST_BYTES + 32 * 1024);

    /// `None` if it is not to be closed: a request of it is being worked on. That does not protect a stranger's that holds more than a
    /// few requests, and an answer that is due protects no stranger's: a client can prolong both as it likes, and everybody else
    /// would be closed in its place.
    fn of(slot: &Slot, bytes: usize, now: u64) -> Option<Self> {
        if slot.is_closing() {
            Some(Self::Closing)
        } else if slot.is_proxy {
            slot.may_be_closed(now).then_some(Self::Proxy)
        } else {
            (bytes > Self::LARGE_BYTES || !slot.works()).then_some(Self::Stranger)
        }
    }
}

/// The entry of one connection in the list, for what serves the connection.
#[derive(Debug)]
pub(crate) struct Tracker {
    connections: Arc<Connections>,
    slot: Arc<Slot>,
}

impl Connection {
    /// Returns its entry in the list, for what serves it.
    pub(crate) fn tracker(&self) -> Arc<Tracker> {
        Arc::new(Tracker { connections: self.connections.clone(), slot: self.slot.clone() })
    }
}

impl Tracker {
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

    /// Whether a request of HTTP/2 is to be refused before anything is done for it, because too much memory is held.
    pub(crate) fn refuses_request(&self) -> bool {
        let most =
            if self.slot.is_proxy { Connections::MAX_TOTAL_BYTES_FOR_PROXIES } else { Connections::MAX_TOTAL_BYTES };
        self.connections.total_bytes() > most
    }

    /// Begins an exchange when a request has arrived over HTTP/2, and counts its memory.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &HyperRequest<B>) -> Exchange {
        self.slot.begin_exchange(self.connections.now.load(Ordering::Relaxed));
        let number = self.connections.hold(&self.slot, None, None, Exchange::bytes_of_request(request));
        Exchange { tracker: self.clone(), number }
    }

    /// Number of exchanges that have begun if the client speaks HTTP/2 and none of them is under way. If it is the same again after a
    /// while, there was none in between.
    pub(crate) fn exchanges_if_idle(&self) -> Option<u32> {
        self.slot.exchanges_if_idle()
    }
}

/// A request of HTTP/2 and its answer. Dropped when the answer was taken, or is not wanted any more.
#[derive(Debug)]
pub(crate) struct Exchange {
    tracker: Arc<Tracker>,
    /// That of the entry of the request or, once there is one, of its answer.
    number: u64,
}

impl Exchange {
    /// Approximate memory of a request besides its head: its stream, and the tasks that read its body and make its answer.
    const REQUEST_BYTES: usize = 24 * 1024;
    /// Approximate memory of a header field besides its name and value.
    const FIELD_BYTES: usize = 100;
    /// Approximate memory of an answer besides its bytes: its stream, its frames and its map of header fields.
    const ANSWER_BYTES: usize = 4096;
    /// Maximum that a body counts. All bodies that an answer owns are smaller, but for the metrics on the admin listener; those that
    /// are larger, such as `/openapi.json`, are in memory once for all answers.
    const MAX_BODY_BYTES: usize = 32 * 1024;

    fn bytes_of_request<B>(request: &HyperRequest<B>) -> usize {
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + Self::FIELD_BYTES).sum::<usize>();
        let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        Self::REQUEST_BYTES + path + fields
    }

    /// Lets the answer hold this exchange, and counts it, in the place of its request, until it is taken.
    pub(crate) fn answer(mut self, response: HyperResponse<ResBody>) -> HyperResponse<ResBody> {
        let fields = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let body = usize::try_from(response.body().size().unwrap_or_default()).unwrap_or(usize::MAX);
        let bytes = body.min(Self::MAX_BODY_BYTES) + fields + Self::ANSWER_BYTES;
        let Tracker { connections, slot } = &*self.tracker;
        let now = connections.now.load(Ordering::Relaxed);
        self.number = connections.hold(slot, Some(self.number), Some(now), bytes);
        response.map(|body| ResBody::Boxed(Box::pin(HeldBody { body, exchange: Some(self) })))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Tracker { connections, slot } = &*self.tracker;
        connections.release(slot, self.number);
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
