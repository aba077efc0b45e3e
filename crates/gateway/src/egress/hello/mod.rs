//! The first words of TLS: a connection must name, in the clear, the host that it was allowed for.
//!
//! A second hello, which a server of TLS 1.3 may ask for, is read as well. Encrypted hellos and early data are refused:
//! the first hides the name and the second would let a later hello pass unseen.

/// The longest hello, in bytes of its records. Real ones have up to 4 KiB.
pub const HELLO_BYTES_MAX: usize = 32 << 10;
/// The longest hello that servers take; a length beyond it is not that of a hello.
const HELLO_SERVERS_MAX: usize = 132 << 10;
/// The largest payload of one record.
const RECORD_BYTES_MAX: usize = 16 << 10;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Why the first words are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else than TLS on a port that is for TLS.
    #[error("it does not begin with TLS")]
    NotTls,
    /// Not the form of a hello.
    #[error("its TLS hello is malformed: {0}")]
    Malformed(&'static str),
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("its TLS hello is longer than {HELLO_BYTES_MAX} bytes")]
    TooLong,
    /// No server name.
    #[error("its TLS hello names no server")]
    NoName,
    /// The name of another host.
    #[error("its TLS hello names `{0}`, not the host that was asked for")]
    OtherName(String),
    /// An encrypted hello.
    #[error("its TLS hello is encrypted (ECH), so the server that it names cannot be seen: switch ECH off")]
    Encrypted,
    /// Early data.
    #[error("its TLS hello announces early data: switch 0-RTT off")]
    EarlyData,
    /// It did not come in time.
    #[error("its TLS hello did not come in time")]
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has passed yet.
    First,
    /// A hello has passed; another one may follow, after one change of cipher specification.
    Second { changed: bool },
    /// All may pass.
    Open,
}

/// Holds back what a client sends until it is known to be right.
#[derive(Debug)]
pub struct Gate {
    host: String,
    demand: bool,
    state: State,
    held: Vec<u8>,
}

impl Gate {
    /// A gate for connections to `host`. With `demand` the connection must speak TLS; without it, it may.
    #[must_use]
    pub fn new(host: &str, demand: bool) -> Self {
        Self { host: host.to_owned(), demand, state: State::First, held: Vec::new() }
    }

    /// A gate that lets everything pass.
    pub(super) fn opened() -> Self {
        Self { host: String::new(), demand: false, state: State::Open, held: Vec::new() }
    }

    /// Whether all that comes may pass unseen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the client must say something before the time for it is over.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == State::First && (self.demand || !self.held.is_empty())
    }

    /// Takes what came and gives back what may pass.
    ///
    /// # Errors
    /// [`HelloError`]; nothing of what is held may pass then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, HelloError> {
        self.held.extend_from_slice(bytes);
        let mut pass = 0;
        while let Some(n) = self.step(pass)? {
            pass += n;
        }
        if self.state == State::Open {
            return Ok(std::mem::take(&mut self.held));
        }
        let rest = self.held.split_off(pass);
        Ok(std::mem::replace(&mut self.held, rest))
    }

    /// Looks at what is held from `at` on: how many bytes of it may pass, or `None` when more must come or all may pass.
    fn step(&mut self, at: usize) -> Result<Option<usize>, HelloError> {
        let rest = &self.held[at..];
        match (self.state, rest) {
            (State::Open, _) | (_, []) => Ok(None),
            (State::First, [HANDSHAKE] | [HANDSHAKE, 3, ..]) => self.hello(at),
            (State::First, _) if self.demand => Err(HelloError::NotTls),
            (State::Second { changed: false }, [CHANGE_CIPHER_SPEC, ..]) => {
                if rest.len() < 6 {
                    return Ok(None);
                }
                if rest[1] != 3 || rest[3..6] != [0, 1, 1] {
                    return Err(HelloError::Malformed("a change of cipher specification is not one"));
                }
                self.state = State::Second { changed: true };
                Ok(Some(6))
            }
            // Servers skip any number of these, and so would a second hello that comes after them be read.
            (State::Second { changed: true }, [CHANGE_CIPHER_SPEC, ..]) => {
                Err(HelloError::Malformed("the cipher specification changes twice"))
            }
            (State::Second { .. }, [HANDSHAKE, ..]) if rest.len() < 9 => Ok(None),
            (State::Second { .. }, [HANDSHAKE, _, _, _, _, CLIENT_HELLO, a, b, c, ..]) => {
                // Encrypted handshake messages have the same type and any content; few of them look like a hello.
                if number(&[*a, *b, *c]) <= HELLO_SERVERS_MAX {
                    return self.hello(at);
                }
                self.state = State::Open;
                Ok(None)
            }
            _ => {
                self.state = State::Open;
                Ok(None)
            }
        }
    }

    /// Reads a whole hello that begins at `at`.
    fn hello(&mut self, at: usize) -> Result<Option<usize>, HelloError> {
        let Some((message, length)) = message(&self.held[at..])? else { return Ok(None) };
        let next = check_hello(&message[4..], &self.host)?;
        // Only TLS 1.3 asks for a second hello, and only once.
        self.state = if next && self.state == State::First { State::Second { changed: false } } else { State::Open };
        Ok(Some(length))
    }
}

