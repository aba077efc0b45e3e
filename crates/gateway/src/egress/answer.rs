//! What a host answers, on its way back to the sandbox.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::Refusal;
use super::bound::Scrubbers;
use super::head::{Head, Target};

/// Fields between two neighbours, and hints that lead past this proxy.
const DROPPED: &[&str] = &[
    "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authenticate",
    "proxy-authorization", "proxy-status", "alt-svc", "alt-used",
];
/// Compressed bytes that are taken apart at once: what comes out is at most about a thousand times as much.
const PACKED_BYTES_MAX: usize = 4 << 10;

/// How the end of an answer's body is told to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// There is no body.
    None,
    /// Its length stands in the head.
    Length,
    /// In chunks.
    Chunked,
    /// The connection ends.
    Close,
}

/// The head of an answer as the client gets it, and how its body goes on.
pub(super) struct Answer {
    pub(super) head: Vec<u8>,
    pub(super) ending: Ending,
    pub(super) unpack: Unpack,
}

impl Answer {
    /// Reads what the host sent.
    pub(super) fn new(
        request: &Head,
        status: StatusCode,
        fields: &HeaderMap,
        has_body: bool,
        scrubbers: &Scrubbers,
    ) -> Result<Self, Refusal> {
        let method_has_body = request.method != Method::HEAD.as_str();
        let has_body = has_body && method_has_body && !matches!(status.as_u16(), 100..=199 | 204 | 304);
        let unpack = if has_body && !scrubbers.is_empty() { Unpack::of(fields, &request.target)? } else { Unpack::No };
        let is_packed = !matches!(unpack, Unpack::No);
        let length = fields.get(header::CONTENT_LENGTH).filter(|_| !is_packed);
        let ending = match (has_body, length, request.is_old) {
            (false, ..) => Ending::None,
            (true, Some(_), _) => Ending::Length,
            (true, None, false) => Ending::Chunked,
            (true, None, true) => Ending::Close,
        };
        let mut head = Vec::with_capacity(512);
        let reason = status.canonical_reason().unwrap_or("");
        let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        let named: Vec<String> = fields
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(',').map(|t| t.trim().to_ascii_lowercase()))
            .collect();
        for (name, value) in fields {
            let dropped = DROPPED.contains(&name.as_str())
                || named.iter().any(|n| n == name.as_str())
                || is_packed && (*name == header::CONTENT_ENCODING || *name == header::CONTENT_LENGTH)
                || status == StatusCode::SWITCHING_PROTOCOLS && *name == header::CONTENT_LENGTH;
            if !dropped {
                field(&mut head, name, value.as_bytes(), scrubbers);
            }
        }
        match ending {
            Ending::Chunked => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            // A length of zero is not told by every host.
            Ending::None if method_has_body && length.is_none() && !matches!(status.as_u16(), 100..=199 | 204 | 304) => {
                head.extend_from_slice(b"Content-Length: 0\r\n");
            }
            _ => {}
        }
        Ok(Self { head, ending, unpack })
    }

    /// Ends the head: with what becomes of the connection.
    pub(super) fn finish(mut self, connection: &str) -> (Bytes, Ending, Unpack) {
        if !connection.is_empty() {
            let _ = write!(self.head, "Connection: {connection}\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
        (self.head.into(), self.ending, self.unpack)
    }
}

fn field(head: &mut Vec<u8>, name: &HeaderName, value: &[u8], scrubbers: &Scrubbers) {
    let mut value = value.to_vec();
    scrubbers.whole(&mut value);
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(&value);
    head.extend_from_slice(b"\r\n");
}

/// One piece of a body as it goes onto the connection.
pub(super) fn framed(piece: Bytes, ending: Ending) -> Bytes {
    if ending != Ending::Chunked || piece.is_empty() {
        return piece;
    }
    let mut out = BytesMut::with_capacity(piece.len() + 20);
    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(&piece);
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

/// Takes an encoding off, so that what is in it can be looked at.
pub(super) enum Unpack {
    /// There is none.
    No,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Two forms go by the name `deflate`; which one it is shows in its first bytes.
    Deflate(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

impl Unpack {
    fn of(fields: &HeaderMap, target: &Target) -> Result<Self, Refusal> {
        let mut named = fields.get_all(header::CONTENT_ENCODING).iter();
        let (Some(value), None) = (named.next(), named.next()) else {
            return if fields.contains_key(header::CONTENT_ENCODING) { Err(Refusal::Encoding(target.clone())) } else { Ok(Self::No) };
        };
        match value.to_str().map(|v| v.trim().to_ascii_lowercase()).as_deref() {
            Ok("identity" | "") => Ok(Self::No),
            Ok("gzip" | "x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            Ok("deflate") => Ok(Self::Deflate(Vec::new())),
            _ => Err(Refusal::Encoding(target.clone())),
        }
    }

    /// Takes the front of `piece` apart.
    pub(super) fn feed(&mut self, piece: &mut Bytes) -> Result<Bytes, Refusal> {
        if let Self::No = self {
            return Ok(std::mem::take(piece));
        }
        let part = piece.split_to(piece.len().min(PACKED_BYTES_MAX));
        let broken = |_| Refusal::Broken;
        if let Self::Deflate(first) = self {
            first.extend_from_slice(&part);
            let [a, b, ..] = first[..] else { return Ok(Bytes::new()) };
            let is_zlib = a & 0x0f == 8 && (u16::from(a) << 8 | u16::from(b)).is_multiple_of(31);
            let first = std::mem::take(first);
            *self = if is_zlib {
                Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Self::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
            return self.feed(&mut Bytes::from(first));
        }
        let out = match self {
            Self::Gzip(decoder) => decoder.write_all(&part).map(|()| std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => decoder.write_all(&part).map(|()| std::mem::take(decoder.get_mut())),
            Self::Raw(decoder) => decoder.write_all(&part).map(|()| std::mem::take(decoder.get_mut())),
            Self::No | Self::Deflate(_) => Ok(Vec::new()),
        };
        out.map(Bytes::from).map_err(broken)
    }

    /// What is left at the end.
    pub(super) fn finish(self) -> Result<Bytes, Refusal> {
        let out = match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zlib(decoder) => decoder.finish(),
            Self::Raw(decoder) => decoder.finish(),
            Self::No | Self::Deflate(_) => Ok(Vec::new()),
        };
        out.map(Bytes::from).map_err(|_| Refusal::Broken)
    }
}
