//! What holds for every network: nothing is lost on the way in, nothing is sent twice on the way out, and each failure says
//! what it is.

use testkit::platforms::signed::Posted;
use testkit::platforms::{Account, Fault, Web, text_of};
use wire::chat::{Failing, FromChannel, Health, ToChannel};

/// A network in the contract.
pub(crate) struct Case<'a> {
    /// The account.
    pub(crate) account: Account,
    /// The platform's server.
    pub(crate) web: &'a Web,
    /// Where messages go.
    pub(crate) chat: &'a str,
    /// The thread there.
    pub(crate) thread: Option<&'a str>,
    /// A request with the message number `n` of somebody's, where the platform posts them.
    pub(crate) message: Option<&'a dyn Fn(usize) -> Posted>,
    /// What a request is answered with that was taken.
    pub(crate) taken: u16,
    /// The texts that stand on the platform, in order.
    pub(crate) sent: &'a dyn Fn() -> Vec<String>,
    /// Called now and then: somebody writes, where a person takes few messages at a time.
    pub(crate) fresh: &'a dyn Fn(),
    /// A part of the target of requests that send.
    pub(crate) path: &'a str,
    /// A credential that the platform checks.
    pub(crate) credential: &'a str,
    /// A value of it that is well formed, and not accepted.
    pub(crate) wrong: &'a str,
    /// Whether the platform keeps a message from being there twice.
    pub(crate) once: bool,
}

impl Case<'_> {
    /// Runs the whole contract.
    pub(crate) fn holds(&self) {
        self.inbound();
        self.outbound();
        self.failures();
        self.crashes();
        self.refused();
    }

    /// A request is answered after its message is durable, and told again where it was not.
    fn inbound(&self) {
        let Some(message) = self.message else { return };
        let mut channel = self.account.start(None);
        channel.ready();
        message(1).post(&mut channel, "w1");
        let (seq, _, first) = channel.report();
        assert!(
            !channel.rest().iter().any(|line| matches!(line, FromChannel::WebhookAnswer { .. })),
            "answered before it was acknowledged"
        );
        channel.say(&ToChannel::Ack { seq });
        assert_eq!(channel.answer("w1").0, self.taken);
        assert!(!first.sender.id.is_empty() && !first.chat.id.is_empty());
        message(2).post(&mut channel, "w2");
        let (_, _, lost) = channel.report();
        channel.kill();
        let mut channel = self.account.start(None);
        channel.ready();
        // The platform had no answer: it asks again.
        message(2).post(&mut channel, "w2");
        let again = channel.hear();
        assert_eq!((&again.id, &again.chat.id, again.kind, &again.text), (&lost.id, &lost.chat.id, lost.kind, &lost.text));
        assert_eq!(channel.answer("w2").0, self.taken);
        // Twice at once and out of order: each is told under its own id, and none is answered for another.
        let late = message(3);
        message(4).post(&mut channel, "w4");
        late.post(&mut channel, "w3");
        late.post(&mut channel, "w3 again");
        let ids: Vec<String> = (0..3).map(|_| channel.hear().id).collect();
        for id in ["w4", "w3", "w3 again"] {
            assert_eq!(channel.answer(id).0, self.taken, "{id}");
        }
        let mut told = ids.clone();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 2, "{ids:?}");
        assert_eq!(channel.stop(), Some(0));
    }

    fn outbound(&self) {
        let mut channel = self.account.start(None);
        channel.ready();
        let before = (self.sent)().len();
        channel.deliver("d1", self.chat, self.thread, text_of("one"));
        let (messages, again) = channel.delivered("d1");
        assert!(!again && messages.len() == 1);
        channel.deliver("d1", self.chat, self.thread, text_of("one"));
        assert_eq!(channel.delivered("d1"), (messages.clone(), true));
        channel.kill();
        let mut channel = self.account.start(None);
        channel.deliver("d1", self.chat, self.thread, text_of("one"));
        assert_eq!(channel.delivered("d1"), (messages, true));
        let sent = (self.sent)();
        assert_eq!(sent.len(), before + 1);
        assert!(sent[before].contains("one"), "{sent:?}");
    }

    fn failures(&self) {
        let mut channel = self.account.start(None);
        channel.ready();
        let before = (self.sent)().len();
        (self.fresh)();
        for (n, (fault, expect)) in [
            (Fault::TooOften(7), vec![Failing::Rate]),
            (Fault::Status(503), vec![Failing::Passing]),
            (Fault::Drop, vec![Failing::Passing, Failing::Unknown]),
        ]
        .into_iter()
        .enumerate()
        {
            self.web.fail(self.path, fault);
            let id = format!("f{n}");
            channel.deliver(&id, self.chat, self.thread, text_of("two"));
            let (why, words, after) = channel.failed(&id);
            assert!(expect.contains(&why), "{fault:?}: {why:?} {words}");
            if let Fault::TooOften(seconds) = fault {
                assert_eq!(after, Some(u64::from(seconds) * 1_000));
            }
            channel.deliver(&id, self.chat, self.thread, text_of("two"));
            channel.delivered(&id);
        }
        assert_eq!((self.sent)().len(), before + 3);
        self.web.fail(self.path, Fault::DropAfter);
        channel.deliver("f9", self.chat, self.thread, text_of("three"));
        assert_eq!(channel.failed("f9").0, Failing::Unknown);
        channel.deliver("f9", self.chat, self.thread, text_of("three"));
        channel.delivered("f9");
        self.stands(before + 3, "three", true);
    }

    fn crashes(&self) {
        for (point, doubtful) in [("channel:begun", false), ("channel:took", true), ("channel:noted", false), ("channel:told", false)] {
            let before = (self.sent)().len();
            (self.fresh)();
            let mut channel = self.account.start_and_die(None, Some(point));
            channel.ready();
            channel.deliver(point, self.chat, self.thread, text_of("four"));
            channel.ends();
            let mut channel = self.account.start(None);
            channel.deliver(point, self.chat, self.thread, text_of("four"));
            let (messages, again) = channel.delivered(point);
            assert_eq!(messages.len(), 1);
            assert_eq!(again, matches!(point, "channel:noted" | "channel:told"), "{point}");
            self.stands(before, "four", doubtful);
        }
    }

    /// One message more stands there; or two, the second marked, where the platform cannot help and nobody knew.
    fn stands(&self, before: usize, text: &str, doubtful: bool) {
        let sent = (self.sent)().split_off(before);
        if doubtful && !self.once {
            assert_eq!(sent.len(), 2, "{sent:?}");
            assert!(sent[1].contains("possibly sent twice"), "{sent:?}");
        } else {
            assert_eq!(sent.len(), 1, "{sent:?}");
        }
        assert!(sent[0].contains(text), "{sent:?}");
    }

    /// A credential that is not accepted is said, and nothing is tried with it over and over.
    fn refused(&self) {
        self.account.credential(self.credential, self.wrong);
        let mut channel = self.account.start(None);
        assert!(!channel.health(Health::Credential).is_empty());
        channel.deliver("r1", self.chat, self.thread, text_of("five"));
        assert_eq!(channel.failed("r1").0, Failing::Credential);
    }
}

/// Requests that must be refused: nothing of them is reported.
#[track_caller]
pub(crate) fn refuses(account: &Account, requests: &[(&str, Posted)]) {
    let mut channel = account.start(None);
    channel.ready();
    for (name, posted) in requests {
        let status = posted.status(&mut channel, name);
        assert!((400..500).contains(&status), "{name}: {status}");
    }
    assert!(!channel.rest().iter().any(|line| matches!(line, FromChannel::Report { .. })), "{:?}", channel.rest());
}
