//! The gates.

use model::{ChatPolicy, Engage, Ignored, Senders, TRIGGER};
use serde_json::json;
use store::{GUESSES_MAX, Person, Route, RouteView, Verdict, WiringView};
use wire::chat::{Heard, HeardKind};

use super::Patterns;
use crate::channels::{code_of, host};

/// Turns that one chat may ask for within a minute.
pub(super) const CHAT_TURNS_MAX: u64 = 20;
/// The same when another program asks.
pub(super) const BOT_TURNS_MAX: u64 = 4;

/// Whether somebody may talk to an agent.
pub(crate) fn permits(person: &Person, agent: &str) -> bool {
    matches!(person.role.as_deref(), Some("member" | "admin" | "owner")) || person.agents.contains_key(agent)
}

/// Whether somebody answers for an agent.
pub(crate) fn is_admin(person: &Person, agent: &str) -> bool {
    matches!(person.role.as_deref(), Some("admin" | "owner")) || person.agents.get(agent).is_some_and(|role| role == "admin")
}

fn drop(gate: &'static str, reason: impl Into<String>) -> Route {
    Route::Drop { gate, reason: reason.into(), notes: false }
}

/// What becomes of a message.
pub(super) fn route(heard: &Heard, view: &RouteView, patterns: &Patterns, is_again: bool) -> Route {
    let me = view.channel.me.as_ref().and_then(|me| me["id"].as_str());
    if me == Some(heard.sender.id.as_str()) {
        return drop("self", "the account said it itself");
    }
    match heard.kind {
        HeardKind::Joined => {
            return Route::Drop { gate: "kind", reason: "the account was brought into the chat".to_owned(), notes: true };
        }
        HeardKind::Left => return drop("kind", "the account was taken out of the chat"),
        HeardKind::Reaction => return drop("kind", "reactions ask nothing"),
        HeardKind::Button => return button(heard),
        HeardKind::Edit => {
            return match &heard.about {
                Some(of) => Route::Edit { of: of.clone() },
                None => drop("kind", "it is not said what was edited"),
            };
        }
        HeardKind::Message => {}
    }
    // What somebody passes on is not their own: no code, command, answer or address is read in it.
    let is_own = !heard.quoted.as_ref().is_some_and(|quoted| quoted.forwarded);
    if is_own && view.is_pairing && code_of(&heard.text).is_some() {
        if view.guesses >= GUESSES_MAX {
            return drop("pairing", "too many wrong codes within an hour");
        }
        match &view.pairing {
            Some(_) => return Route::Pair,
            None if view.person.is_none() => return Route::WrongCode,
            None => {}
        }
    }
    let is_addressed = heard.mention || !heard.chat.group;
    if is_own && let Some(route) = answer_of_known(heard, view) {
        return route;
    }
    let speaks_to = |word: &str| is_own && has_trigger(&heard.text, word);
    if let Some(stop) = chat_gates(heard, view, is_addressed || speaks_to(TRIGGER), is_again) {
        return stop;
    }
    if is_own && let Some(route) = for_host(heard, view, is_addressed, &speaks_to) {
        return route;
    }
    let verdict = |wiring: &WiringView| {
        let trigger = wiring.trigger.as_deref().unwrap_or(TRIGGER);
        of_wiring(heard, view, wiring, is_addressed || speaks_to(trigger), patterns)
    };
    Route::Wired(view.wirings.iter().map(verdict).collect())
}

/// What stops a message before any wiring is looked at.
fn chat_gates(heard: &Heard, view: &RouteView, is_addressed: bool, is_again: bool) -> Option<Route> {
    let Some(chat) = view.chat.as_ref().filter(|_| !view.wirings.is_empty()) else {
        let is_denied = view.chat.as_ref().is_some_and(|chat| chat.denied.is_some());
        return Some(if is_denied {
            drop("chat", "the chat was refused")
        } else if !is_addressed || heard.sender.bot {
            drop("chat", "no agent hears this chat, and none was addressed")
        } else {
            Route::Drop { gate: "wiring", reason: "no agent hears this chat".to_owned(), notes: true }
        });
    };
    if chat.denied.is_some() {
        return Some(drop("chat", "the chat was refused"));
    }
    if heard.sender.bot && !view.wirings.iter().any(|wiring| wiring.row.bots) {
        return Some(drop("bot", "another program said it"));
    }
    let most = if heard.sender.bot { BOT_TURNS_MAX } else { CHAT_TURNS_MAX };
    if view.recent >= most && !is_again {
        return Some(drop("rate", format!("the chat asked {} times within a minute; at most {most} are taken", view.recent)));
    }
    None
}

