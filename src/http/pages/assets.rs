//! Files that the pages load from this server: the stylesheet, the icon and the operator's logo.
//!
//! The URL of a file contains a hash of its content, so that browsers can cache it. The files are the same for all clients, and
//! are served for every host: the error page for a host that is not served also needs them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use salvo::http::StatusCode;
use salvo::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue};
use salvo::hyper::body::Bytes;
use sha2::{Digest, Sha256};

use crate::bounded_file::{self, ReadError};

pub(crate) const STYLE_PATH: &str = "/auth/style.css";
pub(crate) const ICON_PATH: &str = "/auth/icon.svg";
pub(crate) const LOGO_PATH: &str = "/auth/logo";

const SVG: &str = "image/svg+xml";
/// Content-Security-Policy of an SVG file. A browser that opens its URL treats it as a document, which could contain scripts. The
/// policy allows only its own styles.
const LOGO_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(STYLE_PATH, "text/css; charset=utf-8", Bytes::from_static(include_bytes!("style.css")))
});
/// The icon in the browser's tab, if there is no logo.
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(ICON_PATH, SVG, Bytes::from_static(include_bytes!("icon.svg"))));

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Asset {
    href: String,
    media_type: &'static str,
    body: Bytes,
}

/// Reason why the logo cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogoError {
    #[error("cannot read the logo {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: ReadError },
    #[error("the logo {} is not an image in SVG, PNG, JPEG or WebP", path.display())]
    NoImage { path: PathBuf },
}

impl LogoError {
    /// Advice to the operator.
    pub(crate) const REMEDY: &str = "set pages.logo to an image file of at most 256 KiB that the user of the server can read, or remove the setting";
}

impl Asset {
    /// Maximum length of a logo.
    const MAX_LOGO_BYTES: u64 = 256 * 1024;

    fn new(path: &str, media_type: &'static str, body: Bytes) -> Self {
        let digest = Sha256::digest(&body);
        let href = format!("{path}?v={:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
        Self { href, media_type, body }
    }

    /// Reads the operator's logo.
    pub(crate) fn read_logo(path: &Path) -> Result<Self, LogoError> {
        let bytes = bounded_file::read(path, Self::MAX_LOGO_BYTES)
            .map_err(|cause| LogoError::Unreadable { path: path.to_owned(), cause })?;
        let media_type = media_type(&bytes).ok_or_else(|| LogoError::NoImage { path: path.to_owned() })?;
        Ok(Self::new(LOGO_PATH, media_type, Bytes::copy_from_slice(&bytes)))
    }

    /// Returns the URL, with the hash of the content.
    pub(crate) fn href(&self) -> &str {
        &self.href
    }

    /// Returns status, header fields and body of the response.
    pub(crate) fn response(&self) -> (StatusCode, HeaderMap, Bytes) {
        let fields = [
            (CONTENT_TYPE, HeaderValue::from_static(self.media_type)),
            (CACHE_CONTROL, HeaderValue::from_static("public, max-age=604800")),
        ];
        let mut headers = HeaderMap::from_iter(fields);
        if self.media_type == SVG {
            headers.insert(CONTENT_SECURITY_POLICY, LOGO_POLICY);
        }
        (StatusCode::OK, headers, self.body.clone())
    }
}

/// Returns the media type of an image, detected from its first bytes. Returns `None` if it is not a supported image.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => {
            let text = str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
            let is_xml = text.starts_with("<svg") || text.starts_with("<?xml") || text.starts_with("<!--");
            (is_xml && text.contains("<svg")).then_some(SVG)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_the_image_type_from_the_first_bytes() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n..."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0...", Some("image/jpeg")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Some(SVG)),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a logo -->\n<svg/>", Some(SVG)),
            (b"<!-- a logo --><svg/>", Some(SVG)),
            (b"<html><svg/></html>", None),
            (b"<?xml version='1.0'?><html/>", None),
            (b"GIF89a...", None),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"", None),
        ] {
            assert_eq!(media_type(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_url_changes_with_the_content() {
        let [one, two] =
            ["<svg/>", "<svg />"].map(|text| Asset::new(LOGO_PATH, SVG, Bytes::from_static(text.as_bytes())));
        assert_ne!(one.href(), two.href());
        assert!(one.href().starts_with("/auth/logo?v="));
    }

    #[test]
    fn accepts_only_a_small_image_file_as_a_logo() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("logo.svg");
        let read = || Asset::read_logo(&path).map(|asset| asset.media_type).map_err(|error| error.to_string());
        let unreadable = |end: &str| Err(format!("cannot read the logo {}: {end}", path.display()));
        assert_eq!(read(), unreadable("No such file or directory (os error 2)"));
        std::fs::write(&path, "not an image").expect("written");
        assert_eq!(read(), Err(format!("the logo {} is not an image in SVG, PNG, JPEG or WebP", path.display())));
        std::fs::write(&path, format!("<svg>{}</svg>", " ".repeat(256 * 1024))).expect("written");
        assert_eq!(read(), unreadable("it is longer than 262144 bytes"));
        std::fs::write(&path, "<svg/>").expect("written");
        assert_eq!(read(), Ok(SVG));
    }
}
