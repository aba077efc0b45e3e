//! The compiled program, run by a small interpreter, against the list read plainly.

use libc::*;

use super::bpf::{ARCH, ARCH_AT, ARGUMENTS_AT, NUMBER_AT, X32_BIT};
use super::*;

/// The `arch` of 32-bit programs on x86-64 and aarch64.
const OTHER_ARCHS: [u32; 3] = [0x4000_0003, 0x4000_0028, 0];
const KILL: u32 = SECCOMP_RET_KILL_PROCESS;
const ALLOWED: u32 = SECCOMP_RET_ALLOW;

fn errno(number: i32) -> u32 {
    SECCOMP_RET_ERRNO | number.cast_unsigned()
}

/// One call as the filter sees it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    number: u32,
    arch: u32,
    arguments: [u64; 6],
}

impl Seen {
    fn native(number: u32) -> Self {
        Self { number, arch: ARCH, arguments: [0; 6] }
    }

    #[expect(clippy::cast_possible_truncation, reason = "words are halves of the arguments")]
    fn word(&self, at: u32) -> u32 {
        match at {
            NUMBER_AT => self.number,
            ARCH_AT => self.arch,
            8 | 12 => 0,
            at => {
                let argument = self.arguments[((at - ARGUMENTS_AT) / 8) as usize];
                if at % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
            }
        }
    }
}

/// Runs a program as the kernel does. Panics where the kernel's verifier would refuse it.
fn run(program: &[Instruction], seen: Seen) -> u32 {
    let (mut a, mut at) = (0_u32, 0_usize);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            x if x == BPF_LD | BPF_W | BPF_ABS => {
                assert!(k < 64 && k.is_multiple_of(4));
                a = seen.word(k);
            }
            x if x == BPF_ALU | BPF_AND | BPF_K => a &= k,
            x if x == BPF_JMP | BPF_JSET | BPF_K => at += jump(a & k != 0),
            x if x == BPF_JMP | BPF_JEQ | BPF_K => at += jump(a == k),
            x if x == BPF_JMP | BPF_JGE | BPF_K => at += jump(a >= k),
            x if x == BPF_RET | BPF_K => return k,
            other => panic!("instruction {other:#x} is not one of ours"),
        }
    }
}

/// What the list says, read from first to last with no cleverness.
fn expected(seen: Seen) -> u32 {
    if seen.arch != ARCH {
        return KILL;
    }
    if cfg!(target_arch = "x86_64") && seen.number >= X32_BIT && seen.number != u32::MAX {
        return KILL;
    }
    for group in GROUPS {
        if group.calls.iter().any(|call| call.number == seen.number) {
            return match group.answer {
                Answer::Allow => ALLOWED,
                Answer::Fail(number) => errno(number.into()),
                Answer::AllowIf(any) => {
                    let holds = any.iter().any(|tests| tests.iter().all(|test| test.holds(&seen.arguments)));
                    if holds { ALLOWED } else { errno(EPERM) }
                }
            };
        }
    }
    if seen.number > NUMBER_MAX { errno(ENOSYS) } else { errno(EPERM) }
}

fn enforce(seen: Seen) -> u32 {
    run(program(Profile::Enforce).instructions(), seen)
}

fn number_of(name: &str) -> u32 {
    let mut calls = GROUPS.iter().flat_map(|group| group.calls);
    calls.find(|call| call.name() == name).unwrap_or_else(|| panic!("{name} is in no group")).number
}

/// Every number on every ABI, with arguments of all zeros, all ones, and each single bit.
#[test]
fn the_program_does_what_the_list_says() {
    let mut patterns = vec![[0; 6], [u64::MAX; 6], [u64::from(u32::MAX); 6]];
    for bit in 0..64 {
        patterns.push([1 << bit; 6]);
        patterns.push([!(1 << bit); 6]);
    }
    let mut numbers: Vec<u32> = (0..=600).collect();
    numbers.extend((0..=600).map(|number| number | X32_BIT));
    numbers.extend([X32_BIT - 1, 0x8000_0000, u32::MAX - 1, u32::MAX]);
    for number in numbers {
        for arguments in &patterns {
            let seen = Seen { number, arch: ARCH, arguments: *arguments };
            assert_eq!(enforce(seen), expected(seen), "{seen:x?}");
        }
        for arch in OTHER_ARCHS {
            assert_eq!(enforce(Seen { number, arch, arguments: [0; 6] }), KILL, "{number} of {arch:#x}");
        }
    }
}

/// The values that tests name, and their neighbours, in every argument that a test looks at.
#[test]
fn tested_arguments_decide_alone() {
    for group in GROUPS {
        let Answer::AllowIf(alternatives) = group.answer else { continue };
        let tests = alternatives.iter().flat_map(|tests| tests.iter());
        let mut values = vec![0_u64, u64::MAX];
        for test in tests {
            let (Test::OneOf(named) | Test::NoneOf(named)) = test.test;
            for value in named.iter().map(|value| u64::from(*value)).chain([u64::from(test.mask)]) {
                values.extend([value, value + 1, value | 1 << 32]);
            }
        }
        for (call, a, b, c) in group.calls.iter().flat_map(|call| {
            let values = &values;
            values.iter().flat_map(move |a| values.iter().flat_map(move |b| values.iter().map(move |c| (call, *a, *b, *c))))
        }) {
            for arguments in [[a, b, c, 0, 0, 0], [a, b, a, b, c, 0], [0, a, b, c, a, 0]] {
                let seen = Seen { number: call.number, arch: ARCH, arguments };
                assert_eq!(enforce(seen), expected(seen), "{} {arguments:x?}", call.name());
            }
        }
    }
}

