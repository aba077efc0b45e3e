//! Sockets of families and kinds that reach past the network namespace or deep into the kernel.

use crate::support::each_caller;

/// domain, type, protocol: packet, raw IP and ICMP, vsock, crypto, Bluetooth, netlink other than routing, SCTP, DCCP,
/// RDS, XDP, SMC, and a TCP socket of more than one path.
const KINDS: [&str; 14] = [
    "socket=17,3,768", "socket=17,2,768", "socket=2,3,255", "socket=2,3,1", "socket=10,3,58", "socket=40,1,0", "socket=38,5,0",
    "socket=31,3,1", "socket=16,3,9", "socket=16,3,15", "socket=2,1,132", "socket=21,5,0", "socket=44,3,0", "socket=2,1,262",
];

#[test]
fn odd_sockets_are_refused() {
    each_caller(|caller| caller.sandbox().attack(&KINDS).all_denied(&KINDS, "EPERM"));
}

#[test]
fn without_the_filter_some_are_made() {
    each_caller(|caller| {
        let report = caller.without("seccomp").attack(&["socket=16,3,9", "socket=16,3,15", "socket=2,1,262"]);
        report.worked("socket=16,3,9");
        report.worked("socket=16,3,15");
        report.none_denied(&["socket=2,1,262"], "EPERM");
    });
}

#[test]
fn there_is_only_loopback() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["interfaces", "socket=2,1,6", "socket=1,1,0", "socket=16,3,0"]);
        assert_eq!(report.worked("interfaces"), &serde_json::json!(["lo"]));
        report.worked("socket=2,1,6");
        report.worked("socket=1,1,0");
        report.worked("socket=16,3,0");
    });
}
