//! Reads a tar stream made by somebody hostile: every length is checked before anything is kept, and what an entry is
//! called has the limits of a path.

use std::io::{self, Read};

use crate::SandboxError;

const BLOCK: usize = 512;
/// The longest name of an entry or target of a link, as the kernel's own limit on paths.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// The largest block of extended attributes; ours hold a path, a target and a size.
const EXTENDED_BYTES_MAX: u64 = 64 << 10;
/// How many headers in a row may describe one entry.
const PREFIXES_MAX: usize = 8;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    Link,
    HardLink,
    /// A device, a pipe, or something of a newer form.
    Other,
}

/// The header of an entry; its bytes follow in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    /// Seconds since 1970.
    pub(crate) modified: i64,
    pub(crate) size: u64,
}

/// The entries of a stream, one after another.
#[derive(Debug)]
pub(crate) struct Entries<R> {
    from: R,
    /// Bytes of the current entry, and of its padding, that were not read.
    data: u64,
    padding: u64,
}

/// What the headers before an entry say of it.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, data: 0, padding: 0 }
    }

    /// The next entry, or `None` at the end. What was not read of the one before is passed over.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, SandboxError> {
        let mut extended = Extended::default();
        for _ in 0..PREFIXES_MAX {
            self.pass()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' => self.extended(size, &mut extended)?,
                b'g' => self.expect(size, 0)?,
                b'L' => extended.name = Some(self.text(size)?),
                b'K' => extended.target = Some(self.text(size)?),
                kind => return self.entry(&header, kind, size, extended).map(Some),
            }
        }
        Err(damaged("too many headers for one entry"))
    }

    /// Reads bytes of the current entry; 0 at its end.
    pub(crate) fn read_data(&mut self, into: &mut [u8]) -> Result<usize, SandboxError> {
        let want = usize::try_from(self.data).unwrap_or(usize::MAX).min(into.len());
        if want == 0 {
            return Ok(0);
        }
        let got = self.from.read(&mut into[..want]).map_err(SandboxError::io("read the tar stream"))?;
        if got == 0 {
            return Err(damaged("it ends within a file"));
        }
        self.data -= got as u64;
        Ok(got)
    }

    fn entry(&mut self, header: &[u8; BLOCK], kind: u8, size: u64, extended: Extended) -> Result<Entry, SandboxError> {
        let kind = match kind {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Link,
            b'5' => Kind::Dir,
            _ => Kind::Other,
        };
        let size = extended.size.unwrap_or(size);
        // Only files and unknown forms have bytes, whatever the header says of the others.
        let size = if matches!(kind, Kind::File | Kind::Other) { size } else { 0 };
        self.expect(size, size)?;
        let name = extended.name.unwrap_or_else(|| header_name(header));
        let kind = if kind == Kind::File && name.ends_with(b"/") { Kind::Dir } else { kind };
        let target = extended.target.unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        let mode = u32::try_from(number(&header[100..108])? & 0o7777).unwrap_or(0);
        let modified = i64::try_from(number(&header[136..148])?).unwrap_or(0);
        Ok(Entry { name, target, kind, mode, modified, size })
    }

    /// What follows is `size` bytes with padding, of which none is given out.
    fn expect(&mut self, size: u64, data: u64) -> Result<(), SandboxError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| damaged("a size is out of range"))?;
        self.data = data;
        self.padding = padded - data;
        Ok(())
    }

    fn pass(&mut self) -> Result<(), SandboxError> {
        let left = self.data.saturating_add(self.padding);
        let copied = io::copy(&mut (&mut self.from).take(left), &mut io::sink());
        if copied.map_err(SandboxError::io("read the tar stream"))? != left {
            return Err(damaged("it ends within an entry"));
        }
        (self.data, self.padding) = (0, 0);
        Ok(())
    }

    /// A header block, or `None` at the end: a block of zeros, or no byte more.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, SandboxError> {
        let mut block = [0u8; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.from.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(damaged("it ends within a header")),
                Ok(n) => have += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(SandboxError::io("read the tar stream")(e)),
            }
        }
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum: u64 = block.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { u64::from(*b) }).sum();
        if number(&block[148..156])? != sum {
            return Err(damaged("a header has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn small(&mut self, size: u64, max: u64) -> Result<Vec<u8>, SandboxError> {
        if size > max {
            return Err(damaged("a header is too long"));
        }
        self.expect(size, size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut have = 0;
        while have < bytes.len() {
            have += self.read_data(&mut bytes[have..])?;
        }
        Ok(bytes)
    }

    fn text(&mut self, size: u64) -> Result<Vec<u8>, SandboxError> {
        let bytes = self.small(size, PATH_BYTES_MAX as u64 + 1)?;
        Ok(until_nul(&bytes).to_vec())
    }

    /// Records `<length> <key>=<value>\n`.
    fn extended(&mut self, size: u64, extended: &mut Extended) -> Result<(), SandboxError> {
        let bytes = self.small(size, EXTENDED_BYTES_MAX)?;
        let mut rest = bytes.as_slice();
        let bad = || damaged("an extended header is malformed");
        while !rest.is_empty() {
            let space = rest.iter().take(8).position(|b| *b == b' ').ok_or_else(bad)?;
            let len: usize = std::str::from_utf8(&rest[..space]).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)?;
            let record = rest.get(space + 1..len).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            let value = &record[equals + 1..];
            match &record[..equals] {
                b"path" | b"linkpath" if value.len() > PATH_BYTES_MAX => return Err(damaged("a name is too long")),
                b"path" => extended.name = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => extended.size = Some(std::str::from_utf8(value).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)?),
                _ => {}
            }
            rest = &rest[len..];
        }
        Ok(())
    }
}

fn header_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..262] == b"ustar" && header[262] == 0 { until_nul(&header[345..500]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

/// A number in octal, or in the binary form for large ones. A negative one reads as 0.
fn number(field: &[u8]) -> Result<u64, SandboxError> {
    let bad = || damaged("a number is malformed");
    if field[0] == 0xff {
        return Ok(0);
    }
    if field[0] & 0x80 != 0 {
        let high = field[..field.len() - 8].iter().enumerate().any(|(at, b)| if at == 0 { *b != 0x80 } else { *b != 0 });
        let low = field[field.len() - 8..].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        // A field of eight bytes keeps its mark in the number itself.
        return if field.len() == 8 {
            Ok(low & (u64::MAX >> 1))
        } else if high {
            Err(bad())
        } else {
            Ok(low)
        };
    }
    let text = until_nul(field).trim_ascii();
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    if text.is_empty() { Ok(0) } else { u64::from_str_radix(text, 8).map_err(|_| bad()) }
}

fn damaged(why: &str) -> SandboxError {
    SandboxError::Tree(format!("the tar stream is damaged: {why}"))
}
