//! The compiler: from groups to a classic BPF program, in a constant.
#![expect(clippy::cast_possible_truncation, reason = "it runs when this crate is built, on small numbers that asserts bound")]

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};

use super::numbers::NUMBER_MAX;
use super::{Answer, Argument, Group, Test};

/// One instruction, laid out as the kernel's `sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// Instructions to skip when a test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The compiler stops the build when a list needs more. Short jumps reach 255 instructions, and loading a filter costs
/// the kernel about 0.1 us for each, so a list should stay near this size; the kernel's own limit is 4096.
pub(super) const INSTRUCTIONS_MAX: usize = 256;

/// A compiled filter.
#[derive(Debug)]
pub struct Program {
    held: [Instruction; INSTRUCTIONS_MAX],
    len: usize,
}

impl Program {
    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.held[..self.len]
    }
}

/// What the program returns in each case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Returns {
    /// For an allowed call.
    pub(super) allow: u32,
    /// For a call that fails; the error number is added.
    pub(super) fail: u32,
    /// For a call through another ABI.
    pub(super) kill: u32,
}

/// Where `seccomp_data` holds what.
pub(super) const NUMBER_AT: u32 = 0;
pub(super) const ARCH_AT: u32 = 4;
pub(super) const ARGUMENTS_AT: u32 = 16;

#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xC000_00B7;
/// The bit that marks a call of the x32 ABI, which shares its `arch` with the native one.
pub(super) const X32_BIT: u32 = 0x4000_0000;

const LOAD: u16 = (BPF_LD | BPF_W | BPF_ABS) as u16;
const MASK: u16 = (BPF_ALU | BPF_AND | BPF_K) as u16;
const EQUAL: u16 = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
const AT_LEAST: u16 = (BPF_JMP | BPF_JGE | BPF_K) as u16;
const ANY_BIT: u16 = (BPF_JMP | BPF_JSET | BPF_K) as u16;
const RETURN: u16 = (BPF_RET | BPF_K) as u16;

/// Numbers from 0 to [`NUMBER_MAX`].
const NUMBERS: usize = NUMBER_MAX as usize + 1;
/// More runs of equal answers than fit into a program.
const RUNS_MAX: usize = INSTRUCTIONS_MAX;

/// An answer as a number, so that equal answers of neighbouring numbers become one run.
const ALLOW: u16 = 0;
/// Answers from here on are `FAIL + errno`.
const FAIL: u16 = 1;
/// Answers from here on are `TESTED + index of the group`.
const TESTED: u16 = 0x1000;

/// Numbers in runs of equal answers. The last run holds every number from its start up.
struct Runs {
    starts: [u32; RUNS_MAX],
    answers: [u16; RUNS_MAX],
    len: usize,
}

/// Where the parts of the program lie: the prologue, the search, a block of tests for each group that has some, and one
/// instruction for each way to return.
struct Layout {
    search: usize,
    /// The block of a group, by the group's index; 0 when it has none.
    blocks: [usize; GROUPS_MAX],
    allow: usize,
    eperm: usize,
    enosys: usize,
}

/// More groups than any list has.
const GROUPS_MAX: usize = 128;

/// Compiles `groups`. A mistake in the list (a number twice, an odd argument) stops the build.
pub(super) const fn compile(groups: &[Group], returns: Returns) -> Program {
    let runs = runs(&answers(groups));
    let mut out = Program { held: [Instruction { code: RETURN, jt: 0, jf: 0, k: returns.kill }; INSTRUCTIONS_MAX], len: 0 };
    prologue(&mut out, returns.kill);
    let layout = layout(groups, out.len, runs.len);
    search(&mut out, &runs, &layout, 0, runs.len);
    let mut at = 0;
    while at < groups.len() {
        if let Answer::AllowIf(alternatives) = groups[at].answer {
            assert!(out.len == layout.blocks[at], "the layout counts what is written");
            block(&mut out, alternatives, &layout);
        }
        at += 1;
    }
    assert!(out.len == layout.allow, "the layout counts what is written");
    push(&mut out, RETURN, 0, 0, returns.allow);
    push(&mut out, RETURN, 0, 0, with_errno(returns.fail, libc::EPERM as u16));
    push(&mut out, RETURN, 0, 0, with_errno(returns.fail, libc::ENOSYS as u16));
    out
}

