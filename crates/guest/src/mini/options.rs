//! The command line.

use std::path::PathBuf;

/// How often the model is asked within one turn, when nothing is said.
const TURNS_MAX: u32 = 200;
/// How long one answer of the model may be, in tokens, when nothing is said. Budgets are reserved by it.
const ANSWER_TOKENS_MAX: u32 = 8192;

/// The form in which the model is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Anthropic,
    OpenAi,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) wire: Wire,
    /// `http://HOST:PORT[/PREFIX]`, without a slash at its end.
    pub(super) base_url: String,
    pub(super) model: String,
    /// Where conversations are kept.
    pub(super) state: PathBuf,
    pub(super) resume: Option<String>,
    /// `None`: standard input.
    pub(super) prompt_file: Option<PathBuf>,
    pub(super) instructions: Option<PathBuf>,
    pub(super) turns_max: u32,
    pub(super) answer_tokens_max: u32,
    pub(super) cwd: Option<PathBuf>,
    /// The host's socket, where there are tools behind it.
    pub(super) tools: Option<PathBuf>,
    /// Those of its own tools that it may use; all when nothing is said.
    pub(super) allowed: Option<Vec<String>>,
    /// What the model is told in place of what this program tells it.
    pub(super) system: Option<PathBuf>,
    /// Whether prompts come one after the other on standard input, each as a line of JSON.
    pub(super) stream: bool,
    /// Whether a person types at a terminal.
    pub(super) terminal: bool,
    /// What a new conversation is called.
    pub(super) name: Option<String>,
}

impl Options {
    pub(super) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            wire: Wire::Anthropic,
            base_url: String::new(),
            model: String::new(),
            state: PathBuf::from("/home/sandbox/.lazaret/mini"),
            resume: None,
            prompt_file: None,
            instructions: None,
            turns_max: TURNS_MAX,
            answer_tokens_max: ANSWER_TOKENS_MAX,
            cwd: None,
            tools: None,
            allowed: None,
            system: None,
            stream: false,
            terminal: false,
            name: None,
        };
        while let Some(flag) = args.next() {
            if flag == "--stream" {
                options.stream = true;
                continue;
            }
            if flag == "--terminal" {
                options.terminal = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("the option {flag} needs a value"))?;
            options.set(&flag, value)?;
        }
        if options.stream && options.prompt_file.is_some() {
            return Err("--stream and --prompt-file exclude each other".to_owned());
        }
        if options.base_url.is_empty() || options.model.is_empty() {
            return Err("the options --base-url and --model are needed".to_owned());
        }
        Ok(options)
    }

    /// Whether it may use this tool of its own.
    pub(super) fn may_use(&self, tool: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|name| name == tool))
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), String> {
        match flag {
            "--wire" => {
                self.wire = match value.as_str() {
                    "anthropic" => Wire::Anthropic,
                    "openai" => Wire::OpenAi,
                    _ => return Err("--wire is anthropic or openai".to_owned()),
                }
            }
            "--base-url" => value.trim_end_matches('/').clone_into(&mut self.base_url),
            "--model" => self.model = value,
            "--state" => self.state = value.into(),
            "--resume" => self.resume = Some(value),
            "--prompt-file" => self.prompt_file = Some(value.into()),
            "--instructions" => self.instructions = Some(value.into()),
            "--max-turns" => self.turns_max = positive(flag, &value)?,
            "--max-tokens" => self.answer_tokens_max = positive(flag, &value)?,
            "--cwd" => self.cwd = Some(value.into()),
            "--tools" => self.tools = Some(value.into()),
            "--allow" => self.allowed = Some(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()),
            "--name" => self.name = Some(value),
            "--system" => self.system = Some(value.into()),
            _ => return Err(format!("there is no option {}", flag.escape_debug())),
        }
        Ok(())
    }
}

fn positive(flag: &str, value: &str) -> Result<u32, String> {
    value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{flag} is a number from 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_needed_and_what_is_wrong_is_said() {
        let options = parse("--base-url http://127.0.0.1:1/ --model m --wire openai --max-turns 3").expect("complete");
        assert_eq!((options.base_url.as_str(), options.turns_max, options.wire), ("http://127.0.0.1:1", 3, Wire::OpenAi));
        assert!(!options.stream && parse("--stream --base-url u --model m").expect("complete").stream);
        let options = parse("--base-url u --model m --allow read,edit --system f").expect("complete");
        assert!(options.may_use("read") && !options.may_use("bash") && options.system.is_some());
        assert!(parse("--base-url u --model m").expect("complete").may_use("bash"));
        for bad in [
            "",
            "--stream --base-url u --model m --prompt-file f",
            "--model m",
            "--model",
            "--model m --base-url u --max-turns 0",
            "--model m --base-url u --wire x",
            "--no such",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
