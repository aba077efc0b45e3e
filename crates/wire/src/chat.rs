//! The channel protocol, version 1: what the host and the program of one chat network say to each other.
//!
//! One JSON object per line, at most [`CHAT_LINE_BYTES_MAX`] bytes, on the program's standard input ([`ToChannel`]) and output
//! ([`FromChannel`]). What a channel reports carries a number of its own that begins at 1 with each start; the host answers
//! [`ToChannel::Ack`] when everything up to that number is durable, and keeps the cursor that came with it. Files go through
//! the same pipes in pieces, before the message that names them. Everything a channel says is hostile to the host: it comes
//! from a network.
//!
//! A program says what it needs when it is run as `PROGRAM about NETWORK`: one [`About`] on its standard output. As a channel it is run
//! as `PROGRAM run NETWORK`, in a sandbox of its own. There it finds its credentials as files named by their keys in the directory
//! that `LAZARET_CREDENTIALS` names, may keep files in the directory that `LAZARET_STATE` names (they outlive it), and reaches hosts
//! only through the proxy of `HTTPS_PROXY`, whose authority is among those of `SSL_CERT_FILE`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the channel protocol.
pub const CHAT_VERSION: u32 = 1;
/// The longest line, either way.
pub const CHAT_LINE_BYTES_MAX: usize = 1 << 20;
/// The largest piece of a file, before it is written in base64.
pub const CHAT_PIECE_BYTES_MAX: usize = 256 << 10;
/// The largest file, either way.
pub const CHAT_FILE_BYTES_MAX: u64 = 50 << 20;
/// The longest text of one message; what a platform allows less is split by the host.
pub const CHAT_TEXT_BYTES_MAX: usize = 256 << 10;
/// Reports that a channel may have outstanding; then it waits for an acknowledgement.
pub const CHAT_REPORTS_MAX: usize = 256;

/// What the program of a network needs, as it says itself before it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The name of the network.
    pub network: String,
    /// In one sentence, for a person.
    #[serde(default)]
    pub description: String,
    /// The hosts of the platform, as rules of the egress list: exact names (`api.example.org`, `api.example.org:8443`). Those of a configured
    /// `base_url` and of `hosts` are granted besides.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Further keys of the configuration whose values are addresses (`https://HOST/...` or `HOST:PORT`): their hosts are granted as that of
    /// `base_url` is.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The credentials that it reads.
    #[serde(default)]
    pub credentials: Vec<Credential>,
    /// Whether requests of the platform may come in.
    #[serde(default)]
    pub webhooks: bool,
}

/// A credential of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The name of its file: small letters, digits, `-` and `_`.
    pub key: String,
    /// What it is, for a person.
    #[serde(default)]
    pub description: String,
    /// Whether the channel is of no use without it.
    #[serde(default)]
    pub required: bool,
}

/// From the host to a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToChannel {
    /// First, and once.
    Start {
        /// [`CHAT_VERSION`].
        v: u32,
        /// The name of the account.
        account: String,
        /// What the owner configured for it. Credentials are not here: they are files.
        config: Map<String, Value>,
        /// What came with the last report that the host acknowledged.
        cursor: Option<String>,
    },
    /// Everything up to this report is durable.
    Ack {
        /// The report's number.
        seq: u64,
    },
    /// Have an effect. The same `id` may come again after a restart: it is then answered from the channel's note if it had its effect.
    Deliver(Delivery),
    /// A request that came for this account, as it came. Its signature was not looked at.
    Webhook {
        /// Names it in [`FromChannel::WebhookAnswer`].
        id: String,
        /// `GET` or `POST`.
        method: String,
        /// What stands behind the account's own path, with the query.
        path: String,
        /// Names in lower case, in the order they came.
        headers: Vec<(String, String)>,
        /// The body, in base64.
        body: String,
    },
    /// Find the direct chat with somebody.
    OpenDm {
        /// Names it in the answer.
        id: String,
        /// The platform's id of the person.
        handle: String,
    },
    /// Bring a file that a message named.
    Fetch {
        /// The file's id, from [`Attachment::id`].
        id: String,
        /// No more than this.
        max: u64,
    },
    /// A piece of a file that the next delivery names.
    Piece(Piece),
    /// Show that somebody writes, or no longer.
    Typing {
        /// Where.
        to: Address,
        /// Whether it goes on.
        on: bool,
    },
    /// End, after what is under way.
    Stop,
}

