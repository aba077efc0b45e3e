//! The form of the list: groups of calls with one answer, and the argument tests of an answer.

/// Calls that are answered alike, for one reason.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// A short name, the heading on the reference page.
    pub name: &'static str,
    /// Why these calls get this answer.
    pub reason: &'static str,
    /// What the kernel answers.
    pub answer: Answer,
    /// The calls. A call stands in exactly one group.
    pub calls: &'static [Call],
}

/// One system call of this architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The name of the constant in libc, `SYS_` included.
    pub constant: &'static str,
    /// The number in the native ABI.
    pub number: u32,
}

impl Call {
    /// The name without its prefix.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.constant.strip_prefix("SYS_").unwrap_or(self.constant)
    }
}

/// What the filter answers to a group's calls.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The call happens.
    Allow,
    /// The call happens when all tests of at least one alternative hold; else `EPERM`.
    AllowIf(&'static [&'static [Argument]]),
    /// The call fails with this error number.
    Fail(u16),
}

/// A test of the low 32 bits of one argument. All tested arguments are 32-bit in the kernel (or cut to 32 bits there),
/// so the high half must not be compared: a caller could set it freely.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// Which argument, from 0 to 5.
    pub index: u32,
    /// How the list and the reference page call it.
    pub name: &'static str,
    /// The bits that count.
    pub mask: u32,
    /// What must hold for them.
    pub test: Test,
}

/// What must hold for the masked bits.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// They equal one of these values.
    OneOf(&'static [u32]),
    /// They equal none of these values.
    NoneOf(&'static [u32]),
}

impl Argument {
    /// Whether the test holds for the arguments of a call.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "only the low half counts, as in the kernel")]
        let value = arguments[self.index as usize] as u32 & self.mask;
        match self.test {
            Test::OneOf(values) => values.contains(&value),
            Test::NoneOf(values) => !values.contains(&value),
        }
    }
}
