//! Calls through another ABI, whose numbers mean other things: 32-bit and x32. The process ends at once.

use crate::support::each_caller;

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_another_abi_kill() {
    each_caller(|caller| {
        let attacks = ["int80", "x32"];
        caller.sandbox().attack(&attacks).all_denied(&attacks, "SIGSYS");
        let open = caller.without("seccomp").attack(&attacks);
        // A kernel may have been built without one or both; then it has its own way to say no.
        open.none_denied(&attacks, "SIGSYS");
    });
}