/// The answer of somebody known to what was asked of them where no agent hears: in a direct chat that a card opened. Whether they have the
/// right to it is looked at when it is done.
fn answer_of_known(heard: &Heard, view: &RouteView) -> Option<Route> {
    let is_heard = |person: &Person| view.wirings.iter().any(|w| permits(person, &w.row.agent));
    let person = view.person.as_ref()?;
    let is_denied = view.chat.as_ref().is_some_and(|chat| chat.denied.is_some());
    let (command, rest) = host::command_of(&heard.text).filter(|(command, _)| host::ANSWERS.contains(command))?;
    let takes = !heard.chat.group && !heard.sender.bot && !is_denied && !is_heard(person);
    takes.then(|| Route::Host { outcome: "command", note: json!({ "command": command, "rest": rest, "agent": null, "session": null }) })
}

/// What the host itself answers: commands, and answers to what was asked.
fn for_host(heard: &Heard, view: &RouteView, is_addressed: bool, speaks_to: &dyn Fn(&str) -> bool) -> Option<Route> {
    let person = view.person.as_ref();
    let is_heard_whole = |w: &WiringView| w.row.engage == Engage::Pattern && w.row.pattern.as_deref() == Some(".");
    if let Some((command, rest)) = host::command_of(&heard.text) {
        // A group may hold other programs whose commands these are.
        let is_meant = |w: &&WiringView| is_addressed || is_heard_whole(w) || speaks_to(w.trigger.as_deref().unwrap_or(TRIGGER));
        let wirings = view.wirings.iter().filter(is_meant);
        let wiring = wirings.into_iter().find(|w| person.is_some_and(|person| permits(person, &w.row.agent)));
        return match wiring {
            Some(wiring) => {
                let session = wiring.session.as_ref().map(model::SessionId::as_str);
                let note = json!({ "command": command, "rest": rest, "agent": wiring.row.agent, "session": session });
                Some(Route::Host { outcome: "command", note })
            }
            None if !is_addressed => None,
            None => Some(drop("access", "commands are taken of those who are known")),
        };
    }
    let asked = view.question.as_ref()?;
    let answer = answer_of(&asked.options, &heard.text)?;
    Some(Route::Host { outcome: "answer", note: json!({ "question": asked.id, "answer": answer }) })
}

/// The answer that a text is: one of those offered, by its number or its words; or any.
fn answer_of(options: &[String], text: &str) -> Option<String> {
    let text = host::unaddressed(text);
    if options.is_empty() {
        return (!text.is_empty()).then(|| text.to_owned());
    }
    let by_number = text.trim_end_matches('.').parse::<usize>().ok().and_then(|n| options.get(n.checked_sub(1)?));
    by_number.or_else(|| options.iter().find(|option| option.trim().eq_ignore_ascii_case(text))).cloned()
}

fn button(heard: &Heard) -> Route {
    match heard.value.as_deref().and_then(host::pressed) {
        Some(note) => Route::Host { outcome: "answer", note },
        None => drop("button", "the button is none of ours"),
    }
}

