//! The programs of chat networks. One process is one account of one network, in a sandbox of its own: it holds that account's
//! credential and reaches that platform's hosts, and the host talks with it in the channel protocol ([`wire::chat`]).
//!
//! [`run`](mod@run) is the frame: lines in and out, reports within a window, deliveries as steps that a [`note`] remembers. A
//! network is a [`network::Network`], in a file of its own and a line of [`ALL`].

mod backoff;
mod began;
mod calls;
mod clock;
mod dial;
mod http;
mod journal;
mod jwt;
mod keys;
mod link;
mod marks;
mod network;
mod note;
mod probe;
mod reading;
mod run;
mod sign;
mod sink;
mod surroundings;
mod text;
mod ws;

mod discord;
mod email;
mod matrix;
mod slack;
mod telegram;
mod webhook;

mod bridge;
mod github;
mod googlechat;
mod imessage;
mod linear;
mod resend;
mod signal;
mod teams;
mod webex;
mod wechat;
mod whatsapp;

#[cfg(test)]
mod hostile;

use std::process::ExitCode;

pub use probe::Probe;
pub use surroundings::Surroundings;

/// Every network of this program.
pub(crate) const ALL: &[&dyn network::Network] = &[
    &telegram::Telegram,
    &discord::Discord,
    &slack::Slack,
    &matrix::Matrix,
    &webhook::Webhook,
    &email::Email,
    &whatsapp::WhatsApp,
    &teams::Teams,
    &googlechat::GoogleChat,
    &webex::Webex,
    &github::GitHub,
    &linear::Linear,
    &resend::Resend,
    &signal::Signal,
    &imessage::IMessage,
    &wechat::WeChat,
    &bridge::WHATSAPP,
    &bridge::WECHAT,
];

/// Does what the command line says: `about NETWORK`, `list` or `run NETWORK`.
#[must_use]
pub fn main(args: Vec<String>, around: Surroundings) -> ExitCode {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let find = |name: &str| ALL.iter().copied().find(|network| network.about().network == name);
    match args.as_slice() {
        ["list"] => {
            let names: Vec<String> = ALL.iter().map(|network| network.about().network).collect();
            write(&(names.join("\n") + "\n"))
        }
        ["about", name] => match find(name) {
            None => unknown(name),
            Some(network) => write(&(serde_json::to_string(&network.about()).unwrap_or_default() + "\n")),
        },
        ["run", name] => match find(name) {
            None => unknown(name),
            Some(network) => run::run(network, around),
        },
        _ => fail("usage: lazaret-channels list | about NETWORK | run NETWORK"),
    }
}

fn unknown(name: &str) -> ExitCode {
    fail(&format!("no network `{}`: `lazaret-channels list` says which there are", name.escape_debug()))
}

fn write(text: &str) -> ExitCode {
    use std::io::Write as _;
    if std::io::stdout().write_all(text.as_bytes()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(message: &str) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "lazaret-channels: {message}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a network needs is granted as it is written: the host takes exact names only.
    #[test]
    fn the_hosts_of_every_network_are_exact_and_its_keys_plain() {
        for network in ALL {
            let about = network.about();
            for host in &about.hosts {
                let rule = host.parse::<model::EgressRule>();
                assert!(rule.is_ok(), "{}: {rule:?}", about.network);
            }
            assert!(!about.credentials.iter().any(|c| c.key.is_empty()), "{}", about.network);
        }
    }
}
