//! The tools that the owner allows, offered to the model beside those of this program.

use std::path::Path;
use std::time::Duration;

use super::chat::Call;
use super::events::Events;
use super::tools::{self, OUTPUT_BYTES_MAX, Offer};
use crate::ipc::{self, DoorError, Gate, Host, Outcome, Waits};

/// How long the list of tools is waited for, which a busy machine takes its time for, and a host that is away: a turn goes on without it.
const LIST_WAIT: Duration = Duration::from_secs(30);
const HOST_WAIT: Duration = Duration::from_millis(500);

/// What may be called over the host's socket, as of one turn.
#[derive(Debug, Default)]
pub(super) struct Granted {
    host: Option<Host>,
    tools: Vec<Offer>,
}

impl Granted {
    /// Asks the host behind `socket`. Without a socket there is nothing; a host that gives no list is told of.
    pub(super) fn ask(socket: Option<&Path>, events: &mut Events) -> Self {
        let Some(socket) = socket else { return Self::default() };
        let waits = Waits { answer: LIST_WAIT, host: HOST_WAIT, person: LIST_WAIT };
        let listed = ipc::list(&Host::new(socket, waits)).unwrap_or_else(|error| {
            events.notice(&format!("the tools that the owner allows are not there: {error}"));
            Vec::new()
        });
        let offer = |tool: ipc::Tool| Offer { name: tool.name, description: tool.description, schema: tool.schema };
        // A name has one meaning; the tools of this program keep theirs.
        let is_free = |tool: &ipc::Tool| tools::ALL.iter().all(|own| own.name != tool.name);
        let tools = listed.into_iter().filter(is_free).map(offer).collect();
        Self { host: Some(Host::new(socket, Waits::default())), tools }
    }

    /// The tools as requests name them.
    pub(super) fn offers(&self) -> impl Iterator<Item = Offer> {
        self.tools.iter().cloned()
    }

    /// Makes a call where the tool is one of these: what it gave, and whether it failed.
    pub(super) fn call(&self, call: &Call, events: &mut Events) -> Option<(String, bool)> {
        let host = self.host.as_ref().filter(|_| self.tools.iter().any(|tool| tool.name == call.name))?;
        let outcome = made(host, call, events);
        let (mut text, is_error) = ipc::spoken(&outcome);
        if text.len() > OUTPUT_BYTES_MAX {
            let left_out = text.len() - text.floor_char_boundary(OUTPUT_BYTES_MAX);
            text.truncate(text.floor_char_boundary(OUTPUT_BYTES_MAX));
            text.push_str(&format!("\n[{left_out} bytes left out]"));
        }
        if let Some(mark) = ipc::origin(&outcome).and_then(ipc::marked) {
            text = format!("{mark}\n{text}");
        }
        Some((text, is_error))
    }
}

fn made(host: &Host, call: &Call, events: &mut Events) -> Result<Outcome, DoorError> {
    let request = ipc::Call::new(&format!("tool.invoke.{}", call.name), &call.input.to_string())?;
    let mut is_told = false;
    host.call(&request, &Gate::default(), &mut |approval| {
        if !is_told {
            events.notice(&format!("{} waits for a person to confirm it ({approval})", call.name));
        }
        is_told = true;
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use serde_json::{Value, json};

    use super::*;
    use crate::ipc::fake::{read_request, send};

    /// A host that lists two tools, one of them with a name that is taken, and answers one call.
    #[test]
    fn granted_tools_stand_beside_the_own_ones() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("host.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let schema = json!({ "type": "object" });
        let tools = json!([{ "name": "bash", "schema": schema }, { "name": "note", "description": "Notes.", "schema": schema }]);
        let long = "é".repeat(OUTPUT_BYTES_MAX);
        let host = std::thread::spawn(move || {
            let answers = [
                (json!({ "tools": tools }), Value::Null),
                (json!(long), Value::Null),
                (Value::Null, json!({ "code": "X", "message": "no" })),
            ];
            answers.map(|(result, error)| {
                let (mut stream, _) = listener.accept().expect("accepted");
                let asked = read_request(&mut stream);
                send(&mut stream, &json!({ "correlation": asked["correlation"], "result": result, "error": error }));
                asked
            })
        });
        let mut events = Events::to(std::io::sink());
        let granted = Granted::ask(Some(&socket), &mut events);
        let names: Vec<String> = granted.offers().map(|offer| offer.name).collect();
        assert_eq!(names, ["note"]);
        let call = |name: &str| Call { id: "1".into(), name: name.into(), input: json!({ "a": 1 }) };
        assert_eq!(granted.call(&call("bash"), &mut events), None);
        let (text, is_error) = granted.call(&call("note"), &mut events).expect("granted");
        assert!(!is_error && text.len() < OUTPUT_BYTES_MAX + 40 && text.ends_with(" bytes left out]"));
        assert_eq!(granted.call(&call("note"), &mut events), Some(("X: no".to_owned(), true)));
        let asked = host.join().expect("served");
        assert_eq!((&asked[1]["topic"], &asked[1]["arguments"]), (&json!("tool.invoke.note"), &json!({ "a": 1 })));
        // Arguments that are no object never leave.
        let wrong = Call { input: json!("{"), ..call("note") };
        assert!(granted.call(&wrong, &mut events).expect("granted").1);
        assert!(Granted::ask(None, &mut events).offers().next().is_none());
    }
}