#[test]
fn known_cases() {
    let check = |name: &str, arguments: &[i64], expect: u32| {
        let mut seen = Seen::native(number_of(name));
        for (slot, argument) in seen.arguments.iter_mut().zip(arguments) {
            *slot = argument.cast_unsigned();
        }
        assert_eq!(enforce(seen), expect, "{name} {arguments:x?}");
    };
    let (no, none) = (errno(EPERM), errno(ENOSYS));
    let wide = |value: i64| value | 0x5_0000_0000;
    check("read", &[0], ALLOWED);
    check("clone", &[i64::from(CLONE_VM | CLONE_THREAD)], ALLOWED);
    for flag in [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET] {
        check("clone", &[i64::from(flag | CLONE_VM)], no);
        check("clone", &[wide(flag.into())], no);
    }
    check("clone3", &[0, 88], none);
    check("openat2", &[], none);
    check("io_uring_setup", &[1], none);
    check("ioctl", &[0, 0x5401], ALLOWED);
    for request in [0x5412, 0x541c, 0x541d, 0x5423] {
        check("ioctl", &[0, request], no);
        check("ioctl", &[0, wide(request)], no);
    }
    for request in [0x4004_9409, 0x4020_940d, 0xc018_9436] {
        check("ioctl", &[0, request], ALLOWED);
    }
    // Btrfs: make a subvolume, a snapshot, a defragmentation, a search.
    for request in [0x5000_940e, 0x5000_9417, 0x5000_9402, 0xd000_9411] {
        check("ioctl", &[0, request], no);
        check("ioctl", &[0, wide(request)], no);
    }
    check("socket", &[1, 1, 0], ALLOWED);
    check("socket", &[2, 1 | i64::from(SOCK_CLOEXEC), 6], ALLOWED);
    check("socket", &[wide(10), 2, 17], ALLOWED);
    check("socket", &[2, 3, 1], no);
    check("socket", &[2, 10, 0], no);
    check("socket", &[2, 5, 132], no);
    check("socket", &[2, 1, 262], no);
    check("socket", &[16, 3, 0], ALLOWED);
    for protocol in 1..=22 {
        check("socket", &[16, 3, protocol], no);
    }
    for family in (3..=9).chain(11..=15).chain(17..=60) {
        check("socket", &[family, 1, 0], no);
    }
    check("socketpair", &[2, 1, 0], no);
    check("setsockopt", &[3, 6, 1], ALLOWED);
    check("setsockopt", &[3, 6, 31], no);
    check("personality", &[0xffff_ffff], ALLOWED);
    check("personality", &[0x4_0000], ALLOWED);
    check("personality", &[0x8], no);
    check("openat", &[0, 0, i64::from(O_CREAT), 0o644], ALLOWED);
    check("openat", &[0, 0, i64::from(O_CREAT), 0o4755], no);
    check("openat", &[0, 0, i64::from(O_TMPFILE), 0o2755], no);
    check("openat", &[0, 0, 0, 0o4755], ALLOWED);
    check("openat", &[0, 0, i64::from(O_DIRECTORY), 0o4755], ALLOWED);
    check("fchmod", &[0, 0o1777], ALLOWED);
    check("fchmod", &[0, 0o4755], no);
    check("fchmodat", &[0, 0, 0o2755], no);
    check("mknodat", &[0, 0, i64::from(S_IFIFO) | 0o600], ALLOWED);
    check("mknodat", &[0, 0, i64::from(S_IFCHR) | 0o600], no);
    check("mknodat", &[0, 0, 0o4755], no);
    check("renameat2", &[0, 0, 0, 0, 2], ALLOWED);
    check("renameat2", &[0, 0, 0, 0, 4], no);
    for name in ["ptrace", "unshare", "setns", "mount", "move_mount", "bpf", "keyctl", "userfaultfd", "pidfd_getfd", "kexec_load"] {
        check(name, &[], no);
    }
}

/// Nothing that a kernel header names is forgotten: a call without a group would be refused for no written reason.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_number_stands_in_one_group() {
    let mut seen = [0_u8; NUMBER_MAX as usize + 1];
    for call in GROUPS.iter().flat_map(|group| group.calls) {
        seen[call.number as usize] += 1;
    }
    // 337 to 423 are unused on this architecture.
    let wrong: Vec<usize> = (0..seen.len()).filter(|n| seen[*n] != u8::from(!(337..=423).contains(n))).collect();
    assert_eq!(wrong, Vec::<usize>::new());
}

#[test]
fn the_log_profile_stops_nothing() {
    for number in (0..600).chain([X32_BIT]) {
        for arch in [ARCH, OTHER_ARCHS[0]] {
            let seen = Seen { number, arch, arguments: [u64::MAX; 6] };
            let want = if expected(seen) == ALLOWED { ALLOWED } else { SECCOMP_RET_LOG };
            assert_eq!(run(program(Profile::Log).instructions(), seen), want, "{seen:?}");
        }
    }
}

/// Far below the kernel's limit, ends in returns, and a call that is decided by its number takes few steps.
#[test]
fn the_program_is_small() {
    let instructions = program(Profile::Enforce).instructions();
    assert!(instructions.len() < 256, "{} instructions", instructions.len());
    assert_eq!(u32::from(instructions[instructions.len() - 1].code), BPF_RET | BPF_K);
    let far = |instruction: &Instruction| usize::from(instruction.jt.max(instruction.jf));
    for (at, instruction) in instructions.iter().enumerate() {
        assert!(at + far(instruction) < instructions.len(), "instruction {at} jumps out");
    }
}

/// On a difference, run the command that the page names.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/seccomp.md");
    let page = std::fs::read_to_string(path).expect("docs/reference/seccomp.md");
    assert!(page == reference(), "run: cargo run -p lazaret-jail --example seccomp_reference > docs/reference/seccomp.md");
}