/// What one wiring makes of a message.
fn of_wiring(heard: &Heard, view: &RouteView, wiring: &WiringView, is_addressed: bool, patterns: &Patterns) -> Verdict {
    let stop = |gate, reason: &str| Verdict::Drop { gate, reason: reason.to_owned() };
    let row = &wiring.row;
    if heard.sender.bot && !row.bots {
        return stop("bot", "another program said it");
    }
    let engages = match row.engage {
        Engage::Pattern => row.pattern.as_deref().is_some_and(|pattern| patterns.is_in(pattern, &heard.text)),
        Engage::Mention => is_addressed,
        Engage::Sticky => is_addressed || (heard.chat.group && wiring.session.is_some()),
    };
    let policy = view.chat.as_ref().map_or(ChatPolicy::Strict, |chat| chat.policy);
    let is_known = view.person.as_ref().is_some_and(|person| permits(person, &row.agent));
    if !engages {
        // Nothing is kept of who would be refused.
        return match row.ignored {
            Ignored::Accumulate if is_known || policy == ChatPolicy::Public => Verdict::Keep,
            Ignored::Accumulate => stop("access", "it does not engage, and its sender is not known"),
            Ignored::Drop => stop("engage", "the wiring does not engage"),
        };
    }
    match (is_known, policy, row.senders) {
        (true, ..) | (false, ChatPolicy::Public, Senders::All) => Verdict::Engage,
        (false, ChatPolicy::Public, Senders::Known) => stop("senders", "the wiring hears members of its agent only"),
        (false, ChatPolicy::Request, _) => Verdict::Hold { reason: "the sender is not known: somebody has to let them in".to_owned() },
        (false, ChatPolicy::Strict, _) => stop("access", "the sender is not known, and the chat is strict"),
    }
}

