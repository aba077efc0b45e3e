//! Extended attributes by which an overlay finds files elsewhere: set inside, they must not lead it anywhere.

use crate::support::each_caller;

#[test]
fn the_overlay_follows_no_attribute() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["mounts"]);
        let mounts = report.worked("mounts").as_str().expect("a text").to_owned();
        let overlays: Vec<&str> = mounts.lines().filter(|line| line.contains(" - overlay ")).collect();
        assert!(!overlays.is_empty(), "{mounts}");
        for line in overlays {
            let options = line.split(" - overlay ").nth(1).unwrap_or_default();
            assert!(options.contains("userxattr"), "{line}");
            for on in ["redirect_dir=on", "redirect_dir=follow", "metacopy=on", "index=on"] {
                assert!(!options.contains(on), "{line}");
            }
        }
    });
}

#[test]
fn trusted_attributes_cannot_be_set() {
    each_caller(|caller| {
        let attacks = ["xattr=/workspace/a,trusted.overlay.redirect", "xattr=/workspace/a,trusted.overlay.opaque"];
        let report = caller.sandbox().attack(&attacks);
        for attack in attacks {
            assert!(["EPERM", "EOPNOTSUPP"].contains(&report.denied(attack)), "{report:?}");
        }
    });
}

/// A directory inside that claims to be somewhere else shows its own files.
#[test]
fn a_redirect_that_was_set_inside_leads_nowhere() {
    each_caller(|caller| {
        let script =
            "mkdir -p d && python3 -c 'import os; os.setxattr(\"d\", \"user.overlay.redirect\", b\"/usr\")' 2>/dev/null; ls -A d | wc -l";
        let output = caller.sandbox().run(&["/bin/sh", "-c", script]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{output:?}");
    });
}
