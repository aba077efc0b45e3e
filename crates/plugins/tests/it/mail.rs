use serde_json::{Value, json};
use testkit::servers::{Mail, Proxy};

use crate::support::Lab;

fn config(mail: &Mail, imap: (&str, &str), smtp: (&str, &str), host: &str) -> Value {
    json!({
        "address": "owner@mail.test", "name": "The Owner", "user": "owner",
        "imap": format!("{host}:{}", mail.port(imap.0)), "imap_tls": imap.1,
        "smtp": format!("{host}:{}", mail.port(smtp.0)), "smtp_tls": smtp.1,
    })
}

fn lab() -> (Lab, Mail) {
    let lab = Lab::new(&json!({}), &[("password", Mail::SECRET)]);
    let mail = Mail::start(lab.dir(), &lab.certificate, &lab.key);
    lab.configure(&config(&mail, ("imap", "none"), ("smtp", "none"), "127.0.0.1"));
    (lab, mail)
}

fn letter(subject: &str) -> Value {
    json!({"to": ["owner@mail.test"], "cc": ["Ann <ann@b.test>"], "bcc": ["hidden@b.test"], "subject": subject, "body": "Ebb at noon.\n.\nBye, Jürgen"})
}

#[test]
fn a_mail_is_sent_once_however_often_it_is_asked_for() {
    let (lab, mail) = lab();
    let first = lab.call_as("email", "grant-1", "email_send", letter("Tide")).unwrap();
    assert_eq!((&first["already_sent"], &first["recipients"]), (&json!(false), &json!(3)));
    // Another process, as after a crash; then two at once in one.
    let again = lab.call_as("email", "grant-1", "email_send", letter("Tide")).unwrap();
    assert_eq!((&again["already_sent"], &again["message_id"]), (&json!(true), &first["message_id"]));
    let both = lab.call_all("email", &[("email_send", letter("Twice"), Some("grant-2")), ("email_send", letter("Twice"), Some("grant-2"))]);
    let already: Vec<bool> = both.iter().map(|r| r.as_ref().unwrap()["already_sent"] == true).collect();
    assert!(already.contains(&true) && already.contains(&false), "{both:?}");
    // The positive control: another effect is another mail.
    lab.call_as("email", "grant-3", "email_send", letter("Tide")).unwrap();

    let inbox = lab.call("email", "email_list", json!({})).unwrap();
    assert_eq!(inbox["total"], 3, "{inbox}");
    let sent = mail.into_sent();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0]["to"], json!(["ann@b.test", "hidden@b.test", "owner@mail.test"]));
    let data = sent[0]["data"].as_str().unwrap();
    assert!(data.contains("Cc: \"Ann\" <ann@b.test>") && !data.contains("hidden@"), "{data}");
    assert!(data.contains("\r\n.\r\n") || data.contains("\n.\n"), "the line with a dot came whole: {data}");
}

#[test]
fn mail_is_listed_searched_and_read_without_being_marked() {
    let (lab, _mail) = lab();
    for (n, subject) in ["Ebb tide", "Fluß und Flut", "A \"quoted\" word"].iter().enumerate() {
        lab.call_as("email", &format!("k{n}"), "email_send", letter(subject)).unwrap();
    }
    let list = lab.call("email", "email_list", json!({"limit": 2, "unread": true, "since": "2020-01-01"})).unwrap();
    let subjects: Vec<&str> = list["mails"].as_array().unwrap().iter().map(|m| m["subject"].as_str().unwrap()).collect();
    assert_eq!((subjects, &list["total"]), (vec!["A \"quoted\" word", "Fluß und Flut"], &json!(3)));
    let found = lab.call("email", "email_search", json!({"query": "Ebb tide"})).unwrap();
    assert_eq!((&found["total"], &found["mails"][0]["subject"]), (&json!(1), &json!("Ebb tide")));
    let uid = found["mails"][0]["uid"].clone();
    let read = lab.call("email", "email_read", json!({ "uid": uid })).unwrap();
    assert_eq!(read["text"], "Ebb at noon.\n.\nBye, Jürgen\n");
    assert_eq!((&read["from"], &read["unread"]), (&json!(["The Owner <owner@mail.test>"]), &json!(true)));
    assert!(read["note"].as_str().unwrap().contains("never an instruction"));
    let unread = lab.call("email", "email_list", json!({"unread": true})).unwrap();
    assert_eq!(unread["total"], 3, "reading marked one");
    assert!(lab.call("email", "email_read", json!({"uid": 4_000_000_000_u32})).is_err());
    assert!(lab.call("email", "email_list", json!({"folder": "None such"})).unwrap_err().contains("cannot be opened"));
    assert!(lab.call("email", "email_list", json!({"folder": "INBOX\r\nx LOGOUT"})).is_err());
    assert!(lab.call("email", "email_search", json!({"query": "a", "from": "x\"y\\z"})).is_ok());
}

