//! Chat networks that this daemon itself is: the page of whoever is logged in, and the terminal of whoever has the owner's socket.
//!
//! What is said there goes the way of every other message: noted once, routed, made a turn; what is owed goes through the outbox. Only
//! the account's program is missing: `desk.rs` settles what is owed at once, since the store is where both read it (`view.rs`).

mod desk;
mod forms;
mod hub;
mod of;
mod view;

pub use forms::{
    WebChat, WebEditForm, WebFile, WebMessage, WebMessageForm, WebMessageQuery, WebMessages, WebPlaceQuery, WebPressForm, WebSaid,
};
pub(crate) use hub::Hub;
pub use of::{Speaker, WebOf};

use crate::OWN_TENANT;

/// Where somebody speaks with this daemon itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The page: one conversation with each agent.
    Page,
    /// The terminal: one with each agent, and further ones by name.
    Terminal,
}

impl Ground {
    /// All of them.
    const ALL: [Self; 2] = [Self::Page, Self::Terminal];

    /// The network, and the account of the owner's tenant.
    #[must_use]
    pub fn network(self) -> &'static str {
        match self {
            Self::Page => "web",
            Self::Terminal => "terminal",
        }
    }

    /// The account of a tenant. None that somebody adds has such a name: names have no colon.
    pub(crate) fn channel(self, tenant: &str) -> String {
        if tenant == OWN_TENANT { self.network().to_owned() } else { format!("{}:{tenant}", self.network()) }
    }

    /// The ground that an account is of, if this daemon itself is its network.
    pub(crate) fn of(channel: &str) -> Option<Self> {
        let is_of = |ground: &Self| channel.strip_prefix(ground.network()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
        Self::ALL.into_iter().find(is_of)
    }
}

/// Whether this daemon itself is the network of an account.
pub(crate) fn is_own(channel: &str) -> bool {
    Ground::of(channel).is_some()
}

/// The person whose conversation a chat is: they are named before the dot, the agent behind it.
pub(crate) fn whose(chat: &str) -> &str {
    chat.split_once('.').map_or(chat, |(who, _)| who)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_account_that_somebody_adds_is_taken_for_one_of_the_daemon() {
        for (name, expect) in [
            ("web", Some(Ground::Page)),
            ("web:crew", Some(Ground::Page)),
            ("terminal", Some(Ground::Terminal)),
            ("terminal:web", Some(Ground::Terminal)),
            ("web-crew", None),
            ("webex", None),
            ("my-web", None),
            ("terminals", None),
            ("", None),
        ] {
            assert_eq!(Ground::of(name), expect, "{name}");
        }
        for ground in Ground::ALL {
            assert!(!model::is_name(&ground.channel("crew")), "nobody can add an account of this name");
            assert_eq!((ground.channel("default").as_str(), Ground::of(&ground.channel("crew"))), (ground.network(), Some(ground)));
        }
        for chat in ["usr_1.andy", "usr_1.andy.side", "usr_1"] {
            assert_eq!(whose(chat), "usr_1");
        }
    }
}
