//! The first form: one database of messages, and a folder for each group.

use std::collections::HashMap;

use app::{AgentForm, CarryLine};
use model::{ChatPolicy, Engage, Failure, Ignored, Senders, SessionMode, TRIGGER};
use serde_json::{Map, json};

use super::folders::skills;
use super::sheet::Sheet;
use super::source::Copy;
use super::talks::{Place, Said, write};
use super::words::{Fields, name, network, number, short, text, time};
use super::{Install, script};

/// Network and platform's id of what it calls a chat.
fn place(jid: &str) -> Option<(&'static str, &str)> {
    if let Some(id) = jid.strip_prefix("tg:") {
        return Some(("telegram", id));
    }
    if let Some(id) = jid.strip_prefix("dc:") {
        return Some(("discord", id.rsplit(':').next().unwrap_or(id)));
    }
    if let Some(id) = jid.strip_prefix("slack:") {
        return Some(("slack", id));
    }
    jid.ends_with("@g.us").then_some(("whatsapp", jid)).or_else(|| jid.ends_with("@s.whatsapp.net").then_some(("whatsapp", jid)))
}

pub(super) fn read(install: &Install<'_>, central: &Copy, sheet: &mut Sheet) -> Result<(), Failure> {
    let chats: HashMap<String, Fields> =
        rows(central, sheet, "chats", &["jid", "name", "is_group"], "jid").into_iter().map(|row| (text(&row, "jid"), row)).collect();
    let groups = rows(
        central,
        sheet,
        "registered_groups",
        &["jid", "name", "folder", "trigger_pattern", "container_config", "requires_trigger"],
        "added_at",
    );
    let mut accounts = Vec::new();
    let mut agents: HashMap<String, (String, String)> = HashMap::new();
    for group in &groups {
        let (jid, called, folder) = (text(group, "jid"), text(group, "name"), text(group, "folder"));
        if folder.is_empty() || jid.is_empty() {
            sheet.wrong("agent", &called, "it has no folder");
            continue;
        }
        let made = name(&folder);
        let id = format!("group:{folder}");
        let word = text(group, "trigger_pattern");
        let trigger = word.starts_with('@').then(|| short(&word, 40)).filter(|word| word != TRIGGER);
        let instructions = install.instructions(sheet, &folder).unwrap_or_default();
        sheet.line(&CarryLine::Agent {
            id: id.clone(),
            agent: AgentForm { name: made.clone(), instructions, trigger, ..AgentForm::default() },
        })?;
        if !matches!(text(group, "container_config").as_str(), "" | "{}" | "null") {
            sheet.leave("mounts", &made, "name them when a session begins: --mount");
        }
        skills(install, sheet, &folder)?;
        agents.insert(folder.clone(), (id.clone(), jid.clone()));
        wire(sheet, &mut accounts, group, &chats, &id)?;
    }
    skills(install, sheet, "")?;
    talks(central, sheet, &groups)?;
    tasks(install, central, sheet, &agents)?;
    script(install, sheet);
    Ok(())
}

fn rows(central: &Copy, sheet: &mut Sheet, table: &str, columns: &[&str], order: &str) -> Vec<Fields> {
    central.rows(table, columns, order).unwrap_or_else(|why| {
        sheet.wrong("table", table, why);
        Vec::new()
    })
}

/// The chat of a group, its account, and that its agent hears it.
fn wire(
    sheet: &mut Sheet,
    accounts: &mut Vec<&'static str>,
    group: &Fields,
    chats: &HashMap<String, Fields>,
    agent: &str,
) -> Result<(), Failure> {
    let jid = text(group, "jid");
    let Some((kind, own)) = place(&jid) else {
        sheet.leave("chat", &jid, "no network here has chats like it");
        return Ok(());
    };
    let Some(there) = network(kind) else { return Ok(()) };
    if !accounts.contains(&kind) {
        accounts.push(kind);
        sheet.line(&CarryLine::Channel { id: kind.to_owned(), name: kind.to_owned(), network: there.to_owned(), config: Map::new() })?;
    }
    let is_group = chats.get(&jid).is_none_or(|chat| number(chat, "is_group") != 0);
    sheet.line(&CarryLine::Chat {
        id: jid.clone(),
        channel: kind.to_owned(),
        chat: own.to_owned(),
        name: short(&text(group, "name"), 120),
        group: is_group,
        // Whoever was in a chat that was registered was heard.
        policy: ChatPolicy::Request,
        denied: false,
    })?;
    // Without the trigger every message was for the agent.
    let is_called = group.get("requires_trigger").is_none_or(serde_json::Value::is_null) || number(group, "requires_trigger") != 0;
    let (engage, pattern) = if is_called && is_group { (Engage::Mention, None) } else { (Engage::Pattern, Some(".".to_owned())) };
    sheet.line(&CarryLine::Wiring {
        id: format!("{jid}/{agent}"),
        chat: jid,
        agent: agent.to_owned(),
        engage,
        pattern,
        senders: Senders::Known,
        ignored: if is_group { Ignored::Accumulate } else { Ignored::Drop },
        mode: SessionMode::Shared,
        priority: 0,
        bots: false,
    })
}

