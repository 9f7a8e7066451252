//! Request bodies: of two media types, up to a limit.

use salvo::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use salvo::http::{ParseError, Request};

use super::problem::Problem;
pub(crate) use crate::account::credentials::MediaType;

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

/// Refuses a body whose announced length is over the limit, before a byte of it is read.
pub(crate) fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit) { Err(Problem::TooLarge) } else { Ok(()) }
}

/// Reads the whole body, which may come in chunks.
pub(crate) async fn read(request: &mut Request, limit: usize) -> Result<&[u8], Problem> {
    match request.payload_with_max_size(limit).await {
        Ok(bytes) => Ok(bytes),
        Err(ParseError::PayloadTooLarge) => Err(Problem::TooLarge),
        Err(_) => Err(Problem::Incomplete),
    }
}
