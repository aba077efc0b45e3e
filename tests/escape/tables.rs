//! Tables of the kernel that are small and shared: descriptors, watches, message queues, keys.

use crate::support::{Caller, each_caller};

#[test]
fn descriptors_and_watches_are_bounded() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["open-files", "inotify", "message-queues"]);
        let files = report.worked("open-files");
        assert_eq!(files["errno"], "EMFILE", "{files}");
        assert!(files["count"].as_u64().is_some_and(|count| count <= 65_536), "{files}");
        let watches = report.worked("inotify");
        assert!(watches["errno"].is_string() && watches["count"].as_u64().is_some_and(|count| count <= 1024), "{watches}");
        assert!(report.worked("message-queues")["errno"].is_string(), "{report:?}");
    });
}

/// A sandbox that has used up its own share takes nothing from the next, which is another host user. Without root all of
/// a caller's sandboxes are that caller, and share what the kernel grants a user.
#[test]
fn a_neighbour_keeps_its_share() {
    let caller = Caller::root();
    std::thread::scope(|scope| {
        let hog = scope.spawn(|| caller.sandbox().attack(&["inotify", "open-files"]));
        let report = caller.sandbox().attack(&["inotify"]);
        assert!(report.worked("inotify")["count"].as_u64().is_some_and(|count| count >= 64), "{report:?}");
        drop(hog.join());
    });
}

#[test]
fn no_key_is_made() {
    each_caller(|caller| assert_eq!(caller.sandbox().attack(&["add-key"]).denied("add-key"), "EPERM"));
}
