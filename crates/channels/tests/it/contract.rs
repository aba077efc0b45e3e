//! What every network keeps, shown with the real program and an emulator of the platform.

use testkit::platforms::{Account, Channel, Fault, Web, text_of};
use wire::chat::{Failing, FromChannel, Health, HeardKind, ToChannel};

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lazaret-channels");

/// A platform, an account on it, and a chat.
pub(crate) trait Stage {
    /// The server that stands for the platform.
    fn web(&self) -> &Web;
    /// An account with the right credential.
    fn account(&self) -> Account;
    /// An account whose credential is refused.
    fn stranger(&self) -> Account;
    /// The chat in which everything is said.
    fn chat(&self) -> String;
    /// A chat that there is not.
    fn nowhere(&self) -> String;
    /// A part of the address to which messages are sent.
    fn sends_at(&self) -> &'static str;
    /// Somebody says something in the chat: the platform's id of it.
    fn says(&self, text: &str) -> String;
    /// What the chat shows of the account's, without marks.
    fn shown(&self) -> Vec<String>;
    /// Whether a message that may have been sent is found out not to have been, or is not sent twice by the platform.
    fn is_sure(&self) -> bool;
    /// Returns when the platform knows that `count` of what it told were heard, where it is told so apart from the cursor.
    fn knows_heard(&self, count: usize) {
        let _ = count;
    }
}

/// A started channel that is connected.
pub(crate) fn ready(account: &Account, cursor: Option<&str>) -> Channel {
    let mut channel = account.start(cursor);
    let _ = channel.ready();
    channel
}

/// What is heard is reported until it is acknowledged, and no more after that.
pub(crate) fn hears_until_acknowledged(stage: &dyn Stage) {
    let account = stage.account();
    let mut channel = ready(&account, None);
    let first = stage.says("first");
    let (_, _, heard) = channel.report();
    assert_eq!(
        (heard.kind, heard.id.as_str(), heard.text.as_str(), heard.chat.id),
        (HeardKind::Message, first.as_str(), "first", stage.chat())
    );
    // Not acknowledged: it comes again, to the process that is started where the host was.
    channel.kill();
    let mut channel = ready(&account, None);
    let (seq, cursor, heard) = channel.report();
    assert_eq!((heard.id.as_str(), seq), (first.as_str(), 1));
    channel.say(&ToChannel::Ack { seq });
    stage.knows_heard(1);
    let second = stage.says("second");
    let (seq, _, heard) = channel.report();
    assert_eq!((heard.id, seq), (second.clone(), 2));
    channel.kill();
    // Acknowledged: it does not. The second, which was not, does.
    let mut channel = ready(&account, cursor.as_deref());
    assert_eq!(channel.hear().id, second);
    assert_eq!(channel.stop(), Some(0));
}

/// Each kill on the way of a delivery leaves one visible message, or where nobody can know two of which the second says so.
pub(crate) fn delivers_once_through_kills(stage: &dyn Stage) {
    let account = stage.account();
    for (point, seen) in [("channel:begun", 0), ("channel:took", 1), ("channel:noted", 1), ("channel:told", 1)] {
        let before = stage.shown().len();
        let mut channel = account.start_and_die(None, Some(point));
        let _ = channel.ready();
        channel.deliver(point, &stage.chat(), None, text_of(&format!("at {point}")));
        // 134 would be a status; a process that aborts has none.
        assert_eq!(channel.ends(), None, "{point}");
        assert_eq!(stage.shown().len() - before, seen, "{point}");
        let mut channel = ready(&account, None);
        channel.deliver(point, &stage.chat(), None, text_of(&format!("at {point}")));
        let (messages, again) = channel.delivered(point);
        assert_eq!((messages.len(), again), (1, matches!(point, "channel:noted" | "channel:told")), "{point}");
        let shown = stage.shown().split_off(before);
        match point {
            "channel:took" if !stage.is_sure() => {
                assert!(shown.len() == 2 && shown[1].contains("twice") && shown[1].contains("at channel:took"), "{shown:?}");
            }
            // It began and nobody knows that it was not sent.
            "channel:begun" if !stage.is_sure() => assert!(shown.len() == 1 && shown[0].contains("at channel:begun"), "{shown:?}"),
            _ => assert_eq!(shown, [format!("at {point}")], "{point}"),
        }
        // Asked for once more by the same process, it is known.
        channel.deliver(point, &stage.chat(), None, text_of(&format!("at {point}")));
        assert_eq!(channel.delivered(point), (messages, true));
        assert_eq!(stage.shown().len() - before, shown.len(), "{point}");
    }
}

/// A platform that says no is told apart from one that did not answer.
pub(crate) fn says_why_not(stage: &dyn Stage) {
    let account = stage.account();
    let mut channel = ready(&account, None);
    let chat = stage.chat();
    stage.web().fail(stage.sends_at(), Fault::TooOften(7));
    channel.deliver("often", &chat, None, text_of("often"));
    let (why, _, after_ms) = channel.failed("often");
    assert_eq!((why, after_ms), (Failing::Rate, Some(7000)));
    stage.web().fail(stage.sends_at(), Fault::Status(503));
    channel.deliver("ill", &chat, None, text_of("ill"));
    assert_eq!(channel.failed("ill").0, Failing::Passing);
    channel.deliver("nowhere", &stage.nowhere(), None, text_of("nowhere"));
    assert_eq!(channel.failed("nowhere").0, Failing::Final);
    assert_eq!(stage.shown(), Vec::<String>::new());
    // What was refused plainly is no doubt, and goes without a mark when it is asked for again.
    assert_eq!(channel.send("often", &chat, "often").len(), 1);
    assert_eq!(channel.send("ill", &chat, "ill").len(), 1);
    assert_eq!(stage.shown(), ["often", "ill"]);
    for (name, fault) in [("lost", Fault::DropAfter), ("gateway", Fault::BadGatewayAfter)] {
        let before = stage.shown().len();
        stage.web().fail(stage.sends_at(), fault);
        channel.deliver(name, &chat, None, text_of(name));
        assert_eq!(channel.failed(name).0, Failing::Unknown, "{name}");
        assert_eq!(channel.send(name, &chat, name).len(), 1);
        let shown = stage.shown().split_off(before);
        if stage.is_sure() {
            assert_eq!(shown, [name]);
        } else {
            assert!(shown.len() == 2 && shown[1].contains("twice"), "{shown:?}");
        }
    }
}

/// A credential that is refused is said so, and nothing of it is shown.
pub(crate) fn says_that_a_credential_is_refused(stage: &dyn Stage) {
    let account = stage.stranger();
    let mut channel = account.start(None);
    let message = channel.health(Health::Credential);
    assert!(!message.contains("stranger"), "{message}");
    channel.deliver("d", &stage.chat(), None, text_of("x"));
    let (why, message, _) = channel.failed("d");
    assert!(matches!(why, Failing::Credential | Failing::Final) && !message.contains("stranger"), "{why:?} {message}");
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Ready { .. })));
}

/// An answer that is lost on the way in, an outage and a refusal to connect are gone through.
pub(crate) fn comes_back(stage: &dyn Stage, listens_at: &str) {
    for fault in [Fault::Status(502), Fault::Drop, Fault::TooOften(0)] {
        stage.web().fail(listens_at, fault);
    }
    let account = stage.account();
    let mut channel = ready(&account, None);
    let id = stage.says("after the storm");
    assert_eq!(channel.hear().id, id);
}
