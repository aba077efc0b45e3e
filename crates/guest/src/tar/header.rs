//! One 512-byte header of a tar stream: what is written, and the forms that are understood.

/// The unit of a tar stream.
pub(crate) const BLOCK: usize = 512;

/// The longest name or link target that is accepted; the kernel takes no longer one.
pub(crate) const NAME_BYTES_MAX: usize = 4096;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Hardlink,
    Symlink,
    Directory,
    /// A device, a fifo or something else that is left out.
    Other,
    /// The next entry's name follows as data.
    LongName,
    /// The next entry's link target follows as data.
    LongLink,
    /// Records about the next entry follow as data.
    Extended,
    /// Records about all entries follow as data; nothing in them matters here.
    Global,
}

/// The fields that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
}

/// Why a block is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The check sum differs.
    #[error("the check sum of a header is wrong")]
    Checksum,
    /// A number is not one.
    #[error("a number in a header is malformed")]
    Number,
    /// A file with holes in a form that is not understood.
    #[error("an entry is a sparse file")]
    Sparse,
}

impl Header {
    /// Reads a block; `None` for the zero block that ends a stream.
    pub(crate) fn parse(block: &[u8; BLOCK]) -> Result<Option<Self>, HeaderError> {
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum: u64 = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
        if number(&block[148..156])? != sum {
            return Err(HeaderError::Checksum);
        }
        let text = |from: usize, to: usize| {
            let field = &block[from..to];
            field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())].to_vec()
        };
        let mut name = text(0, 100);
        // POSIX archives split long names; GNU ones use the same bytes for other things.
        if &block[257..263] == b"ustar\0" && block[345] != 0 {
            let mut whole = text(345, 500);
            whole.push(b'/');
            whole.append(&mut name);
            name = whole;
        }
        let kind = match block[156] {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'5' => Kind::Directory,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'x' => Kind::Extended,
            b'g' => Kind::Global,
            b'S' => return Err(HeaderError::Sparse),
            _ => Kind::Other,
        };
        let mode = u32::try_from(number(&block[100..108])? & 0o7777).map_err(|_| HeaderError::Number)?;
        let size = number(&block[124..136])?;
        // A time before 1970 or out of range is no reason to refuse a file.
        let mtime = number(&block[136..148]).ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0);
        Ok(Some(Self { kind, name, link: text(157, 257), mode, size, mtime }))
    }

    /// Appends this header, with further entries before it when a name is too long for its field.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (kind, text) in [(b'L', &self.name), (b'K', &self.link)] {
            if text.len() > 100 {
                let size = text.len() as u64 + 1;
                block(out, kind, b"././@LongLink", b"", 0, size, 0);
                out.extend_from_slice(text);
                out.push(0);
                pad(out, size);
            }
        }
        let kind = match self.kind {
            Kind::Symlink => b'2',
            Kind::Directory => b'5',
            _ => b'0',
        };
        let cut = |text: &Vec<u8>| text[..text.len().min(100)].to_vec();
        block(out, kind, &cut(&self.name), &cut(&self.link), self.mode, self.size, self.mtime);
    }
}

/// Fills the last block of data of this size.
pub(crate) fn pad(out: &mut Vec<u8>, size: u64) {
    out.resize(out.len() + padding(size), 0);
}

/// The bytes from the end of data of this size to the end of its last block.
pub(crate) fn padding(size: u64) -> usize {
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    (BLOCK - rest) % BLOCK
}

fn block(out: &mut Vec<u8>, kind: u8, name: &[u8], link: &[u8], mode: u32, size: u64, mtime: i64) {
    let mut block = [0u8; BLOCK];
    block[..name.len()].copy_from_slice(name);
    put_number(&mut block[100..108], u64::from(mode));
    put_number(&mut block[108..116], 0);
    put_number(&mut block[116..124], 0);
    put_number(&mut block[124..136], size);
    put_number(&mut block[136..148], u64::try_from(mtime).unwrap_or(0));
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar  \0");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    put_number(&mut block[148..155], sum);
    block[155] = b' ';
    out.extend_from_slice(&block);
}

/// Octal with a closing NUL, or the binary form when it does not fit.
fn put_number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    if digits * 3 >= 64 || value >> (digits * 3) == 0 {
        let text = format!("{value:0digits$o}\0");
        field.copy_from_slice(text.as_bytes());
    } else {
        field.fill(0);
        let at = field.len() - 8;
        field[at..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    }
}

fn number(field: &[u8]) -> Result<u64, HeaderError> {
    if field[0] & 0x80 != 0 {
        let (head, tail) = field.split_at(field.len() - 8);
        let negative_or_huge = head.iter().enumerate().any(|(i, b)| if i == 0 { *b != 0x80 } else { *b != 0 });
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(tail);
        if head.is_empty() {
            bytes[0] &= 0x7f;
        } else if negative_or_huge {
            return Err(HeaderError::Number);
        }
        return Ok(u64::from_be_bytes(bytes));
    }
    let text = field.split(|b| *b == 0).next().unwrap_or(&[]).trim_ascii();
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' if value >> 61 == 0 => Ok(value << 3 | u64::from(digit - b'0')),
        _ => Err(HeaderError::Number),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back() {
        for size in [0, 1, 0o77_777_777_777, 1 << 40, u64::MAX >> 1] {
            let header = Header {
                kind: Kind::File,
                name: b"dir/with \xff and\nnewline".to_vec(),
                link: Vec::new(),
                mode: 0o755,
                size,
                mtime: 1_700_000_000,
            };
            let mut out = Vec::new();
            header.write(&mut out);
            let block: [u8; BLOCK] = out[..].try_into().expect("one block");
            assert_eq!(Header::parse(&block), Ok(Some(header)));
        }
    }

    #[test]
    fn damaged_blocks_are_refused() {
        assert_eq!(Header::parse(&[0; BLOCK]), Ok(None));
        assert!(Header::parse(&[0xff; BLOCK]).is_err());
        let mut out = Vec::new();
        block(&mut out, b'0', b"a", b"", 0o644, 3, 0);
        out[0] ^= 1;
        let block: [u8; BLOCK] = out[..].try_into().expect("one block");
        assert_eq!(Header::parse(&block), Err(HeaderError::Checksum));
    }
}