/// Whether a text has a word such as `@Andy`, by itself.
fn has_trigger(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&word).any(|(at, found)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(|c| is_part(c) || c == '@') && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{ChatId, SessionId, SessionMode, Timestamp, UserId, WiringId};
    use store::{AskedHere, ChannelRow, ChatRow, PairingRow, SessionKey, WiringRow};
    use wire::chat::{Chat, Quoted, Who};

    use super::*;

    fn heard(text: &str, group: bool) -> Heard {
        Heard {
            kind: HeardKind::Message,
            id: "m1".to_owned(),
            chat: Chat { id: "c".to_owned(), name: String::new(), group },
            thread: None,
            sender: Who { id: "u".to_owned(), name: "U".to_owned(), bot: false },
            text: text.to_owned(),
            mention: false,
            quoted: None,
            about: None,
            value: None,
            files: Vec::new(),
            at_ms: 0,
        }
    }

    fn wiring(agent: &str, engage: Engage, senders: Senders, ignored: Ignored) -> WiringView {
        let chat = ChatId::from_bits(1);
        WiringView {
            row: WiringRow {
                id: WiringId::from_bits(2),
                chat: chat.clone(),
                agent: agent.to_owned(),
                engage,
                pattern: (engage == Engage::Pattern).then(|| ".".to_owned()),
                senders,
                ignored,
                mode: SessionMode::Shared,
                priority: 0,
                bots: false,
                created: Timestamp(0),
            },
            trigger: None,
            key: SessionKey { tenant: "default".into(), agent: agent.into(), chat: chat.to_string(), thread: String::new() },
            session: None,
        }
    }

    fn view(policy: ChatPolicy, wirings: Vec<WiringView>) -> RouteView {
        RouteView {
            channel: ChannelRow {
                name: "lab".into(),
                tenant: "default".into(),
                network: "lab".into(),
                program: None,
                print: None,
                config: json!({}),
                about: json!({}),
                is_on: true,
                cursor: None,
                me: Some(json!({ "id": "me" })),
                abilities: None,
                host: None,
                created: Timestamp(0),
            },
            chat: Some(ChatRow {
                id: ChatId::from_bits(1),
                channel: "lab".into(),
                chat: "c".into(),
                name: String::new(),
                is_group: true,
                policy,
                denied: None,
                created: Timestamp(0),
                heard: Timestamp(0),
            }),
            wirings,
            person: None,
            recent: 0,
            pairing: None,
            is_pairing: false,
            guesses: 0,
            question: None,
        }
    }

    fn known(agent: &str, role: &str) -> Option<Person> {
        Some(Person { user: UserId::from_bits(7), role: None, agents: BTreeMap::from([(agent.to_owned(), role.to_owned())]) })
    }

    fn go(heard: &Heard, view: &RouteView) -> Route {
        route(heard, view, &Patterns::default(), false)
    }

    fn gate(route: &Route) -> &str {
        match route {
            Route::Drop { gate, .. } => gate,
            Route::Wired(verdicts) => match verdicts.as_slice() {
                [Verdict::Drop { gate, .. }] => gate,
                [Verdict::Engage] => "engage!",
                [Verdict::Keep] => "keep!",
                [Verdict::Hold { .. }] => "hold!",
                _ => "many",
            },
            Route::Pair => "pair!",
            Route::WrongCode => "wrong!",
            Route::Host { .. } => "host!",
            Route::Edit { .. } => "edit!",
        }
    }

    #[test]
    fn a_group_is_heard_when_the_agent_is_spoken_to() {
        let mention = || vec![wiring("andy", Engage::Mention, Senders::All, Ignored::Drop)];
        let mut seen = view(ChatPolicy::Public, mention());
        assert_eq!(gate(&go(&heard("hello all", true), &seen)), "engage");
        assert_eq!(gate(&go(&heard("hi @andy, hello", true), &seen)), "engage!");
        for not in ["mail me@andy.example", "@andyman hi", "x@andy", "andy?"] {
            assert_eq!(gate(&go(&heard(not, true), &seen)), "engage", "{not}");
        }
        assert_eq!(gate(&go(&Heard { mention: true, ..heard("hi", true) }, &seen)), "engage!");
        assert_eq!(gate(&go(&heard("hi", false), &seen)), "engage!", "a direct chat is spoken to");
        seen.wirings[0].trigger = Some("@Bob".to_owned());
        assert_eq!(gate(&go(&heard("@andy hi", true), &seen)), "engage");
        assert_eq!(gate(&go(&heard("@BOB: hi", true), &seen)), "engage!");
    }

    #[test]
    fn sticky_stays_where_the_conversation_began() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Sticky, Senders::All, Ignored::Drop)]);
        assert_eq!(gate(&go(&heard("and then?", true), &seen)), "engage");
        seen.wirings[0].session = Some(SessionId::from_bits(1));
        assert_eq!(gate(&go(&heard("and then?", true), &seen)), "engage!");
    }

    #[test]
    fn whoever_is_not_known_meets_the_policy_and_nothing_of_theirs_is_kept() {
        let every = || vec![wiring("andy", Engage::Pattern, Senders::All, Ignored::Drop)];
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Strict, every()))), "access");
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Request, every()))), "hold!");
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Public, every()))), "engage!");
        let members = || vec![wiring("andy", Engage::Pattern, Senders::Known, Ignored::Drop)];
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Public, members()))), "senders");
        let gather = || vec![wiring("andy", Engage::Mention, Senders::All, Ignored::Accumulate)];
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Strict, gather()))), "access");
        assert_eq!(gate(&go(&heard("hi", true), &view(ChatPolicy::Public, gather()))), "keep!");
        // A member of one agent is nobody to another.
        let seen = RouteView { person: known("andy", "member"), ..view(ChatPolicy::Strict, every()) };
        assert_eq!(gate(&go(&heard("hi", true), &seen)), "engage!");
        let seen = RouteView { person: known("bob", "admin"), ..view(ChatPolicy::Strict, every()) };
        assert_eq!(gate(&go(&heard("hi", true), &seen)), "access");
        let viewer = Person { user: UserId::from_bits(7), role: Some("viewer".to_owned()), agents: BTreeMap::new() };
        let seen = RouteView { person: Some(viewer), ..view(ChatPolicy::Strict, every()) };
        assert_eq!(gate(&go(&heard("hi", true), &seen)), "access");
    }

    #[test]
    fn chats_that_nobody_wired_are_noted_only_when_somebody_is_spoken_to() {
        let nobody = || RouteView { chat: None, ..view(ChatPolicy::Strict, Vec::new()) };
        assert_eq!(gate(&go(&heard("hi", true), &nobody())), "chat");
        assert_eq!(gate(&go(&heard("hi", false), &nobody())), "wiring");
        let mut refused = view(ChatPolicy::Strict, Vec::new());
        if let Some(chat) = refused.chat.as_mut() {
            chat.denied = Some(Timestamp(1));
        }
        assert_eq!(gate(&go(&heard("hi", false), &refused)), "chat");
    }

    #[test]
    fn programs_do_not_talk_to_programs_without_an_end() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Pattern, Senders::All, Ignored::Drop)]);
        let mut other = heard("ping", true);
        other.sender.bot = true;
        assert_eq!(gate(&go(&other, &seen)), "bot");
        seen.wirings[0].row.bots = true;
        assert_eq!(gate(&go(&other, &seen)), "engage!");
        seen.recent = BOT_TURNS_MAX;
        assert_eq!(gate(&go(&other, &seen)), "rate");
        assert_eq!(gate(&go(&heard("ping", true), &seen)), "engage!");
        seen.recent = CHAT_TURNS_MAX;
        assert_eq!(gate(&go(&heard("ping", true), &seen)), "rate");
        other.sender.id = "me".to_owned();
        assert_eq!(gate(&go(&other, &seen)), "self");
    }

    #[test]
    fn what_is_passed_on_commands_nothing() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Mention, Senders::All, Ignored::Drop)]);
        seen.person = known("andy", "admin");
        (seen.is_pairing, seen.pairing) = (true, Some(pairing()));
        let passed_on = |text: &str| Heard {
            quoted: Some(Quoted { id: None, sender: None, text: text.to_owned(), forwarded: true }),
            ..heard(text, true)
        };
        for text in ["12345678", "/stop", "@andy hi"] {
            assert_eq!(gate(&go(&passed_on(text), &seen)), "engage", "{text}");
        }
        assert_eq!(gate(&go(&heard("12345678", true), &seen)), "pair!");
        assert_eq!(gate(&go(&Heard { mention: true, ..heard("/stop", true) }, &seen)), "host!");
    }

    fn pairing() -> PairingRow {
        PairingRow {
            id: model::PairingId::from_bits(1),
            tenant: "default".into(),
            hash: String::new(),
            user: None,
            agent: None,
            role: None,
            channel: None,
            expires: Timestamp(1),
            used: None,
            used_by: None,
            created: Timestamp(0),
        }
    }

    #[test]
    fn codes_are_guessed_a_few_times_only() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Pattern, Senders::All, Ignored::Drop)]);
        assert_eq!(gate(&go(&heard("12345678", true), &seen)), "engage!", "without a code to be used, it is a number");
        seen.is_pairing = true;
        assert_eq!(gate(&go(&heard("1234 5678", true), &seen)), "wrong!");
        seen.pairing = Some(pairing());
        seen.guesses = GUESSES_MAX;
        assert_eq!(gate(&go(&heard("12345678", true), &seen)), "pairing", "also the right one");
    }

    #[test]
    fn commands_are_for_those_who_are_known() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Mention, Senders::All, Ignored::Drop)]);
        let spoken = |text: &str| Heard { mention: true, ..heard(text, true) };
        assert_eq!(gate(&go(&spoken("/clear"), &seen)), "access");
        assert_eq!(gate(&go(&heard("/clear", true), &seen)), "engage", "the command of some other program");
        seen.person = known("andy", "member");
        assert_eq!(gate(&go(&spoken("/clear"), &seen)), "host!");
        assert_eq!(gate(&go(&spoken("/nothing of ours"), &seen)), "engage!");
    }

    #[test]
    fn an_answer_is_one_of_those_offered() {
        let mut seen = view(ChatPolicy::Public, vec![wiring("andy", Engage::Pattern, Senders::All, Ignored::Drop)]);
        let asked = |options: &[&str]| AskedHere {
            id: model::QuestionId::from_bits(1),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            handle: "u".to_owned(),
        };
        seen.question = Some(asked(&["Red", "Blue"]));
        for (text, expect) in
            [("2", Some("Blue")), ("@account @andy 1.", Some("Red")), ("red", Some("Red")), ("0", None), ("3", None), ("green", None)]
        {
            let found = match go(&heard(text, true), &seen) {
                Route::Host { note, .. } => note["answer"].as_str().map(str::to_owned),
                _ => None,
            };
            assert_eq!(found.as_deref(), expect, "{text}");
        }
        seen.question = Some(asked(&[]));
        assert_eq!(gate(&go(&heard("whatever", true), &seen)), "host!");
    }
}
