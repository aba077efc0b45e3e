//! While the host has acknowledged nothing it has no cursor: what is said then is told to the next process all the same. Networks whose
//! program says itself where it goes on; the platforms of all others tell again what was not acknowledged.

use testkit::platforms::bluebubbles::BlueBubbles;
use testkit::platforms::bridge::{Bridge, Linked};
use testkit::platforms::mailbox::Mailbox;
use testkit::platforms::signal::Signal;
use testkit::platforms::{Account, Channel, Discord, Party};

use crate::contract::{PROGRAM, ready};

#[test]
fn discord() {
    tells_again(&Discord::start());
}

#[test]
fn mail() {
    tells_again(&Mailbox::start());
}

#[test]
fn signal() {
    tells_again(&Signal::start());
}

#[test]
fn imessage() {
    tells_again(&BlueBubbles::start());
}

#[test]
fn a_bridge() {
    tells_again(&Linked("whatsapp-bridge", Bridge::start(true)));
}

/// How often a process is killed before anything is acknowledged.
const KILLS: usize = 2;

fn tells_again(party: &dyn Party) {
    let credentials = party.credentials();
    let credentials: Vec<(&str, &str)> = credentials.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let account = Account::new(PROGRAM, party.network(), &party.config(), &credentials);
    let mut channel = ready(&account, None);
    assert!(party.writes("the first of all").is_none());
    let first = told(&mut channel, "the first of all");
    for n in 0..KILLS {
        channel.kill();
        let away = format!("said while it was away: {n}");
        if party.keeps() {
            assert!(party.writes(&away).is_none());
        }
        channel = ready(&account, None);
        assert_eq!(told(&mut channel, "the first of all"), first);
        if party.keeps() {
            told(&mut channel, &away);
        }
    }
    assert_eq!(channel.stop(), Some(0));
}

/// Waits until a text is told, and acknowledges nothing: the id.
#[track_caller]
fn told(channel: &mut Channel, text: &str) -> String {
    loop {
        let (_, _, heard) = channel.report();
        if heard.text.contains(text) {
            return heard.id;
        }
    }
}
