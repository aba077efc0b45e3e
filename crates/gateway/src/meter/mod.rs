//! What a reply says that it used, read while it passes. No byte waits for it, and its memory does not grow.

mod json;

use model::{Code, Usage};

use crate::Wire;
pub(crate) use json::{Path, Scalar, Scanner};

/// How the events of a reply are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One JSON text (Gemini also streams an array of replies this way).
    Json,
    /// Server-sent events with a JSON text in each `data:` line.
    Events,
}

/// What a reply used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// The tokens.
    pub usage: Usage,
    /// Those of `usage.cache_write_tokens` that are kept for an hour and cost more.
    pub cache_write_long_tokens: u64,
}

/// Reads one reply. Feed it everything in order; ask it at the end.
pub struct Meter {
    wire: Wire,
    framing: Framing,
    scanner: Scanner,
    line: Line,
    facts: Facts,
}

/// Where in a line of an event stream the meter stands.
#[derive(Clone, Copy)]
enum Line {
    /// So many bytes of `data:` matched.
    Start(usize),
    /// In the value of a `data:` line; its first bytes, to know `[DONE]`.
    Data([u8; 8], usize),
    /// In a line without data.
    Other,
}

/// What was found so far, in the provider's own words. Counts are cumulative everywhere, so the largest holds.
#[derive(Default)]
struct Facts {
    counted: bool,
    input: u64,
    output: u64,
    total: u64,
    thoughts: u64,
    tool_prompt: u64,
    cached: u64,
    cache_write: u64,
    cache_write_long: u64,
    ended: bool,
    error: Option<Code>,
}

impl Meter {
    /// A meter for a reply of this form.
    #[must_use]
    pub fn new(wire: Wire, framing: Framing) -> Self {
        Self { wire, framing, scanner: Scanner::new(), line: Line::Start(0), facts: Facts::default() }
    }

    /// Reads the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        match self.framing {
            Framing::Json => Self::scan(&mut self.scanner, &mut self.facts, self.wire, piece),
            Framing::Events => self.feed_events(piece),
        }
    }

    fn feed_events(&mut self, mut piece: &[u8]) {
        const DATA: &[u8] = b"data:";
        while !piece.is_empty() {
            let end = piece.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let mut part = &piece[..end.unwrap_or(piece.len())];
            if let Line::Start(matched) = self.line {
                let take = part.len().min(DATA.len() - matched);
                if part[..take] != DATA[matched..matched + take] {
                    self.line = Line::Other;
                } else if matched + take == DATA.len() {
                    self.line = Line::Data([0; 8], 0);
                    part = &part[take..];
                } else {
                    self.line = Line::Start(matched + take);
                }
            }
            if let Line::Data(head, len) = &mut self.line {
                for byte in part.iter().filter(|b| **b != b' ').take(head.len().saturating_sub(*len)) {
                    head[*len] = *byte;
                    *len += 1;
                }
                Self::scan(&mut self.scanner, &mut self.facts, self.wire, part);
            }
            let Some(end) = end else { return };
            if let Line::Data(head, len) = self.line {
                self.facts.ended |= &head[..len] == b"[DONE]";
                self.scanner = Scanner::new();
            }
            self.line = Line::Start(0);
            piece = &piece[end + 1..];
        }
    }

    fn scan(scanner: &mut Scanner, facts: &mut Facts, wire: Wire, piece: &[u8]) {
        scanner.feed(piece, &mut |path, value| match value {
            Scalar::Number(n) => facts.number(wire, path, n),
            Scalar::Text(text) => facts.text(wire, path, text),
        });
    }

    /// What was used, or `None` when the reply did not say.
    #[must_use]
    pub fn count(&self) -> Option<Count> {
        let f = &self.facts;
        let (input, output) = match self.wire {
            // Anthropic counts cached tokens beside the input, all others inside it.
            Wire::Messages => (f.input, f.output),
            Wire::Chat | Wire::Responses => (f.input.saturating_sub(f.cached), f.output.max(f.total.saturating_sub(f.input))),
            Wire::Generate => {
                let input = f.input.saturating_add(f.tool_prompt);
                (input.saturating_sub(f.cached), f.output.saturating_add(f.thoughts).max(f.total.saturating_sub(input)))
            }
        };
        let usage = Usage { input_tokens: input, output_tokens: output, cache_read_tokens: f.cached, cache_write_tokens: f.cache_write };
        f.counted.then_some(Count { usage, cache_write_long_tokens: f.cache_write_long.min(f.cache_write) })
    }

    /// Whether the reply said that it is complete.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self.framing {
            Framing::Json => self.scanner.is_whole(),
            Framing::Events => self.facts.ended,
        }
    }

    /// The error that came inside a reply that began well.
    #[must_use]
    pub fn error(&self) -> Option<Code> {
        self.facts.error
    }
}