/// Puts one handshake message together from its records; with the length of those. `None` while it is not whole.
fn message(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HelloError> {
    let mut message = Vec::new();
    let mut at = 0;
    loop {
        let length = match message.get(1..4) {
            Some(length) => 4 + number(length),
            None => usize::MAX,
        };
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::Malformed("it is another message"));
        }
        if length != usize::MAX && length > HELLO_BYTES_MAX || at > HELLO_BYTES_MAX {
            return Err(HelloError::TooLong);
        }
        if message.len() > length {
            return Err(HelloError::Malformed("more follows it in the same record"));
        }
        if message.len() == length {
            return Ok(Some((message, at)));
        }
        let Some(header) = bytes.get(at..at + 5) else { return Ok(None) };
        let size = number(&header[3..5]);
        if header[0] != HANDSHAKE || header[1] != 3 || size == 0 || size > RECORD_BYTES_MAX {
            return Err(HelloError::Malformed("it is broken off by another record"));
        }
        let Some(payload) = bytes.get(at + 5..at + 5 + size) else {
            // What is there already decides whether waiting makes sense.
            let first = bytes.get(at + 5).filter(|_| message.is_empty());
            return if first.is_some_and(|kind| *kind != CLIENT_HELLO) {
                Err(HelloError::Malformed("it is another message"))
            } else {
                Ok(None)
            };
        };
        message.extend_from_slice(payload);
        at += 5 + size;
    }
}

/// Checks the body of a hello. Says whether it offers TLS 1.3.
fn check_hello(body: &[u8], host: &str) -> Result<bool, HelloError> {
    let mut body = Reader(body);
    body.take(2 + 32)?;
    let session = body.short(1)?;
    let ciphers = body.short(2)?;
    let compressions = body.short(1)?;
    if session.len() > 32 || ciphers.is_empty() || compressions.is_empty() {
        return Err(HelloError::Malformed("a field has a wrong length"));
    }
    let mut extensions = Reader(if body.0.is_empty() { &[] } else { body.short(2)? });
    body.end()?;
    let (mut named, mut newest) = (false, false);
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = number(extensions.take(2)?);
        let content = extensions.short(2)?;
        if seen.contains(&kind) {
            return Err(HelloError::Malformed("an extension stands twice"));
        }
        seen.push(kind);
        match kind {
            0x0000 => named = check_name(content, host).map(|()| true)?,
            0x002a => return Err(HelloError::EarlyData),
            0x002b => newest = offers_newest(content)?,
            // The extension of today, and that of the drafts before it.
            0xfe0d | 0xffce => return Err(HelloError::Encrypted),
            _ => (),
        }
    }
    // Addresses are never named in a hello.
    if named || host.parse::<std::net::Ipv4Addr>().is_ok() { Ok(newest) } else { Err(HelloError::NoName) }
}

/// Checks the extension with the server's name: one name, exactly the host.
fn check_name(content: &[u8], host: &str) -> Result<(), HelloError> {
    let mut content = Reader(content);
    let mut names = Reader(content.short(2)?);
    content.end()?;
    if names.take(1)? != [0] {
        return Err(HelloError::Malformed("the server's name is of an unknown kind"));
    }
    let name = names.short(2)?;
    names.end()?;
    let text = std::str::from_utf8(name).map_err(|_| HelloError::Malformed("the server's name is not ASCII"))?;
    // A trailing dot is for resolvers; servers read a name with one in two ways.
    match model::canonical_host(text) {
        Ok(canonical) if canonical == host && !text.ends_with('.') => Ok(()),
        Ok(canonical) => Err(HelloError::OtherName(canonical)),
        Err(why) => Err(HelloError::Malformed(why)),
    }
}

fn offers_newest(content: &[u8]) -> Result<bool, HelloError> {
    let mut content = Reader(content);
    let versions = content.short(1)?;
    content.end()?;
    // Whatever is unknown here may be a later version that works like 1.3.
    Ok(versions.chunks(2).any(|v| v > [3, 3].as_slice()))
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b))
}

/// Reads from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(HelloError::Malformed("a field is cut"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A field with its length before it, in so many bytes.
    fn short(&mut self, bytes: usize) -> Result<&'a [u8], HelloError> {
        let length = number(self.take(bytes)?);
        self.take(length)
    }

    fn end(&self) -> Result<(), HelloError> {
        if self.0.is_empty() { Ok(()) } else { Err(HelloError::Malformed("a field is longer than its content")) }
    }
}

#[cfg(test)]
mod tests;
