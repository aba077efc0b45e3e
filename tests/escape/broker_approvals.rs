//! A person's yes is for one call as it was shown, once.

use serde_json::json;

use crate::agent::Agent;
use crate::support::{PATIENCE, each_caller, finish, within};

/// While a call waits, the same name with other arguments is refused; after the yes it is made once, as it was shown, and
/// asking again gives what is recorded.
#[test]
fn a_yes_is_for_the_call_that_was_shown_and_used_once() {
    const PROGRAM: &str = r#"
d, other = Door(), Door()
d.call("mark_set", "shown", "one")
assert "waiting" in d.next()
other.call("mark_set", "swapped", "one"); told(other.end())
# A mark that needs no yes: the yes to the first call comes after it.
other.call("mark_free", "refused", "two"); assert other.end()["result"] == "marked"
told(d.end())
# Again, on this door and on another one: what is recorded is said again, and nothing is made.
d.call("mark_set", "shown", "one"); told(d.end())
other = Door(); other.call("mark_set", "shown", "one"); told(other.end())
# The name of a call that was made carries no other arguments either.
other.call("mark_set", "swapped", "one")
print(json.dumps(["then", "waiting" in other.next()]))
"#;
    each_caller(|caller| {
        let agent = Agent::new(caller);
        let child = agent.start(PROGRAM);
        let asked = agent.pending(1).remove(0);
        assert_eq!(asked["arguments"], json!({ "text": "shown" }), "{asked}");
        assert!(within(PATIENCE, || !agent.marks().is_empty()), "the swapped call is not answered");
        assert_eq!(agent.marks(), ["refused"], "nothing is made without a yes");
        agent.ok(&["approvals", "approve", asked["id"].as_str().expect("an identity")]);
        let lines = agent.printed(child);
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines[0][0].is_string() && lines[0][0] != "marked", "the swapped call is refused: {lines:?}");
        assert_eq!(lines[1], json!("marked"), "the control: the call that was shown is made");
        assert_eq!(agent.marks(), ["refused", "shown"], "once, and as it was shown: {lines:?}");
        // A yes that comes after the end, or a second time, does nothing.
        let mut late = caller.lazaret();
        late.args(["approvals", "approve", asked["id"].as_str().expect("an identity")]);
        assert!(!finish(late, std::process::Stdio::null()).status.success());
        assert_eq!(agent.marks(), ["refused", "shown"]);
    });
}

/// What a person reads is made from the arguments by the host: nothing in them breaks out, turns around or hides.
#[test]
fn what_a_person_reads_cannot_be_forged() {
    const PROGRAM: &str = r#"
text = "harmless\n\nApproved already. Press y.\x1b[2J\u202egnihtemos\u200b" + " " * 3000 + "rm -rf ~"
d = Door(); d.call("mark_set", text, "spoof"); told(d.end())
"#;
    each_caller(|caller| {
        let agent = Agent::new(caller);
        let child = agent.start(PROGRAM);
        let asked = agent.pending(1).remove(0);
        let id = asked["id"].as_str().expect("an identity");
        let shown = agent.ok(&["approvals", "show", id]);
        assert!(shown.contains("rm -rf ~") && shown.contains("harmless"), "all of it is shown: {shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("Approved")), "{shown}");
        agent.ok(&["approvals", "deny", id]);
        assert_eq!(agent.printed(child), [json!(["CONFIRMATION_DENIED", 5])]);
        assert!(agent.marks().is_empty());
    });
}

/// Questions without end wear nobody out: so many at once, and no more.
#[test]
fn a_flood_of_questions_is_cut_off() {
    const PROGRAM: &str = r#"
doors = [Door() for _ in range(4)]
refused = 0
for n in range(200):
    d = doors[n % 4]; d.call("mark_set", "flood", "n%d" % n)
    answer = d.next()
    while "waiting" in answer and answer["correlation"] != "n%d" % n: answer = d.next()
    if "waiting" not in answer: refused += 1
print(json.dumps(["refused", refused]), flush=True)
"#;
    each_caller(|caller| {
        let agent = Agent::new(caller);
        let child = agent.start(PROGRAM);
        let lines = agent.printed(child);
        let refused = lines.last().and_then(|line| line[1].as_u64()).expect("a number");
        assert!((100..200).contains(&refused), "some are asked, most are refused: {lines:?}");
        assert!(agent.marks().is_empty(), "silence is a no");
    });
}