fn talks(central: &Copy, sheet: &mut Sheet, groups: &[Fields]) -> Result<(), Failure> {
    let columns = ["id", "chat_jid", "sender", "sender_name", "content", "timestamp", "is_from_me", "is_bot_message"];
    let mut by_chat: HashMap<String, Vec<Fields>> = HashMap::new();
    for row in rows(central, sheet, "messages", &columns, "timestamp") {
        by_chat.entry(text(&row, "chat_jid")).or_default().push(row);
    }
    for group in groups {
        let (jid, folder, called) = (text(group, "jid"), text(group, "folder"), text(group, "name"));
        let Some(messages) = by_chat.remove(&jid) else { continue };
        let said = |row: Fields| {
            let is_own = number(&row, "is_bot_message") != 0;
            let words = text(&row, "content").replace('\0', "");
            Said {
                at: time(&row, "timestamp").unwrap_or(model::Timestamp(0)),
                wakes: (!is_own).then_some(true),
                who: if is_own { String::new() } else { text(&row, "sender_name") },
                text: words,
                has_failed: false,
            }
        };
        let all: Vec<Said> = messages.into_iter().map(said).filter(|said| !said.text.is_empty()).collect();
        let place = Place {
            id: jid.clone(),
            agent: format!("group:{folder}"),
            title: called,
            chat: place(&jid).map(|_| jid.clone()),
            thread: None,
        };
        write(sheet, &place, all)?;
    }
    if !by_chat.is_empty() {
        sheet.leave("chats", &format!("{}", by_chat.len()), "no agent heard them");
    }
    Ok(())
}

fn tasks(install: &Install<'_>, central: &Copy, sheet: &mut Sheet, agents: &HashMap<String, (String, String)>) -> Result<(), Failure> {
    let columns = ["id", "group_folder", "chat_jid", "prompt", "schedule_type", "schedule_value", "next_run", "status"];
    for row in rows(central, sheet, "scheduled_tasks", &columns, "created_at") {
        let (id, folder, prompt) = (text(&row, "id"), text(&row, "group_folder"), text(&row, "prompt"));
        let shown = short(&prompt, 80);
        if text(&row, "status") == "completed" {
            sheet.leave("task", &shown, "it is over");
            continue;
        }
        let Some((agent, _)) = agents.get(&folder) else {
            sheet.wrong("task", &shown, "its group is not there");
            continue;
        };
        let value = text(&row, "schedule_value");
        let cron = match text(&row, "schedule_type").as_str() {
            "cron" => Some(value),
            "interval" => value.trim().parse().ok().and_then(every),
            "once" => match super::words::instant(&value).or_else(|| time(&row, "next_run")) {
                Some(at) if at.0 > install.now.0 => {
                    jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(i64::MAX)).ok().map(|at| format!("@once {at}"))
                }
                _ => {
                    sheet.leave("task", &shown, "its time has passed");
                    continue;
                }
            },
            _ => None,
        };
        let Some(cron) = cron else {
            sheet.leave("task", &shown, "its times are none of a calendar: lazaret task add");
            continue;
        };
        sheet.line(&CarryLine::Task {
            id: id.clone(),
            name: short(&format!("{} {id}", name(&folder)), 100),
            cron,
            zone: install.zone.clone(),
            misfire: app::Misfire::Once,
            overlap: app::Overlap::Skip,
            failures_max: None,
            agent: Some(agent.clone()),
            action: json!({ "message": { "text": prompt.replace('\0', "") } }),
        })?;
    }
    Ok(())
}

/// The times of a calendar that come as often as every so many milliseconds, where there are such.
fn every(ms: u64) -> Option<String> {
    let minutes = ms / 60_000;
    match (ms % 60_000, minutes) {
        (0, 1..=59) if 60 % minutes == 0 => Some(if minutes == 1 { "* * * * *".to_owned() } else { format!("*/{minutes} * * * *") }),
        (0, 1440) => Some("0 0 * * *".to_owned()),
        (0, 10080) => Some("0 0 * * 0".to_owned()),
        (0, _) if minutes > 0 && minutes.is_multiple_of(60) && minutes / 60 < 24 && 24 % (minutes / 60) == 0 => {
            Some(if minutes == 60 { "0 * * * *".to_owned() } else { format!("0 */{} * * *", minutes / 60) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_times_of_a_calendar_where_they_can_be() {
        for (ms, expect) in [
            (60_000, Some("* * * * *")),
            (900_000, Some("*/15 * * * *")),
            (3_600_000, Some("0 * * * *")),
            (21_600_000, Some("0 */6 * * *")),
            (86_400_000, Some("0 0 * * *")),
            (7 * 60_000, None),
            (1500, None),
            (0, None),
        ] {
            assert_eq!(every(ms).as_deref(), expect, "{ms}");
        }
    }

    #[test]
    fn chats_are_of_a_network() {
        assert_eq!(place("tg:-100"), Some(("telegram", "-100")));
        assert_eq!(place("dc:1:2"), Some(("discord", "2")));
        assert_eq!(place("123@g.us"), Some(("whatsapp", "123@g.us")));
        assert_eq!(place("__group_sync__"), None);
    }
}
