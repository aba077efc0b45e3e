//! Two homes on one machine at once, each with its daemon: neither sees anything of the other.

use crate::support::Lab;

#[test]
fn two_homes_never_see_each_other() {
    let (one, two) = (Lab::new(), Lab::new());
    let make = |lab: &Lab| lab.run(&["sandbox", "create"]).succeeds().out.trim().to_owned();
    let (in_one, in_two) = (make(&one), make(&two));
    let listed = |lab: &Lab| lab.run(&["sandbox", "list"]).succeeds().out;
    assert!(listed(&one).contains(&in_one) && !listed(&one).contains(&in_two));
    assert!(listed(&two).contains(&in_two) && !listed(&two).contains(&in_one));
    two.run(&["sandbox", "exec", &in_one, "--", "true"]).fails("NOT_FOUND", 2);
    two.run(&["sandbox", "rm", &in_one]).fails("NOT_FOUND", 2);

    one.run_with(&["secret", "set", "anthropic", "-"], b"sk-of-the-first").succeeds();
    assert_eq!(two.run(&["secret", "list"]).succeeds().out, "");
    let session =
        two.run(&["run", "--json", "--model", "rehearsal", "hello"]).succeeds().result()["session"].as_str().expect("a session").to_owned();
    one.run(&["run", "--resume", &session, "more"]).fails("NOT_FOUND", 2);

    // Inside, the neighbour does not exist: neither its processes nor its name.
    one.run(&["sandbox", "exec", &in_one, "--", "sh", "-c", "exec -a neighbour-mark sleep 60 & echo started"]);
    let seen = two.run(&["sandbox", "exec", &in_two, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).succeeds().out;
    assert!(!seen.contains("neighbour-mark") && !seen.contains(&in_one), "{seen}");
    for home in [one.home(), two.home()] {
        assert!(!seen.contains(&*home.to_string_lossy()), "a path of the host is seen inside: {seen}");
    }

    // The end of one daemon, and what it cleans, leaves the other alone.
    one.run(&["stop", "--grace", "0s"]).succeeds();
    one.assert_nothing_left();
    two.run(&["sandbox", "exec", &in_two, "--", "echo", "still here"]).succeeds();
    one.run(&["run", "--model", "rehearsal", "again"]).succeeds();
    two.run(&["sandbox", "exec", &in_two, "--", "true"]).succeeds();
    two.run(&["sandbox", "rm", &in_two]).succeeds();
}
