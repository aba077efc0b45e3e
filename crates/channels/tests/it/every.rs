//! The program of every network is killed at each labelled point between its platform and the host's acknowledgement, both ways: what was
//! said is told until the host has it and is known by its id where it is told again, and what is sent stands there once.

use std::collections::BTreeSet;

use testkit::platforms::bluebubbles::BlueBubbles;
use testkit::platforms::bridge::{Bridge, Linked};
use testkit::platforms::courier::Courier;
use testkit::platforms::github::GitHub;
use testkit::platforms::googlechat::GoogleChat;
use testkit::platforms::linear::Linear;
use testkit::platforms::mailbox::Mailbox;
use testkit::platforms::resend::Resend;
use testkit::platforms::signal::Signal;
use testkit::platforms::signed::Posted;
use testkit::platforms::teams::Teams;
use testkit::platforms::webex::Webex;
use testkit::platforms::wechat::WeChat;
use testkit::platforms::whatsapp::WhatsApp;
use testkit::platforms::{Account, Channel, Discord, Party, Room, Slack, Telegram, text_of};
use wire::chat::{FromChannel, Heard, ToChannel};

use crate::contract::PROGRAM;

macro_rules! networks {
    ($($test:ident: $party:expr;)*) => {
        $(#[test] fn $test() { outlives_kills(&$party); })*
    };
}

networks! {
    telegram: Telegram::start();
    discord: Discord::start();
    slack: Slack::start();
    matrix: Room::start();
    a_program: Courier::start();
    mail: Mailbox::start();
    whatsapp: WhatsApp::start(&[]);
    teams: Teams::start();
    google_chat: GoogleChat::start();
    webex: Webex::start();
    github: GitHub::start();
    linear: Linear::start();
    resend: Resend::start();
    signal: Signal::start();
    imessage: BlueBubbles::start();
    wechat: WeChat::start();
    a_bridge_with_keys: Linked("whatsapp-bridge", Bridge::start(true));
    a_bridge_without_keys: Linked("wechat-bridge", Bridge::start(false));
}

/// Points on the way of what somebody said: before the host was told, and after it has it for good and before the platform knows that.
const INWARD: [&str; 2] = ["channel:reporting", "channel:acked"];
/// Points on the way of what is sent.
const OUTWARD: [&str; 4] = ["channel:begun", "channel:took", "channel:noted", "channel:told"];
/// What a text begins with that may be there twice.
const DOUBTED: &str = "(possibly sent twice)";

/// How often a process is started that is to die over what is said next, and dies over something that is told once more.
const STARTS_MAX: usize = 20;

/// An account whose host remembers what the channel said last.
struct Scene<'a> {
    party: &'a dyn Party,
    account: Account,
    cursor: Option<String>,
    /// How many things were sent that are of no weight.
    sent: usize,
}

/// What comes of somebody who speaks.
enum Next {
    Heard(Box<Heard>),
    /// The answer to a request of this name, and its status.
    Answered(String, u16),
}

fn outlives_kills(party: &dyn Party) {
    let credentials = party.credentials();
    let credentials: Vec<(&str, &str)> = credentials.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let account = Account::new(PROGRAM, party.network(), &party.config(), &credentials);
    let mut scene = Scene { party, account, cursor: None, sent: 0 };
    let mut channel = scene.started();
    let place = scene.says(&mut channel, "the first of all");
    assert_eq!(channel.stop(), Some(0), "{}", party.network());
    for point in INWARD {
        scene.tells_until_it_is_kept(&place, point);
    }
    for point in OUTWARD {
        scene.sends_once(&place, point);
    }
}

