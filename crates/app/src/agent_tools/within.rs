//! What every call needs: its turn, whoever asked, where a name leads, and the cause under which its effects happen once.

use broker::Standing;
use model::{Code, Failure, SessionId, TurnId};
use sha2::{Digest as _, Sha256};
use store::{AskerRow, InboundRow};

use super::{Doing, wrong};
use crate::Caller;
use crate::delivery::Target;

/// The name of the chat that a turn was asked in.
pub(super) const HERE: &str = "here";
/// Messages that one turn may send, edit or react with by tools.
const SAID_MAX: u64 = 30;
/// Bytes of the hash that tells calls apart.
const HASH_BYTES: usize = 16;

/// Where a name leads.
pub(super) enum Place {
    /// A chat.
    Chat(Target),
    /// Another agent.
    Agent(String),
}

impl Doing {
    pub(super) fn session(&self) -> Result<&SessionId, Failure> {
        self.caller.session.as_ref().ok_or_else(|| wrong("this is called within a turn only"))
    }

    pub(super) fn turn(&self) -> Result<&TurnId, Failure> {
        self.caller.turn.as_ref().ok_or_else(|| wrong("this is called within a turn only"))
    }

    /// What an effect of this call is owed for: the same however often the call comes.
    pub(super) fn cause(&self) -> String {
        let key = self.caller.session.as_ref().map_or("", SessionId::as_str);
        let mut hasher = Sha256::new();
        for part in [key, self.tool, &self.correlation, &self.arguments.to_string()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let hash: String = hasher.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        format!("tool:{hash}")
    }

    /// Whoever asked for the turn; `None` where no chat did.
    pub(super) async fn asker(&self) -> Result<Option<AskerRow>, Failure> {
        self.app.store().asker(self.turn()?).await.map_err(|e| e.failure())
    }

    /// Whether whoever asked answers for the agent; the owner at the command line does.
    pub(super) fn is_admin(&self) -> bool {
        self.caller.asker.as_ref().is_none_or(|asker| asker.standing == Standing::Admin)
    }

    /// The agent's tenant, as the use cases want it.
    pub(super) fn tenant(&self) -> Caller {
        Caller { tenant: Some(self.caller.tenant.clone()) }
    }

    /// A text without the credentials that are known or look like one.
    pub(super) fn cleaned(&self, text: &str) -> String {
        self.app.broker().sanitizer().text(text).unwrap_or_else(|| text.to_owned())
    }

    /// Refuses a turn that has said enough.
    pub(super) async fn must_have_room(&self) -> Result<(), Failure> {
        let said = self.app.store().said_in_turn(self.turn()?).await.map_err(|e| e.failure())?;
        if said >= SAID_MAX && self.app.store().out_of(&self.cause()).await.map_err(|e| e.failure())?.is_none() {
            return Err(Failure::new(Code::RateLimited, format!("this turn has sent {SAID_MAX} messages; no more are sent in one turn")));
        }
        Ok(())
    }

    /// Where a name leads: one of the agent's destinations, or the chat that the turn was asked in.
    pub(super) async fn place(&self, name: Option<&str>) -> Result<Place, Failure> {
        let name = name.unwrap_or(HERE);
        let from = Some((self.session()?.clone(), self.turn()?.clone()));
        if name == HERE {
            let mail = self.app.store().mail_of(self.turn()?).await.map_err(|e| e.failure())?;
            if mail.is_some_and(|mail| mail.from.is_some()) {
                return Err(wrong("another agent asks here: your answer goes to it by itself").hint("or name a destination"));
            }
            let asker = self.asker().await?.ok_or_else(|| {
                wrong("this turn was asked in no chat").hint("name a destination; list_destinations tells which there are")
            })?;
            return Ok(Place::Chat(Target {
                channel: asker.channel,
                chat: asker.chat,
                thread: asker.thread,
                cause: self.cause(),
                agent: Some(self.caller.agent.clone()),
                session: Some(self.session()?.clone()),
                turn: Some(self.turn()?.clone()),
            }));
        }
        let known = self.app.store().destinations(&self.caller.tenant, &self.caller.agent).await.map_err(|e| e.failure())?;
        if let Some(target) = known.iter().find(|row| row.name == name).and_then(|row| row.target.clone()) {
            return Ok(Place::Agent(target));
        }
        let delivery = self.app.delivery();
        delivery.target(&self.caller.tenant, &self.caller.agent, name, self.cause(), from).await.map(Place::Chat)
    }

    /// The same where it must be a chat.
    pub(super) async fn chat(&self, name: Option<&str>) -> Result<Target, Failure> {
        match self.place(name).await? {
            Place::Chat(target) => Ok(target),
            Place::Agent(_) => Err(wrong("this is sent to a chat, not to an agent").hint("send_message speaks to agents")),
        }
    }

    /// A message that this session was told of.
    pub(super) async fn heard(&self, id: &str) -> Result<InboundRow, Failure> {
        let missing = || Failure::new(Code::NotFound, "no message of this conversation has this id");
        let id = id.parse().map_err(|_| missing())?;
        let store = self.app.store();
        let session = Some(self.session()?);
        let routed = store.routed(&id).await.map_err(|e| e.failure())?;
        let mut is_ours = routed.iter().any(|row| row.session.as_ref() == session);
        for turn in routed.iter().filter_map(|row| row.turn.as_ref()) {
            // What was said before is told with a later turn.
            is_ours = is_ours || store.turn(turn).await.is_ok_and(|turn| Some(&turn.session) == session);
        }
        if !is_ours {
            return Err(missing());
        }
        store.inbound(&id).await.map_err(|_| missing())
    }
}

/// Whether a text can stand on one line: it is there, not too long, and has no control character.
pub(super) fn is_plain(text: &str, chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= chars && !text.chars().any(char::is_control)
}