impl Facts {
    fn number(&mut self, wire: Wire, path: &Path<'_>, n: u64) {
        let field = match wire {
            Wire::Messages if path.is(&["message", "usage", "output_tokens"]) => {
                // The first count of a stream is a beginning, not a result.
                self.output = self.output.max(n);
                return;
            }
            Wire::Messages => self.anthropic(path),
            Wire::Chat => self.chat(path),
            Wire::Responses => self.responses(path),
            Wire::Generate => self.gemini(path),
        };
        if let Some(field) = field {
            *field = n.max(*field);
        }
    }

    fn anthropic(&mut self, path: &Path<'_>) -> Option<&mut u64> {
        if path.is(&["usage", "output_tokens"]) {
            self.counted = true;
            return Some(&mut self.output);
        }
        let first = |name: &str| path.is(&["usage", name]) || path.is(&["message", "usage", name]);
        if first("input_tokens") {
            Some(&mut self.input)
        } else if first("cache_read_input_tokens") {
            Some(&mut self.cached)
        } else if first("cache_creation_input_tokens") {
            Some(&mut self.cache_write)
        } else if path.ends(&["usage", "cache_creation", "ephemeral_1h_input_tokens"]) {
            Some(&mut self.cache_write_long)
        } else {
            None
        }
    }

    fn chat(&mut self, path: &Path<'_>) -> Option<&mut u64> {
        if path.is(&["usage", "prompt_tokens"]) {
            self.counted = true;
            Some(&mut self.input)
        } else if path.is(&["usage", "completion_tokens"]) {
            Some(&mut self.output)
        } else if path.is(&["usage", "total_tokens"]) {
            Some(&mut self.total)
        } else if path.is(&["usage", "prompt_tokens_details", "cached_tokens"]) {
            Some(&mut self.cached)
        } else {
            None
        }
    }

    fn responses(&mut self, path: &Path<'_>) -> Option<&mut u64> {
        let either = |names: &[&str]| {
            let mut outer = vec!["response"];
            outer.extend(names);
            path.is(names) || path.is(&outer)
        };
        if !path.ends(&["cached_tokens"])
            && !path.ends(&["input_tokens"])
            && !path.ends(&["output_tokens"])
            && !path.ends(&["total_tokens"])
        {
            None
        } else if either(&["usage", "input_tokens"]) {
            self.counted = true;
            Some(&mut self.input)
        } else if either(&["usage", "output_tokens"]) {
            Some(&mut self.output)
        } else if either(&["usage", "total_tokens"]) {
            Some(&mut self.total)
        } else if either(&["usage", "input_tokens_details", "cached_tokens"]) {
            Some(&mut self.cached)
        } else {
            None
        }
    }

    fn gemini(&mut self, path: &Path<'_>) -> Option<&mut u64> {
        if path.is(&["usageMetadata", "promptTokenCount"]) {
            self.counted = true;
            Some(&mut self.input)
        } else if path.is(&["usageMetadata", "candidatesTokenCount"]) {
            Some(&mut self.output)
        } else if path.is(&["usageMetadata", "thoughtsTokenCount"]) {
            Some(&mut self.thoughts)
        } else if path.is(&["usageMetadata", "toolUsePromptTokenCount"]) {
            Some(&mut self.tool_prompt)
        } else if path.is(&["usageMetadata", "cachedContentTokenCount"]) {
            Some(&mut self.cached)
        } else if path.is(&["usageMetadata", "totalTokenCount"]) {
            Some(&mut self.total)
        } else {
            None
        }
    }

    fn text(&mut self, wire: Wire, path: &Path<'_>, text: &[u8]) {
        match wire {
            Wire::Messages if path.is(&["type"]) => match text {
                b"message_stop" => self.ended = true,
                b"error" => self.fails(Code::ProviderError),
                _ => (),
            },
            Wire::Messages if path.is(&["error", "type"]) && matches!(text, b"overloaded_error" | b"rate_limit_error") => {
                self.error = Some(Code::ProviderLimited);
            }
            Wire::Chat if path.is(&["choices", "finish_reason"]) => self.ended = true,
            Wire::Chat if path.is(&["error", "message"]) => self.fails(Code::ProviderError),
            Wire::Responses if path.is(&["type"]) => match text {
                b"response.completed" | b"response.incomplete" => self.ended = true,
                b"response.failed" | b"error" => self.fails(Code::ProviderError),
                _ => (),
            },
            Wire::Generate if path.is(&["candidates", "finishReason"]) || path.is(&["promptFeedback", "blockReason"]) => self.ended = true,
            Wire::Generate if path.is(&["error", "message"]) => self.fails(Code::ProviderError),
            _ => (),
        }
    }

    /// A provider that reports an error has ended its stream in order.
    fn fails(&mut self, code: Code) {
        self.ended = true;
        self.error.get_or_insert(code);
    }
}

#[cfg(test)]
mod tests;