/// Stops other ABIs and leaves the number in the accumulator.
const fn prologue(out: &mut Program, kill: u32) {
    push(out, LOAD, 0, 0, ARCH_AT);
    push(out, EQUAL, 1, 0, ARCH);
    push(out, RETURN, 0, 0, kill);
    push(out, LOAD, 0, 0, NUMBER_AT);
    if cfg!(target_arch = "x86_64") {
        // Number -1 is what a tracer leaves to skip a call; it is no x32 call and falls through to ENOSYS.
        push(out, EQUAL, 2, 0, u32::MAX);
        push(out, AT_LEAST, 0, 1, X32_BIT);
        push(out, RETURN, 0, 0, kill);
    }
}

/// The answer for each number.
const fn answers(groups: &[Group]) -> [u16; NUMBERS] {
    let mut answers = [FAIL + libc::EPERM as u16; NUMBERS];
    let mut seen = [false; NUMBERS];
    let mut at = 0;
    while at < groups.len() {
        let answer = match groups[at].answer {
            Answer::Allow => ALLOW,
            Answer::Fail(errno) => FAIL + errno,
            Answer::AllowIf(_) => TESTED + at as u16,
        };
        let mut call = 0;
        while call < groups[at].calls.len() {
            let number = groups[at].calls[call].number as usize;
            assert!(number < NUMBERS, "a call is newer than NUMBER_MAX");
            assert!(!seen[number], "a call stands in two groups");
            seen[number] = true;
            answers[number] = answer;
            call += 1;
        }
        at += 1;
    }
    answers
}

const fn runs(answers: &[u16; NUMBERS]) -> Runs {
    let mut runs = Runs { starts: [0; RUNS_MAX], answers: [0; RUNS_MAX], len: 0 };
    let mut number = 0;
    while number <= NUMBERS {
        let answer = if number < NUMBERS { answers[number] } else { FAIL + libc::ENOSYS as u16 };
        if runs.len == 0 || runs.answers[runs.len - 1] != answer {
            runs.starts[runs.len] = number as u32;
            runs.answers[runs.len] = answer;
            runs.len += 1;
        }
        number += 1;
    }
    runs
}

/// Counts before anything is written: a search over n runs has n - 1 instructions.
const fn layout(groups: &[Group], search: usize, runs: usize) -> Layout {
    let mut blocks = [0; GROUPS_MAX];
    let mut end = search + runs - 1;
    let mut at = 0;
    while at < groups.len() {
        if let Answer::AllowIf(alternatives) = groups[at].answer {
            blocks[at] = end;
            let mut alternative = 0;
            while alternative < alternatives.len() {
                end += instructions_of(alternatives[alternative]);
                alternative += 1;
            }
        }
        at += 1;
    }
    Layout { search, blocks, allow: end, eperm: end + 1, enosys: end + 2 }
}

/// Where an answer is given.
const fn target(layout: &Layout, answer: u16) -> usize {
    if answer == ALLOW {
        layout.allow
    } else if answer >= TESTED {
        layout.blocks[(answer - TESTED) as usize]
    } else if answer == FAIL + libc::EPERM as u16 {
        layout.eperm
    } else {
        assert!(answer == FAIL + libc::ENOSYS as u16, "a call fails with EPERM or ENOSYS");
        layout.enosys
    }
}

