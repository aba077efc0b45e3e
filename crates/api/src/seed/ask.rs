//! What a chat request asks for: every field that the seed knows is honoured or answered with a warning.

use std::collections::BTreeMap;

use app::{MessageFile, SessionForm};
use model::{Code, Failure};
use serde_json::Value;

/// The longest message, in characters.
pub(super) const MESSAGE_CHARS_MAX: usize = 102_400;
/// The longest title that is made of a message, in characters.
const TITLE_CHARS_MAX: usize = 80;
/// Fields that nobody knows, of which a warning names so many.
const UNKNOWN_NAMED_MAX: usize = 20;
/// Where chats work.
const HOME: &str = "/home/sandbox";

/// A message to a chat. Each name may also be written in camel case.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "ChatForm")]
pub(super) struct ChatForm {
    /// What is asked; at most 102,400 characters.
    message: String,
    /// The chat; a new one when left out or `new`.
    #[serde(alias = "sessionId")]
    session_id: Option<String>,
    /// The slug of the container that a new chat works in; one of its own when left out.
    #[serde(alias = "containerId")]
    container_id: Option<String>,
    /// The model of a new chat.
    model: Option<String>,
    /// The agent of a new chat, by name.
    #[serde(alias = "agentType")]
    agent_type: Option<String>,
    /// Stands before the first message of a new chat.
    #[serde(alias = "systemPrompt")]
    system_prompt: Option<String>,
    /// Stands before the first message of a new chat.
    #[serde(alias = "initialContext")]
    initial_context: Option<Value>,
    /// Stands before the first message of a new chat.
    #[serde(alias = "priorConversation")]
    prior_conversation: Option<Value>,
    /// A directory below /home/sandbox that a new chat works in.
    #[serde(alias = "workingDirectory")]
    working_directory: Option<String>,
    /// Kept as the label `continued-from` of a new chat.
    #[serde(alias = "continuedFrom")]
    continued_from: Option<String>,
    /// Files for the working directory: `{fileName, base64Data}`.
    attachments: Vec<Attachment>,
    /// `sandboxed`; every chat is.
    #[serde(alias = "trustLevel")]
    trust_level: Option<String>,
    /// `converse`.
    mode: Option<String>,
    /// Not used: transcripts stay with the chat.
    #[serde(alias = "recoveryMode")]
    recovery_mode: Option<String>,
    /// Not used.
    module: Option<String>,
    /// Not used.
    contexts: Option<Value>,
    /// Not used: agents are chosen by name.
    #[serde(alias = "agentPath")]
    agent_path: Option<String>,
    #[serde(flatten)]
    #[schemars(skip)]
    unknown: BTreeMap<String, Value>,
}

/// A file that comes with a message.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ChatAttachment")]
struct Attachment {
    /// A plain name.
    #[serde(alias = "fileName", alias = "file_name", alias = "filename")]
    name: String,
    /// Its bytes.
    #[serde(alias = "base64Data", alias = "base64_data", alias = "base64")]
    data: String,
}

/// What a request comes to.
#[derive(Debug)]
pub(super) struct Ask {
    /// The chat; `None` for a new one.
    pub(super) chat: Option<String>,
    /// What the user said.
    pub(super) message: String,
    /// What the engine is asked.
    pub(super) prompt: String,
    pub(super) files: Vec<MessageFile>,
    /// The new chat, where it is one.
    pub(super) form: SessionForm,
    /// What was asked for and is not done.
    pub(super) warnings: Vec<String>,
}

impl ChatForm {
    /// What is asked.
    ///
    /// # Errors
    /// The message is empty or too long.
    pub(super) fn read(self) -> Result<Ask, Failure> {
        check(&self.message, MESSAGE_CHARS_MAX)?;
        let chat = self.session_id.clone().filter(|id| !id.is_empty() && id != "new");
        let mut warnings = self.warnings(chat.is_some());
        let files = self.attachments.into_iter().map(|file| MessageFile { name: file.name, data: plain(file.data) }).collect();
        if chat.is_some() {
            return Ok(Ask { chat, prompt: self.message.clone(), message: self.message, files, form: SessionForm::default(), warnings });
        }
        let prior = self.prior_conversation.as_ref().map(text).map(|prior| format!("The conversation so far:\n{prior}"));
        let before = [self.system_prompt, self.initial_context.as_ref().map(text), prior];
        let mut prompt = String::new();
        for part in before.into_iter().flatten().filter(|part| !part.trim().is_empty()) {
            prompt.push_str(part.trim_end());
            prompt.push_str("\n\n");
        }
        prompt.push_str(&self.message);
        let labels = self.continued_from.map(|from| ("continued-from".to_owned(), from)).into_iter().collect();
        let form = SessionForm {
            agent: self.agent_type.filter(|name| !name.is_empty()),
            model: self.model.filter(|name| !name.is_empty()),
            env: self.container_id.filter(|slug| !slug.is_empty()),
            subdir: self.working_directory.and_then(|dir| match below_home(&dir) {
                Ok(subdir) => subdir,
                Err(why) => {
                    warnings.push(why);
                    None
                }
            }),
            title: Some(title_of(&self.message)),
            labels,
            ..SessionForm::default()
        };
        Ok(Ask { chat, message: self.message, prompt, files, form, warnings })
    }