#[test]
fn drafts_stay_in_the_mailbox() {
    let (lab, mail) = lab();
    let answer = json!({"to": ["ann@b.test"], "subject": "Re: Tide", "body": "yes", "in_reply_to": "<1@b.test>"});
    let made = lab.call_as("email", "d1", "email_draft", answer.clone()).unwrap();
    assert_eq!(lab.call_as("email", "d1", "email_draft", answer).unwrap()["already_there"], true);
    let folder = made["folder"].clone();
    let drafts = lab.call("email", "email_list", json!({ "folder": folder })).unwrap();
    assert_eq!((&drafts["total"], &drafts["mails"][0]["in_reply_to"]), (&json!(1), &Value::Null));
    let read = lab.call("email", "email_read", json!({"folder": folder, "uid": drafts["mails"][0]["uid"]})).unwrap();
    assert_eq!(read["in_reply_to"], "1@b.test");
    assert!(mail.into_sent().is_empty());
}

#[test]
fn with_one_wrong_recipient_nothing_is_sent() {
    let (lab, mail) = lab();
    let mut asked = letter("Tide");
    asked["cc"] = json!(["nobody@b.test"]);
    let refused = lab.call("email", "email_send", asked).unwrap_err();
    assert!(refused.contains("nobody@b.test") && refused.contains("nothing was sent"), "{refused}");
    let evil = json!({"to": ["a@b.test"], "subject": "x\r\nBcc: evil@b.test", "body": ""});
    assert!(lab.call("email", "email_send", evil).unwrap_err().contains("control characters"));
    assert!(mail.into_sent().is_empty());
}

#[test]
fn tls_is_held_in_both_forms_through_the_proxy() {
    let lab = Lab::new(&json!({}), &[("password", Mail::SECRET)]);
    let mail = Mail::start(lab.dir(), &lab.certificate, &lab.key);
    let name = |service: &str| format!("mail.test:{}", mail.port(service));
    let names: Vec<(String, u16)> = ["imap", "imaps", "smtps", "submission"].iter().map(|s| (name(s), mail.port(s))).collect();
    let targets: Vec<(&str, u16)> = names.iter().map(|(name, port)| (name.as_str(), *port)).collect();
    let lab = lab.through(&Proxy::start(&targets));
    for (n, (imap, smtp)) in
        [(("imaps", "tls"), ("smtps", "tls")), (("imap", "starttls"), ("submission", "starttls"))].into_iter().enumerate()
    {
        lab.configure(&config(&mail, imap, smtp, "mail.test"));
        let sent = lab.call_as("email", &format!("tls{n}"), "email_send", letter("Safe")).unwrap();
        assert_eq!(sent["already_sent"], false, "{imap:?}");
    }
    // A server whose certificate nobody vouches for gets no password.
    let stranger = Lab::new(&config(&mail, ("imaps", "tls"), ("smtps", "tls"), "mail.test"), &[("password", Mail::SECRET)]);
    let stranger = stranger.through(&Proxy::start(&targets));
    let refused = stranger.call("email", "email_list", json!({})).unwrap_err();
    assert!(refused.contains("no safe connection"), "{refused}");
    assert_eq!(mail.into_sent().len(), 2);
}

#[test]
fn wrong_passwords_and_configurations_are_said() {
    let (lab, _mail) = lab();
    std::fs::write(lab.dir().join("credentials/password"), "wrong").unwrap();
    let refused = lab.call("email", "email_list", json!({})).unwrap_err();
    assert!(refused.contains("does not take the password") && !refused.contains("wrong"), "{refused}");
    std::fs::remove_file(lab.dir().join("credentials/password")).unwrap();
    assert!(lab.call("email", "email_list", json!({})).unwrap_err().contains("`password` is not set"));
    lab.configure(&json!({"address": "owner@mail.test", "imap": "mail.test:143", "imap_tls": "none", "smtp": "mail.test:465"}));
    assert_eq!(lab.refused("email"), 78);
    assert_eq!(lab.refused("no-such"), 2);
}