/// A balanced search over the runs `low..high`; the accumulator holds the number. The lower half follows its node.
const fn search(out: &mut Program, runs: &Runs, layout: &Layout, low: usize, high: usize) {
    if high - low == 1 {
        return;
    }
    let middle = low + (high - low) / 2;
    let node = out.len;
    assert!(node >= layout.search, "the search follows the prologue");
    let lower = if middle - low == 1 { target(layout, runs.answers[low]) } else { node + 1 };
    // A search over n runs has n - 1 instructions, so the upper half starts after those of the lower.
    let upper = if high - middle == 1 { target(layout, runs.answers[middle]) } else { node + middle - low };
    jump(out, AT_LEAST, upper, lower, runs.starts[middle]);
    search(out, runs, layout, low, middle);
    search(out, runs, layout, middle, high);
}

/// Only `SECCOMP_RET_ERRNO` carries a number in its low half.
const fn with_errno(fail: u32, errno: u16) -> u32 {
    if fail == libc::SECCOMP_RET_ERRNO { fail | errno as u32 } else { fail }
}

/// The alternatives of a group one after another; the first whose tests all hold allows the call.
const fn block(out: &mut Program, alternatives: &[&[Argument]], layout: &Layout) {
    let mut at = 0;
    while at < alternatives.len() {
        let tests = alternatives[at];
        let next = out.len + instructions_of(tests);
        let otherwise = if at + 1 < alternatives.len() { next } else { layout.eperm };
        let mut one = 0;
        while one < tests.len() {
            let then = if one + 1 < tests.len() { out.len + size(&tests[one]) } else { layout.allow };
            test(out, &tests[one], then, otherwise);
            one += 1;
        }
        at += 1;
    }
}

const fn instructions_of(tests: &[Argument]) -> usize {
    let mut sum = 0;
    let mut at = 0;
    while at < tests.len() {
        sum += size(&tests[at]);
        at += 1;
    }
    sum
}

/// Whether a test only asks that no bit of its mask is set, which is one instruction.
const fn is_clear(argument: &Argument) -> bool {
    matches!(argument.test, Test::OneOf([0]))
}

/// Instructions of a test.
const fn size(argument: &Argument) -> usize {
    let (Test::OneOf(values) | Test::NoneOf(values)) = argument.test;
    if is_clear(argument) { 2 } else { 1 + (argument.mask != u32::MAX) as usize + values.len() }
}

/// One test of an argument.
const fn test(out: &mut Program, argument: &Argument, then: usize, otherwise: usize) {
    assert!(argument.index < 6, "a call has six arguments");
    push(out, LOAD, 0, 0, ARGUMENTS_AT + argument.index * 8);
    if is_clear(argument) {
        jump(out, ANY_BIT, otherwise, then, argument.mask);
        return;
    }
    if argument.mask != u32::MAX {
        push(out, MASK, 0, 0, argument.mask);
    }
    let (values, wanted) = match argument.test {
        Test::OneOf(values) => (values, true),
        Test::NoneOf(values) => (values, false),
    };
    assert!(!values.is_empty(), "a test has a value");
    let (equal, different) = if wanted { (then, otherwise) } else { (otherwise, then) };
    let mut at = 0;
    while at < values.len() {
        assert!(values[at] & !argument.mask == 0, "a value has bits outside its mask");
        let is_last = at + 1 == values.len();
        let following = if is_last { different } else { out.len + 1 };
        jump(out, EQUAL, equal, following, values[at]);
        at += 1;
    }
}

/// A conditional jump to two instructions that lie ahead.
const fn jump(out: &mut Program, code: u16, then: usize, otherwise: usize, k: u32) {
    let from = out.len + 1;
    assert!(then >= from && otherwise >= from, "jumps go forward");
    assert!(then - from < 256 && otherwise - from < 256, "the list has outgrown short jumps");
    push(out, code, (then - from) as u8, (otherwise - from) as u8, k);
}

const fn push(out: &mut Program, code: u16, jt: u8, jf: u8, k: u32) {
    assert!(out.len < INSTRUCTIONS_MAX, "the list needs more instructions than INSTRUCTIONS_MAX");
    out.held[out.len] = Instruction { code, jt, jf, k };
    out.len += 1;
}
