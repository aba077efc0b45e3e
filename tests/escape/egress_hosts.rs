//! Hosts that were not granted, and granted ones used for more than was granted. Every denied host answers whoever has a way
//! to it, as the daemon's own machine has.

use std::process::Stdio;

use serde_json::Value;

use crate::internet::{Internet, connect, get, status};
use crate::support::{each_caller, finish, within};

/// What the owner grants at most in these tests.
const MAX: &[&str] = &["allowed.test:80", "evil.test:80"];

#[test]
fn only_listed_hosts_and_ports_are_reached() {
    each_caller(|caller| {
        let internet = Internet::new(caller, MAX, "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let denied: Vec<String> = ["evil.test", "evilallowed.test", "allowed.test.evil.test", "other.test", "45.33.32.10", "45.33.32.11"]
            .iter()
            .flat_map(|host| [connect(&format!("{host}:80")), get(host, "/")])
            .chain([connect("allowed.test:8080"), get("allowed.test:8080", "/"), connect("allowed.test:443")])
            .collect();
        for (request, answer) in denied.iter().zip(internet.knock(&sandbox, &denied)) {
            assert_eq!(status(&answer), "403", "{request}: {answer}");
        }
        assert!(internet.heard().is_empty(), "{:?}", internet.heard());
        // The rule is the only wall: the same requests pass where it stands, and the host is there.
        let open = internet.sandbox(&["allowed.test:80", "evil.test:80"]);
        let answers = internet.knock(&open, &[connect("evil.test:80"), get("evil.test", "/"), get("ALLOWED.test.", "/")]);
        assert!(answers[..2].iter().all(|answer| answer.contains("this is 45.33.32.11")), "{answers:?}");
        assert!(answers[2].contains("this is 45.33.32.10"), "one name in another spelling: {answers:?}");
        assert_eq!(internet.at_the_host("evilallowed.test"), "this is 45.33.32.11");
        assert_eq!(internet.at_the_host("allowed.test:8080"), "this is 45.33.32.10");
    });
}

/// Whoever leaves the proxy aside finds no network at all.
#[test]
fn there_is_no_way_but_the_proxy() {
    const PROGRAM: &str = "import socket, sys\n\
        for kind, to in [(1, ('45.33.32.10', 80)), (1, ('127.0.0.1', 80)), (2, ('45.33.32.10', 53)), (2, ('127.0.0.1', 53))]:\n    \
            s = socket.socket(socket.AF_INET, kind); s.settimeout(20)\n    \
            try: s.connect(to); s.send(b'GET / HTTP/1.0\\r\\n\\r\\n'); print('got', s.recv(100))\n    \
            except OSError as e: print(e.errno)\n\
        try: print('got', socket.getaddrinfo('allowed.test', 80))\n\
        except OSError as e: print('no name')\n";
    each_caller(|caller| {
        let internet = Internet::new(caller, MAX, "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let ran = internet.exec(&sandbox, &["env", "-u", "HTTP_PROXY", "-u", "http_proxy", "python3", "-c", PROGRAM]);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let (unreachable, refused) = ("101", "111");
        assert_eq!(said.lines().collect::<Vec<_>>(), [unreachable, refused, unreachable, refused, "no name"], "{ran:?}");
        assert!(internet.heard().is_empty() && internet.asked().is_empty());
        assert_eq!(internet.at_the_host("allowed.test"), "this is 45.33.32.10");
        assert!(internet.knock(&sandbox, &[get("allowed.test", "/")])[0].contains("this is 45.33.32.10"));
    });
}

#[test]
fn an_allowed_host_is_not_used_for_other_paths_and_methods() {
    each_caller(|caller| {
        let internet = Internet::new(caller, MAX, "");
        let sandbox = internet.sandbox(&["allowed.test:80/api,GET"]);
        let post = "POST http://allowed.test/api/x HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndata";
        let denied = [
            get("allowed.test", "/v1/files"),
            get("allowed.test", "/apix"),
            get("allowed.test", "/api/../v1/files"),
            get("allowed.test", "/api/%2e%2e/v1/files"),
            get("allowed.test", "/api/..%2fv1"),
            get("allowed.test", "//api"),
            post.to_owned(),
        ];
        for (request, answer) in denied.iter().zip(internet.knock(&sandbox, &denied)) {
            assert_eq!(status(&answer), "403", "{request}: {answer}");
        }
        assert!(internet.heard().is_empty(), "{:?}", internet.heard());
        assert!(internet.knock(&sandbox, &[get("allowed.test", "/api/x")])[0].contains("this is"), "the control");
        let open = internet.sandbox(&["allowed.test:80"]);
        assert!(internet.knock(&open, &denied).iter().all(|answer| status(answer) == "200"), "without paths in the rule all pass");
    });
}

/// A redirect is only an answer: whoever follows it asks again, and is refused.
#[test]
fn a_redirect_leads_to_no_other_host() {
    each_caller(|caller| {
        let internet = Internet::new(caller, MAX, "");
        let follow = |allow: &[&str]| {
            let ran = internet
                .exec(&internet.sandbox(allow), &["curl", "-sSL", "--proxy", "http://127.0.0.1:4101", "http://allowed.test/redirect"]);
            String::from_utf8_lossy(&ran.stdout).into_owned()
        };
        let said = follow(&["allowed.test:80"]);
        assert!(said.contains("EGRESS_DENIED") && !said.contains("this is 45.33.32.11"), "{said}");
        assert!(internet.heard().iter().all(|line| line["at"] == "45.33.32.10"), "{:?}", internet.heard());
        assert_eq!(follow(&["allowed.test:80", "evil.test:80"]), "this is 45.33.32.11", "where both are listed it is followed");
        let answer = internet.knock(&internet.sandbox(&["allowed.test:80"]), &[get("allowed.test", "/redirect")]).remove(0);
        assert!(answer.starts_with("HTTP/1.1 302") && !answer.to_ascii_lowercase().contains("alt-svc"), "{answer}");
    });
}

#[test]
fn a_websocket_passes_only_where_a_rule_says_so() {
    let upgrade = "GET http://allowed.test/ws HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\nframes";
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:80", "allowed.test:80,WS"], "");
        for allow in [&["allowed.test:80/ws,GET"][..], &["allowed.test:80/other,WS"]] {
            let answer = internet.knock(&internet.sandbox(allow), &[upgrade]).remove(0);
            assert_eq!(status(&answer), "403", "{allow:?}: {answer}");
        }
        assert!(internet.heard().is_empty());
        let answer = internet.knock(&internet.sandbox(&["allowed.test:80/ws,WS"]), &[upgrade]).remove(0);
        assert!(status(&answer) == "101" && answer.ends_with("frames"), "{answer}");
    });
}