impl Scene<'_> {
    fn started(&self) -> Channel {
        let mut channel = self.account.start(self.cursor.as_deref());
        let _ = channel.ready();
        channel
    }

    /// A process that dies over what is said next. What the platform does not know to be heard is told once more, and may be what it dies
    /// over: then that is heard first.
    fn dying(&mut self, place: &Heard, point: &str) -> Channel {
        for _ in 0..STARTS_MAX {
            let mut channel = self.account.start_and_die(self.cursor.as_deref(), Some(point));
            if channel.is_ready() {
                return channel;
            }
            self.settle(place);
        }
        panic!("{}: {point}: it dies over something else each time", self.party.network());
    }

    /// Hears all that there is, and lets the platform or the journal know it.
    fn settle(&mut self, place: &Heard) {
        let mut channel = self.started();
        self.says(&mut channel, "heard before");
        // What is said after the acknowledgements is done after them.
        self.sent += 1;
        let id = format!("settled {}", self.sent);
        channel.deliver(&id, &place.chat.id, place.thread.as_deref(), text_of(&id));
        channel.delivered(&id);
        assert_eq!(channel.stop(), Some(0), "{}", self.party.network());
    }

    /// The next report, acknowledged: the host has it, and the cursor with it.
    fn hear(&mut self, channel: &mut Channel) -> Heard {
        let (seq, cursor, heard) = channel.report();
        self.acknowledge(channel, seq, cursor);
        heard
    }

    fn acknowledge(&mut self, channel: &mut Channel, seq: u64, cursor: Option<String>) {
        self.cursor = cursor.or_else(|| self.cursor.take());
        channel.say(&ToChannel::Ack { seq });
    }

    /// The next report, acknowledged, or the next answer to a request.
    fn next(&mut self, channel: &mut Channel) -> Next {
        let said = channel.expect("a report or an answer", |line| match line {
            FromChannel::Report { seq, cursor, event } => Some((Next::Heard(event.clone()), Some((*seq, cursor.clone())))),
            FromChannel::WebhookAnswer { id, status, .. } => Some((Next::Answered(id.clone(), *status), None)),
            _ => None,
        });
        if let (_, Some((seq, cursor))) = &said {
            self.acknowledge(channel, *seq, cursor.clone());
        }
        said.0
    }

    /// Somebody says something that is heard and acknowledged.
    fn says(&mut self, channel: &mut Channel, text: &str) -> Heard {
        let posted = self.party.writes(text);
        post(channel, posted.as_ref(), "said");
        loop {
            let heard = self.hear(channel);
            if heard.text.contains(text) {
                answered(channel, posted.as_ref(), "said");
                return heard;
            }
        }
    }

    /// What is said before a kill is told to the host, and under one id however often it is told.
    fn tells_until_it_is_kept(&mut self, place: &Heard, point: &str) {
        let network = self.party.network();
        if !self.party.keeps() {
            // What a kill meets on its way to the journal is lost there: nothing else is to be what the process dies over.
            self.settle(place);
        }
        let mut channel = self.dying(place, point);
        let (said, marker) = (format!("said at {point}"), format!("said after {point}"));
        let posted = self.party.writes(&said);
        post(&mut channel, posted.as_ref(), "first");
        let mut ids = BTreeSet::new();
        if point == "channel:acked" {
            // It may be what was said before, told once more.
            let heard = self.hear(&mut channel);
            ids.extend(heard.text.contains(&said).then_some(heard.id));
        }
        assert_eq!(channel.ends(), None, "{network}: {point}");
        let mut channel = self.started();
        // A platform that had no answer asks again.
        post(&mut channel, posted.as_ref(), "again");
        let after = self.party.writes(&marker);
        post(&mut channel, after.as_ref(), "after");
        let mut open: BTreeSet<&str> =
            [("again", &posted), ("after", &after)].into_iter().filter_map(|(id, of)| of.as_ref().map(|_| id)).collect();
        let mut is_after = false;
        // Both are worked on at once: nobody says which is told first, and each is answered when what it told is acknowledged.
        while !is_after || ids.is_empty() || !open.is_empty() {
            match self.next(&mut channel) {
                Next::Heard(heard) => {
                    is_after |= heard.text.contains(&marker);
                    ids.extend(heard.text.contains(&said).then_some(heard.id));
                }
                Next::Answered(id, status) => {
                    assert!((200..300).contains(&status), "{network}: {point}: {id}: {status}");
                    open.remove(id.as_str());
                }
            }
        }
        assert_eq!(ids.len(), 1, "{network}: {point}: {ids:?}");
        assert_eq!(channel.stop(), Some(0), "{network}: {point}");
    }

    /// What a kill meets on its way out stands there once; where nobody can know, a second time and marked so.
    fn sends_once(&mut self, place: &Heard, point: &str) {
        let network = self.party.network();
        let mut channel = self.started();
        // Some platforms take an answer only where somebody wrote before.
        self.says(&mut channel, &format!("before {point}"));
        assert_eq!(channel.stop(), Some(0), "{network}: {point}");
        let text = format!("sent at {point}");
        let deliver = |channel: &mut Channel| channel.deliver(point, &place.chat.id, place.thread.as_deref(), text_of(&text));
        let mut channel = self.dying(place, point);
        deliver(&mut channel);
        assert_eq!(channel.ends(), None, "{network}: {point}");
        let mut channel = self.started();
        deliver(&mut channel);
        let (messages, again) = channel.delivered(point);
        assert_eq!((messages.len(), again), (1, matches!(point, "channel:noted" | "channel:told")), "{network}: {point}");
        assert_eq!(channel.stop(), Some(0), "{network}: {point}");
        let standing = self.party.standing().into_iter().map(|stands| stands.text);
        let (doubted, plain): (Vec<String>, Vec<String>) =
            standing.filter(|shown| shown.contains(&text)).partition(|t| t.contains(DOUBTED));
        let doubtful = matches!(point, "channel:begun" | "channel:took");
        assert!(plain.len() <= 1 && doubted.len() <= usize::from(doubtful), "{network}: {point}: {plain:?} {doubted:?}");
        assert!(!plain.is_empty() || point == "channel:begun" && doubted.len() == 1, "{network}: {point}: {plain:?} {doubted:?}");
    }
}

fn post(channel: &mut Channel, posted: Option<&Posted>, id: &str) {
    if let Some(posted) = posted {
        posted.post(channel, id);
    }
}

/// A request that was taken is answered so; what was told twice may be known.
#[track_caller]
fn answered(channel: &mut Channel, posted: Option<&Posted>, id: &str) {
    if posted.is_some() {
        let (status, _) = channel.answer(id);
        assert!((200..300).contains(&status), "{id}: {status}");
    }
}
