//! Addresses that no agent may reach by any spelling or name: this machine's own, its network's, and metadata. All of them
//! answer whoever has a way.

use crate::internet::{Internet, connect, get, status};
use crate::support::each_caller;

/// Spellings of addresses, each asked for as a tunnel and as a plain request.
const LITERALS: &[&str] = &[
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "0", "0.0.0.0", "[::]", "[::1]", "localhost", "10.9.8.7",
    "10.9.2055", "168364039", "012.011.010.07", "192.168.7.7", "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:10.9.8.7]",
    "[::ffff:a9fe:a9fe]", "[::10.9.8.7]", "[64:ff9b::a09:807]", "[64:ff9b::a9fe:a9fe]", "[2002:a09:807::1]", "[fd00:ec2::254]",
    "[fe80::1%25out0]", "[fe80::1%out0]", "45.33.32.1", "host.docker.internal", "metadata.google.internal", "10.9.8.7.", "\u{ff11}0.9.8.7",
    "10。9。8。7",
];
/// Names that lead to such addresses.
const NAMES: &[&str] = &["inside.test", "loop.test", "meta.test", "mixed.test", "alias.test", "six.test", "mapped.test", "own.test"];

#[test]
fn no_spelling_of_an_address_passes() {
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:80"], "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let requests: Vec<String> = LITERALS.iter().flat_map(|host| [connect(&format!("{host}:80")), get(host, "/")]).collect();
        for (request, answer) in requests.iter().zip(internet.knock(&sandbox, &requests)) {
            assert!(["400", "403"].contains(&status(&answer)), "{request}: {answer}");
        }
        assert!(internet.heard().is_empty() && internet.asked().is_empty(), "{:?} {:?}", internet.heard(), internet.asked());
        assert!(internet.knock(&sandbox, &[get("allowed.test", "/")])[0].contains("this is 45.33.32.10"), "the control");
        // All of these answer whoever has a way.
        for (address, at) in [
            ("10.9.2055", "10.9.8.7"),
            ("2852039166", "169.254.169.254"),
            ("[::ffff:10.9.8.7]", "10.9.8.7"),
            ("[fd00:ec2::254]", "fd00:ec2::254"),
            ("0x7f000001", "127.0.0.1"),
            ("45.33.32.1", "45.33.32.1"),
            ("192.168.7.7", "192.168.7.7"),
            ("[::]", "::1"),
        ] {
            assert_eq!(internet.at_the_host(address), format!("this is {at}"), "{address}");
        }
    });
}

/// A rule grants a name, not what the name leads to.
#[test]
fn a_name_that_leads_inside_is_refused() {
    each_caller(|caller| {
        let rules: Vec<String> = NAMES.iter().map(|name| format!("{name}:80")).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let internet = Internet::new(caller, &rules, "");
        let sandbox = internet.sandbox(&rules);
        let requests: Vec<String> = rules.iter().flat_map(|rule| [connect(rule), get(rule, "/")]).collect();
        for (request, answer) in requests.iter().zip(internet.knock(&sandbox, &requests)) {
            assert!(status(&answer) == "403" && answer.contains("leads to"), "{request}: {answer}");
        }
        assert!(internet.heard().is_empty(), "{:?}", internet.heard());
        assert_eq!(internet.at_the_host("alias.test"), "this is 10.9.8.7");
        assert_eq!(internet.at_the_host("meta.test"), "this is 169.254.169.254");
        assert_eq!(internet.at_the_host("six.test"), "this is fd00:ec2::254");
    });
}

/// Only an address that the owner wrote down by itself is dialled, with its own rule or through a name.
#[test]
fn what_the_owner_wrote_down_is_reached_and_nothing_beside_it() {
    each_caller(|caller| {
        let rules = ["inside.test:80", "meta.test:80", "10.9.8.7:80", "192.168.7.7:80"];
        let internet = Internet::new(caller, &rules, "private_ok = [\"10.9.8.7\"]\n");
        let sandbox = internet.sandbox(&rules);
        let answers = internet.knock(&sandbox, &rules.map(connect));
        assert!(answers[0].contains("this is 10.9.8.7") && answers[2].contains("this is 10.9.8.7"), "{answers:?}");
        assert_eq!((status(&answers[1]), status(&answers[3])), ("403", "403"), "{answers:?}");
    });
}

/// A name whose second answer leads inside: the answer that was checked is the one that is dialled, each time.
#[test]
fn a_name_that_turns_is_checked_at_each_dial() {
    each_caller(|caller| {
        let internet = Internet::new(caller, &["turn.test:80"], "");
        let sandbox = internet.sandbox(&["turn.test:80"]);
        let answers = internet.knock(&sandbox, &vec![get("turn.test", "/"); 6]);
        let (outside, refused): (Vec<&String>, Vec<&String>) = answers.iter().partition(|answer| status(answer) == "200");
        assert_eq!((outside.len(), refused.len()), (3, 3), "{answers:?}");
        assert!(outside.iter().all(|answer| answer.contains("this is 45.33.32.10")), "{answers:?}");
        assert!(refused.iter().all(|answer| status(answer) == "403"), "{answers:?}");
        assert!(internet.heard().iter().all(|line| line["at"] == "45.33.32.10"), "{:?}", internet.heard());
        // The control: a program that asks, checks, and asks again is led inside.
        let reached = [internet.at_the_host("turn.test"), internet.at_the_host("turn.test")];
        assert!(reached.contains(&"this is 127.0.0.1".to_owned()), "{reached:?}");
    });
}