/// From a channel to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromChannel {
    /// It is connected and its credential was accepted.
    Ready {
        /// [`CHAT_VERSION`].
        v: u32,
        /// Who it is on the network.
        me: Who,
        /// What the network can do.
        abilities: Box<Abilities>,
    },
    /// Something happened. Reported again until it is acknowledged.
    Report {
        /// One more than the last.
        seq: u64,
        /// Where to go on after this one.
        #[serde(default)]
        cursor: Option<String>,
        /// What happened.
        event: Box<Heard>,
    },
    /// The platform took a delivery.
    Delivered {
        /// The delivery's.
        id: String,
        /// The platform's ids of the messages it became, in order. Never empty for what makes a message.
        messages: Vec<String>,
        /// Whether it was answered from the note of an earlier time.
        #[serde(default)]
        again: bool,
    },
    /// The platform did not take a delivery.
    Failed {
        /// The delivery's.
        id: String,
        /// Whether it is worth another try.
        why: Failing,
        /// What is known, for a person.
        message: String,
        /// When to try again at the earliest, in milliseconds from now.
        #[serde(default)]
        after_ms: Option<u64>,
    },
    /// The answer to a webhook. What it caused was acknowledged before.
    WebhookAnswer {
        /// The request's.
        id: String,
        /// An HTTP status.
        status: u16,
        /// Headers of the answer.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, in base64.
        #[serde(default)]
        body: String,
    },
    /// The direct chat that was asked for, or why there is none.
    Dm {
        /// The request's.
        id: String,
        /// The chat.
        #[serde(default)]
        chat: Option<Chat>,
        /// Why not.
        #[serde(default)]
        error: Option<String>,
    },
    /// A piece of a file that was asked for.
    Piece(Piece),
    /// A file that was asked for cannot be had.
    NoFile {
        /// The file's.
        id: String,
        /// Why.
        message: String,
    },
    /// How it is, whenever that changes.
    Health {
        /// In one word.
        state: Health,
        /// For a person.
        #[serde(default)]
        message: String,
    },
    /// A line for the log.
    Log {
        /// No credential.
        message: String,
    },
}

/// Somebody, in the platform's own verified words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// The platform's id; never a display name.
    pub id: String,
    /// What they call themselves: for showing only.
    #[serde(default)]
    pub name: String,
    /// Whether the platform says that it is a program.
    #[serde(default)]
    pub bot: bool,
}

/// A conversation on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// The platform's id.
    pub id: String,
    /// For showing only.
    #[serde(default)]
    pub name: String,
    /// Whether others than one person can be in it.
    pub group: bool,
}

/// Where something goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread in it.
    #[serde(default)]
    pub thread: Option<String>,
}

/// What happened on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// What it is.
    pub kind: HeardKind,
    /// The platform's id of the message, or of the event where it has one of its own. With the chat and the kind it is unique.
    pub id: String,
    /// Where.
    pub chat: Chat,
    /// The thread, where the network has them.
    #[serde(default)]
    pub thread: Option<String>,
    /// Who, as the platform verified it.
    pub sender: Who,
    /// The text.
    #[serde(default)]
    pub text: String,
    /// Whether the platform says that the account was spoken to: a mention, or a direct chat.
    #[serde(default)]
    pub mention: bool,
    /// The message that it answers, quotes or forwards: never taken for words of the sender's own.
    #[serde(default)]
    pub quoted: Option<Quoted>,
    /// The message that was edited, reacted to, or whose button was pressed.
    #[serde(default)]
    pub about: Option<String>,
    /// The value of the button, or the reaction.
    #[serde(default)]
    pub value: Option<String>,
    /// Files that came along.
    #[serde(default)]
    pub files: Vec<Attachment>,
    /// When, in milliseconds of the Unix epoch, as the platform says.
    pub at_ms: i64,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeardKind {
    /// A message.
    Message,
    /// A message has another text now.
    Edit,
    /// A reaction was given.
    Reaction,
    /// A button was pressed; `value` is its value.
    Button,
    /// The account was brought into a chat.
    Joined,
    /// The account was taken out of a chat.
    Left,
}