/// What a sandbox may reach is read anew by each daemon: without a daemon, without the owner's word, or with a note that
/// cannot be read it is nothing.
#[test]
fn no_policy_is_no_way_out() {
    each_caller(|caller| {
        let internet = Internet::new(caller, MAX, "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let tried = || internet.knock(&sandbox, &[get("allowed.test", "/")]).remove(0);
        assert!(tried().contains("this is 45.33.32.10"), "the control");
        // The owner takes it back while the sandbox lives.
        internet.lazaret_ok(&["config", "set", "egress.max", "[]"]);
        assert!(within(crate::support::PATIENCE, || status(&tried()) == "403"), "{}", tried());
        internet.lazaret_ok(&["config", "set", "egress.max", "[\"allowed.test:80\"]"]);
        assert!(within(crate::support::PATIENCE, || tried().contains("this is")), "{}", tried());
        // The daemon is killed; its successor cannot read what was granted.
        let daemon: Value = serde_json::from_str(&internet.lazaret_ok(&["status", "--json"])).expect("JSON");
        let pid = daemon["pid"].as_i64().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill the daemon");
        let spoiled = spoil_notes(&caller.home.join(".lazaret/sandboxes"));
        assert!(spoiled > 0, "no note of a sandbox was found");
        internet.lazaret_ok(&["start", "--listen", "127.0.0.1:0"]);
        let before = internet.heard().len();
        let said = finish(
            internet
                .lazaret(&["sandbox", "exec", &sandbox, "--", "curl", "-sS", "--proxy", "http://127.0.0.1:4101", "http://allowed.test/"]),
            Stdio::null(),
        );
        assert!(!String::from_utf8_lossy(&said.stdout).contains("this is"), "{said:?}");
        assert_eq!(internet.heard().len(), before);
    });
}

/// Makes the note about what may be reached unreadable, wherever it stands.
fn spoil_notes(dir: &std::path::Path) -> usize {
    let mut spoiled = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            spoiled += spoil_notes(&path);
        } else if let Ok(text) = std::fs::read_to_string(&path)
            && text.contains("allowed.test")
        {
            std::fs::write(&path, text.replace("\\\"egress\\\"", "\\\"agress\\\"")).expect("write");
            spoiled += 1;
        }
    }
    spoiled
}