    fn warnings(&self, is_old: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |is_given: bool, text: &str| {
            if is_given {
                warnings.push(text.to_owned());
            }
        };
        warn(self.trust_level.as_deref() == Some("direct"), "trust_level: every chat is sandboxed here");
        warn(self.mode.as_deref().is_some_and(|mode| mode != "converse"), "mode: only `converse` is known here");
        warn(self.recovery_mode.is_some(), "recovery_mode is not needed: the transcript stays with the chat");
        warn(self.module.as_deref().is_some_and(|module| module != "chat"), "module: there are no modules here");
        warn(
            self.contexts.as_ref().is_some_and(|c| !matches!(c, Value::Null)),
            "contexts: files are attached, or mounted into a container",
        );
        warn(self.agent_path.is_some(), "agent_path: agents are chosen by name, as agent_type");
        if is_old {
            for (is_given, name) in [
                (self.container_id.is_some(), "container_id"),
                (self.model.is_some(), "model"),
                (self.agent_type.is_some(), "agent_type"),
                (self.system_prompt.is_some(), "system_prompt"),
                (self.initial_context.is_some(), "initial_context"),
                (self.prior_conversation.is_some(), "prior_conversation"),
                (self.working_directory.is_some(), "working_directory"),
                (self.continued_from.is_some(), "continued_from"),
            ] {
                warn(is_given, &format!("{name} counts only for a new chat"));
            }
        }
        for name in self.unknown.keys().take(UNKNOWN_NAMED_MAX) {
            let name: String = name.escape_debug().take(64).collect();
            warnings.push(format!("{name} is not known here and was left out of account"));
        }
        warnings
    }
}

/// A text that can be asked.
pub(super) fn check(message: &str, chars_max: usize) -> Result<(), Failure> {
    if message.trim().is_empty() {
        return Err(Failure::new(Code::PromptInvalid, "message is required").field("message"));
    }
    let chars = message.chars().count();
    if chars > chars_max {
        let why = format!("the message has {chars} characters; at most {chars_max} are taken");
        return Err(Failure::new(Code::PromptInvalid, why).field("message"));
    }
    Ok(())
}

/// The bytes of an attachment, without the head of a data URL.
fn plain(data: String) -> String {
    match data.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((_, bytes)) => bytes.to_owned(),
        None => data,
    }
}

/// A text, or the text of whatever else was sent.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The directory below the home that a path names; `None` for the home itself.
fn below_home(dir: &str) -> Result<Option<String>, String> {
    let rest = match dir.strip_prefix(HOME) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ if dir.starts_with('/') => return Err(format!("working_directory: chats work below {HOME}")),
        _ => dir,
    };
    let rest = rest.trim_matches('/');
    Ok((!rest.is_empty()).then(|| rest.to_owned()))
}

/// The first line of a message, for lists of chats.
fn title_of(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or("");
    line.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Ask {
        let form: ChatForm = crate::request::read(value.to_string().as_bytes()).expect("a form");
        form.read().expect("a request")
    }

    #[test]
    fn both_ways_of_writing_mean_the_same() {
        let snake = json!({ "message": "hi\nthere", "session_id": "new", "container_id": "lab", "system_prompt": "Be brief.",
            "working_directory": "/home/sandbox/a/b", "prior_conversation": "Q: x" });
        let camel = json!({ "message": "hi\nthere", "containerId": "lab", "systemPrompt": "Be brief.",
            "workingDirectory": "a/b/", "priorConversation": "Q: x" });
        for value in [snake, camel] {
            let ask = read(value);
            assert_eq!(ask.chat, None);
            assert_eq!(ask.prompt, "Be brief.\n\nThe conversation so far:\nQ: x\n\nhi\nthere");
            assert_eq!(ask.form.env.as_deref(), Some("lab"));
            assert_eq!(ask.form.subdir.as_deref(), Some("a/b"));
            assert_eq!(ask.form.title.as_deref(), Some("hi"));
            assert!(ask.warnings.is_empty(), "{:?}", ask.warnings);
        }
    }

    #[test]
    fn what_is_not_done_is_said() {
        let ask =
            read(json!({ "message": "x", "trustLevel": "direct", "mode": "cocreate", "recoveryMode": "fresh_start", "module": "daily",
            "contexts": ["a"], "agentPath": "p", "workingDirectory": "/etc", "surprise": 1 }));
        assert_eq!(ask.warnings.len(), 8, "{:?}", ask.warnings);
        assert_eq!(ask.form.subdir, None);
        let ask = read(json!({ "message": "x", "sessionId": "ses_1", "systemPrompt": "y", "model": "z" }));
        assert_eq!((ask.chat.as_deref(), ask.prompt.as_str(), ask.warnings.len()), (Some("ses_1"), "x", 2));
    }

    #[test]
    fn only_a_message_of_some_length_is_asked() {
        let refused = |message: String| {
            let form = ChatForm { message, ..ChatForm::default() };
            form.read().expect_err("refused").code
        };
        assert_eq!(refused(" ".to_owned()), Code::PromptInvalid);
        assert_eq!(refused("é".repeat(MESSAGE_CHARS_MAX + 1)), Code::PromptInvalid);
        assert!(ChatForm { message: "é".repeat(MESSAGE_CHARS_MAX), ..ChatForm::default() }.read().is_ok());
    }

    #[test]
    fn attachments_come_with_or_without_the_head_of_a_url() {
        let ask = read(json!({ "message": "x", "attachments": [
            { "type": "image", "fileName": "a.png", "base64Data": "data:image/png;base64,QUJD", "mimeType": "image/png" },
            { "name": "b", "data": "QUJD" },
        ] }));
        assert!(ask.files.iter().all(|file| file.data == "QUJD"));
        assert_eq!(ask.files[0].name, "a.png");
    }
}
