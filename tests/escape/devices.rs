//! Device nodes: only the harmless ones exist, and no new ones can be made or opened.

use std::collections::BTreeMap;

use crate::support::{Caller, each_caller};

/// null, zero, full, random, urandom, tty, ptmx and the sandbox's own terminals.
fn is_harmless(device: &str) -> bool {
    let harmless = ["c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2"];
    harmless.contains(&device) || device.starts_with("c 136:")
}

#[test]
fn only_harmless_devices_exist() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["device-nodes"]);
        let nodes: BTreeMap<String, String> = serde_json::from_value(report.worked("device-nodes").clone()).expect("paths and numbers");
        let odd: Vec<_> = nodes.iter().filter(|(_, device)| !is_harmless(device)).collect();
        assert!(odd.is_empty() && nodes.contains_key("/dev/null"), "{nodes:?}");
        let names = ["kvm", "mem", "port", "kmsg", "fuse", "loop-control", "net/tun", "vsock", "userfaultfd", "console", "vda", "sda"];
        let attacks = names.map(|name| format!("write=/dev/{name}"));
        let attacks: Vec<&str> = attacks.iter().map(String::as_str).collect();
        caller.sandbox().attack(&attacks).all_denied(&attacks, "ENOENT");
    });
}

#[test]
fn devices_cannot_be_made() {
    each_caller(|caller| {
        let attacks = ["device=/workspace/d", "block-device=/tmp/d", "whiteout=/tmp/w"];
        caller.sandbox().attack(&attacks).all_denied(&attacks, "EPERM");
        let open = caller.without("seccomp").attack(&attacks);
        // A capability is missing as well; the 0:0 node needs none, so it shows that the attack is real.
        open.worked("whiteout=/tmp/w");
        open.all_denied(&attacks[..2], "EPERM");
    });
}

/// A device that root made with the other walls gone cannot be opened: every mount says nodev.
#[test]
fn a_made_device_cannot_be_opened() {
    let caller = Caller::root();
    let attacks = ["device=/tmp/d", "read=/tmp/d", "device=/workspace/d", "read=/workspace/d"];
    let report = caller.without("seccomp,privileges,landlock").attack(&attacks);
    for place in ["/tmp", "/workspace"] {
        report.worked(&format!("device={place}/d"));
        assert_eq!(report.denied(&format!("read={place}/d")), "EACCES");
    }
}
