//! What the networks that ship need, step by step, for people who connect their first one.

use serde::Serialize;

/// Something that a person gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct NetworkField {
    /// What the account calls it.
    pub key: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Whether the account is of no use without it.
    pub required: bool,
    /// Whether it is a credential: asked for without echo, never shown again.
    pub secret: bool,
}

/// A network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct NetworkGuide {
    /// Its name here.
    pub network: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// What to do there, in order.
    pub steps: &'static [&'static str],
    /// What to give then.
    pub fields: &'static [NetworkField],
    /// Whether its platform must reach this machine over HTTPS.
    pub reached: bool,
    /// Where the first message is written.
    pub hello: &'static str,
}

const fn secret(key: &'static str, what: &'static str) -> NetworkField {
    NetworkField { key, what, required: true, secret: true }
}

const fn setting(key: &'static str, what: &'static str) -> NetworkField {
    NetworkField { key, what, required: true, secret: false }
}

const fn more(key: &'static str, what: &'static str) -> NetworkField {
    NetworkField { key, what, required: false, secret: false }
}

/// Every network that ships; those first that need no address of this machine.
pub const NETWORKS: &[NetworkGuide] = &[
    NetworkGuide {
        network: "telegram",
        title: "Telegram",
        steps: &[
            "Open a chat with @BotFather in Telegram and send /newbot.",
            "Choose a name and a user name; BotFather answers with a token.",
            "For groups: /setprivacy, your bot, Disable. Then it hears what is not addressed to it.",
        ],
        fields: &[secret("token", "the bot's token, NUMBER:LETTERS")],
        reached: false,
        hello: "Write to your bot in Telegram, or add it to a group.",
    },
    NetworkGuide {
        network: "discord",
        title: "Discord",
        steps: &[
            "At discord.com/developers/applications make an application, then a bot in it.",
            "Switch its Message Content Intent on and copy the bot's token.",
            "Under OAuth2 make an invitation with the scope `bot` and the rights to read, send and react, and open it to add the bot to your server.",
        ],
        fields: &[secret("token", "the bot's token")],
        reached: false,
        hello: "Mention the bot in a channel of your server, or write to it directly.",
    },
    NetworkGuide {
        network: "slack",
        title: "Slack",
        steps: &[
            "At api.slack.com/apps make an app from scratch and switch Socket Mode on: it gives the token that begins with xapp-.",
            "Under OAuth & Permissions add chat:write, reactions:write, files:read, files:write, im:write and the *:history scopes.",
            "Under Event Subscriptions subscribe to message.channels, message.im, message.groups and reaction_added; switch Interactivity on.",
            "Install the app; the bot's token begins with xoxb-.",
        ],
        fields: &[secret("token", "the bot's token, xoxb-"), secret("app_token", "the app's token, xapp-")],
        reached: false,
        hello: "Invite the app to a channel (/invite @NAME) or write to it directly.",
    },
    NetworkGuide {
        network: "matrix",
        title: "Matrix",
        steps: &["Make a user for the agent on your homeserver.", "Log in as it once and copy its access token (Settings, Help & About)."],
        fields: &[setting("base_url", "the homeserver, https://matrix.example.org"), secret("token", "the user's access token")],
        reached: false,
        hello: "Invite the user to a room that is not encrypted.",
    },
    NetworkGuide {
        network: "email",
        title: "Mail (IMAP and SMTP)",
        steps: &[
            "Make a mailbox for the agent, best with a password for this program alone.",
            "Look into a mail that it received: the first word of the topmost Authentication-Results is what vouches.",
        ],
        fields: &[
            setting("address", "the mailbox, agent@example.org"),
            setting("imap", "HOST:PORT of IMAP, imap.example.org:993"),
            setting("smtp", "HOST:PORT of SMTP, smtp.example.org:465"),
            setting("vouches", "the server whose Authentication-Results count"),
            setting("allow", "who may write: addresses or @domain, as a JSON list"),
            secret("password", "the mailbox's password"),
        ],
        reached: false,
        hello: "Write a mail to the address.",
    },
    NetworkGuide {
        network: "signal",
        title: "Signal (signal-cli)",
        steps: &["Install signal-cli, and register or link a number with it.", "Run: signal-cli daemon --tcp --receive-mode=manual"],
        fields: &[setting("account", "the number, +1..."), setting("base_url", "where the daemon listens, tcp://127.0.0.1:7583")],
        reached: false,
        hello: "Write to the number in Signal.",
    },
    NetworkGuide {
        network: "imessage",
        title: "iMessage (BlueBubbles)",
        steps: &["Run a BlueBubbles server on a Mac and set its password."],
        fields: &[setting("base_url", "the server's address"), secret("password", "the server's password")],
        reached: false,
        hello: "Write to the Mac's account in Messages.",
    },
    NetworkGuide {
        network: "whatsapp",
        title: "WhatsApp (Meta's Cloud API)",
        steps: &[
            "At developers.facebook.com make an app of type Business and add the product WhatsApp.",
            "Copy the phone number's id, a lasting access token, and the app's secret.",
            "Choose a word of your own as the verify token; enter it with the account's address as webhook, and subscribe to `messages`.",
        ],
        fields: &[
            setting("phone_number_id", "the phone number's id"),
            secret("access_token", "the access token"),
            secret("app_secret", "the app's secret"),
            secret("verify_token", "the word that you chose"),
        ],
        reached: true,
        hello: "Write to the number in WhatsApp.",
    },
    NetworkGuide {
        network: "teams",
        title: "Microsoft Teams",
        steps: &[
            "Make an Azure Bot of a single tenant and a client secret for its app.",
            "Enter the account's address as messaging endpoint and add the channel Microsoft Teams.",
        ],
        fields: &[setting("app_id", "the app's id"), setting("tenant", "the tenant's id"), secret("app_password", "the client secret")],
        reached: true,
        hello: "Open the bot in Teams and write to it.",
    },
    NetworkGuide {
        network: "googlechat",
        title: "Google Chat",
        steps: &[
            "In a Google Cloud project switch the Chat API on and make a service account with a JSON key.",
            "Configure the Chat app with an HTTP endpoint: the account's address.",
        ],
        fields: &[
            setting("audience", "the project's number, or the endpoint's address"),
            secret("service_account", "the key file, as JSON"),
        ],
        reached: true,
        hello: "Find the app in Google Chat and write to it.",
    },
    NetworkGuide {
        network: "webex",
        title: "Webex",
        steps: &[
            "At developer.webex.com make a bot and copy its token.",
            "Make webhooks to the account's address for messages, attachmentActions and memberships, all with one secret.",
        ],
        fields: &[secret("token", "the bot's token"), secret("webhook_secret", "the webhooks' secret")],
        reached: true,
        hello: "Write to the bot in Webex.",
    },
    NetworkGuide {
        network: "github",
        title: "GitHub",
        steps: &[
            "Make a user for the agent, and a token of it with the repositories that it may see.",
            "In each repository make a webhook (JSON) to the account's address for issues, pull requests and their comments.",
        ],
        fields: &[
            setting("login", "the user's name"),
            more("repositories", "the only ones that are heard, as a JSON list"),
            secret("token", "the user's token"),
            secret("webhook_secret", "the webhook's secret"),
        ],
        reached: true,
        hello: "Mention the user in an issue.",
    },
    NetworkGuide {
        network: "linear",
        title: "Linear",
        steps: &["Make an API key for the agent.", "Make a webhook to the account's address for comments, issues and reactions."],
        fields: &[setting("team", "the team's key"), secret("api_key", "the key"), secret("webhook_secret", "the webhook's secret")],
        reached: true,
        hello: "Comment on an issue of the team.",
    },
    NetworkGuide {
        network: "resend",
        title: "Mail (Resend)",
        steps: &[
            "Add a receiving domain and make an API key with full access.",
            "Make a webhook to the account's address for email.received.",
        ],
        fields: &[
            setting("from", "the address that answers come from"),
            setting("authserv", "the server whose Authentication-Results count"),
            setting("allow", "who may write, as a JSON list"),
            secret("api_key", "the key"),
            secret("webhook_secret", "the webhook's secret"),
        ],
        reached: true,
        hello: "Write a mail to the address.",
    },
    NetworkGuide {
        network: "wechat",
        title: "WeChat (official account)",
        steps: &[
            "In the account's settings put this machine's address on the list of addresses.",
            "Configure the server in the encrypted mode with the account's address, a token and a key of your choice.",
        ],
        fields: &[
            setting("app_id", "the account's id"),
            secret("app_secret", "its secret"),
            secret("token", "the token that you chose"),
            secret("encoding_key", "the key of the encrypted mode"),
        ],
        reached: true,
        hello: "Follow the account and write to it.",
    },
    NetworkGuide {
        network: "whatsapp-bridge",
        title: "WhatsApp (a linked device, by a bridge)",
        steps: &["Run a bridge that speaks the bridge protocol (docs/guide/channel-bridge.md) and link it with your phone."],
        fields: &[setting("base_url", "the bridge's address"), secret("token", "the bridge's token")],
        reached: false,
        hello: "Write to yourself, or let somebody write to you.",
    },
    NetworkGuide {
        network: "wechat-bridge",
        title: "WeChat (by a bridge)",
        steps: &["Run a bridge that speaks the bridge protocol (docs/guide/channel-bridge.md)."],
        fields: &[setting("base_url", "the bridge's address"), secret("token", "the bridge's token")],
        reached: false,
        hello: "Write to the account.",
    },
    NetworkGuide {
        network: "webhook",
        title: "A program of your own",
        steps: &["Choose a secret of at least 16 bytes; requests both ways are signed with it (docs/cookbook)."],
        fields: &[setting("base_url", "where answers are sent"), secret("secret", "the secret")],
        reached: false,
        hello: "Post a signed request to the account's address.",
    },
];

/// What the network of this name needs.
#[must_use]
pub fn network_guide(network: &str) -> Option<&'static NetworkGuide> {
    NETWORKS.iter().find(|guide| guide.network == network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_stands_once_and_says_what_to_do() {
        for guide in NETWORKS {
            assert_eq!(NETWORKS.iter().filter(|other| other.network == guide.network).count(), 1, "{}", guide.network);
            assert!(model::is_name(guide.network), "{}", guide.network);
            assert!(!guide.steps.is_empty() && !guide.fields.is_empty() && !guide.hello.is_empty(), "{}", guide.network);
            assert!(guide.fields.iter().all(|field| !field.what.is_empty()), "{}", guide.network);
        }
        assert!(network_guide("telegram").is_some() && network_guide("carrier-pigeon").is_none());
    }
}