/// Another message that this one shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quoted {
    /// The platform's id, where it is known.
    #[serde(default)]
    pub id: Option<String>,
    /// Who wrote it.
    #[serde(default)]
    pub sender: Option<Who>,
    /// Its text.
    #[serde(default)]
    pub text: String,
    /// Whether it was forwarded: then the whole text is somebody else's.
    #[serde(default)]
    pub forwarded: bool,
}

/// A file that a message carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// What [`ToChannel::Fetch`] asks for.
    pub id: String,
    /// The name it has there: hostile.
    #[serde(default)]
    pub name: String,
    /// What the platform says it is.
    #[serde(default)]
    pub mime: String,
    /// What the platform says it has, in bytes.
    #[serde(default)]
    pub size: Option<u64>,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// The file's.
    pub id: String,
    /// In base64, at most [`CHAT_PIECE_BYTES_MAX`] bytes.
    pub data: String,
    /// Whether it is the last.
    pub last: bool,
}

/// An effect to have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The same for each try: use it as the platform's idempotency key.
    pub id: String,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// Where.
    pub to: Address,
    /// What.
    pub act: Act,
}

/// What to do on a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Write a message, no longer than the network takes.
    Send {
        /// Markdown; the channel turns it into the network's own form.
        text: String,
        /// Files whose pieces came before.
        #[serde(default)]
        files: Vec<Attachment>,
        /// The message that it answers.
        #[serde(default)]
        reply_to: Option<String>,
        /// Buttons below it, where the network has them; else the text says how to answer.
        #[serde(default)]
        buttons: Vec<Button>,
    },
    /// Give a message of the account's another text, and other buttons.
    Edit {
        /// The platform's id.
        message: String,
        /// The whole new text.
        text: String,
        /// What buttons it has then.
        #[serde(default)]
        buttons: Vec<Button>,
    },
    /// React to a message.
    React {
        /// The platform's id.
        message: String,
        /// An emoji.
        emoji: String,
    },
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What comes back in [`Heard::value`]: at most 60 bytes.
    pub value: String,
}

/// What a network can do. What is not said it cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abilities {
    /// Characters of one message.
    pub text_max: u32,
    /// Bytes of one file; 0 for none.
    #[serde(default)]
    pub file_max: u64,
    /// Whether groups have threads.
    #[serde(default)]
    pub threads: bool,
    /// Whether own messages can be edited.
    #[serde(default)]
    pub edit: bool,
    /// Whether messages can be reacted to.
    #[serde(default)]
    pub react: bool,
    /// Whether messages have buttons.
    #[serde(default)]
    pub buttons: bool,
    /// Whether it shows that somebody writes.
    #[serde(default)]
    pub typing: bool,
    /// Whether a person can be written to first.
    #[serde(default)]
    pub open_dm: bool,
    /// Whether the platform takes an idempotency key.
    #[serde(default)]
    pub idempotent: bool,
    /// Messages per minute of one chat.
    pub per_minute: u32,
}

/// Whether a failed delivery is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failing {
    /// The network was asked too often.
    Rate,
    /// It may pass: no connection, 5xx.
    Passing,
    /// Nobody knows whether it had its effect.
    Unknown,
    /// It will never work: no such chat, forbidden, too large.
    Final,
    /// The credential is not accepted.
    Credential,
}

/// How a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Connected.
    Well,
    /// Trying to connect.
    Connecting,
    /// The credential is not accepted; a person must act.
    Credential,
    /// What the owner configured cannot be used; a person must act. The message names the key.
    Configuration,
}
