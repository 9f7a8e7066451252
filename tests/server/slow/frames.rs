//! A minimal HTTP/2 client (RFC 9113) that can send frames that a client library would not send, and leave responses unread.

use std::io::{self, Read};
use std::net::Ipv4Addr;

use super::{PREFACE, Peer};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;
const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
/// Error code CANCEL, in RST_STREAM.
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
/// Identifier of SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2).
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Identifier of SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Encodes a header field without indexing (RFC 7541 section 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&length(text.len())[..], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Encodes the length of a string that is not Huffman-encoded (RFC 7541 section 5.1).
fn length(count: usize) -> Vec<u8> {
    let Some(mut rest) = count.checked_sub(127) else {
        return vec![u8::try_from(count).expect("less than 127")];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("less than 128") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("less than 128"));
    bytes
}

/// Encodes a frame (RFC 9113 section 4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes the header fields of a request.
pub(super) fn head(method: &str, path: &str, address: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", address)];
    fields.map(|(name, value)| field(name, value)).concat()
}

/// A frame that the server sent.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Received {
    pub(super) fn ends_stream(&self) -> bool {
        [DATA, HEADERS].contains(&self.kind) && self.flags & END_STREAM != 0
    }
}

/// Client end of an HTTP/2 connection.
pub(super) struct Http2 {
    pub(super) peer: Peer,
    address: String,
    /// Number of streams that were opened.
    streams: u32,
}

impl Http2 {
    /// Connects. `window` is the number of body bytes that the server may send per response.
    pub(super) fn connect(address: &str, window: u32) -> Self {
        Self::on_connection(Peer::connect(address), address, window)
    }

    pub(super) fn connect_from(source: Ipv4Addr, address: &str, window: u32) -> Self {
        Self::on_connection(Peer::connect_from(source, address), address, window)
    }

    fn on_connection(mut peer: Peer, address: &str, window: u32) -> Self {
        let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        let start = [&PREFACE[..PREFACE.len() - 9], &frame(SETTINGS, 0, 0, &setting)].concat();
        peer.send(start).expect("sends");
        Self { peer, address: address.to_owned(), streams: 0 }
    }

    /// Sends a request without a body, and returns its stream.
    pub(super) fn request(&mut self, method: &str, path: &str) -> io::Result<u32> {
        self.send_head_with(method, path, END_STREAM)
    }

    /// Sends the heads of `count` requests at once, without their bodies.
    pub(super) fn send_heads(&mut self, count: u32, method: &str, path: &str) -> io::Result<()> {
        let frames: Vec<_> = (0..count).map(|_| self.next_head(method, path, 0).1).collect();
        self.peer.send(frames.concat())
    }

    /// Sends `count` requests at once, each followed by its cancellation.
    pub(super) fn send_cancelled(&mut self, count: u32, method: &str, path: &str) -> io::Result<()> {
        let mut frames = Vec::new();
        for _ in 0..count {
            let (stream, head) = self.next_head(method, path, END_STREAM);
            frames.extend([head, frame(RST_STREAM, 0, stream, &CANCEL)].concat());
        }
        self.peer.send(frames)
    }

    /// Sends the head of a request without its body, and returns its stream.
    pub(super) fn send_head(&mut self, method: &str, path: &str) -> io::Result<u32> {
        self.send_head_with(method, path, 0)
    }

    /// Sends the head of a request that a proxy forwards for a client, without its body, and returns its stream.
    pub(super) fn send_forwarded_head(&mut self, client: &str, method: &str, path: &str) -> u32 {
        let stream = self.next_stream();
        let head = [head(method, path, &self.address), field("x-forwarded-for", client)].concat();
        self.peer.send(frame(HEADERS, END_HEADERS, stream, &head)).expect("sends");
        stream
    }

    fn send_head_with(&mut self, method: &str, path: &str, flags: u8) -> io::Result<u32> {
        let (stream, frame) = self.next_head(method, path, flags);
        self.peer.send(frame).map(|()| stream)
    }

    /// Returns the next stream, and the frame that opens it.
    fn next_head(&mut self, method: &str, path: &str, flags: u8) -> (u32, Vec<u8>) {
        let stream = self.next_stream();
        let head = head(method, path, &self.address);
        (stream, frame(HEADERS, END_HEADERS | flags, stream, &head))
    }

    fn next_stream(&mut self) -> u32 {
        self.streams += 1;
        2 * self.streams - 1
    }

    pub(super) fn ping(&mut self) -> io::Result<()> {
        self.peer.send(frame(PING, 0, 0, b"pingpong"))
    }

    pub(super) fn receive(&mut self) -> io::Result<Received> {
        let mut head = [0; 9];
        self.peer.stream.read_exact(&mut head)?;
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).expect("24 bits");
        let mut payload = vec![0; length];
        self.peer.stream.read_exact(&mut payload)?;
        Ok(Received { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }

    /// Receives frames up to the first that matches, and returns it.
    pub(super) fn receive_until(&mut self, matches: impl Fn(&Received) -> bool) -> Received {
        loop {
            let received = self.receive().expect("a frame");
            if matches(&received) {
                return received;
            }
        }
    }

    /// Sends a HEAD request for the style sheet, and reads the response.
    pub(super) fn get_style(&mut self) -> io::Result<()> {
        let stream = self.request("HEAD", "/auth/style.css")?;
        loop {
            let received = self.receive()?;
            if received.ends_stream() && received.stream == stream {
                return Ok(());
            }
        }
    }

    /// Returns a value of the server's SETTINGS frame, or `None` if the frame does not contain it.
    pub(super) fn setting(&mut self, wanted: u16) -> Option<u32> {
        let settings = self.receive_until(|frame| frame.kind == SETTINGS && frame.flags == 0).payload;
        let setting = settings.chunks(6).find(|setting| setting[..2] == wanted.to_be_bytes())?;
        Some(u32::from_be_bytes(setting[2..].try_into().expect("four bytes")))
    }
}
