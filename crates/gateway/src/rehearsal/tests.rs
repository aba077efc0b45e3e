use serde_json::{Value, json};

use super::*;
use crate::meter::{Framing, Meter};

/// One request in each API: the prompt, and what comes after it when a tool has answered.
fn request(wire: Wire, stream: bool, prompt: &str, output: Option<&str>, with_tool: bool) -> Value {
    let schema = json!({"type": "object", "properties": {"command": {"type": "string"}, "description": {"type": "string"}}, "required": ["command", "description"]});
    let mut value = match wire {
        Wire::Messages => json!({"model": "m", "stream": stream, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>"}, {"type": "text", "text": prompt}]}]}),
        Wire::Chat => {
            json!({"model": "m", "stream": stream, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": prompt}]})
        }
        Wire::Responses => json!({"model": "m", "stream": stream, "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}]}),
        Wire::Generate => json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}),
    };
    if with_tool {
        value["tools"] = match wire {
            Wire::Messages => json!([{"name": "Read", "input_schema": {}}, {"name": "Bash", "input_schema": schema}]),
            Wire::Chat => json!([{"type": "function", "function": {"name": "Bash", "parameters": schema}}]),
            Wire::Responses => {
                json!([{"type": "namespace", "name": "mcp__x", "tools": [{"name": "bash"}]}, {"type": "function", "name": "Bash", "parameters": schema}])
            }
            Wire::Generate => json!([{"functionDeclarations": [{"name": "Bash", "parametersJsonSchema": schema}]}]),
        };
    }
    if let Some(output) = output {
        let (list, more) = match wire {
            Wire::Messages => (
                "messages",
                json!({"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": output}]}, {"type": "text", "text": "<system-reminder>y"}]}),
            ),
            Wire::Chat => ("messages", json!({"role": "tool", "content": output})),
            Wire::Responses => ("input", json!({"type": "function_call_output", "output": output})),
            Wire::Generate => ("contents", json!({"role": "user", "parts": [{"functionResponse": {"response": {"output": output}}}]})),
        };
        value[list].as_array_mut().unwrap().push(more);
    }
    value
}

const WIRES: [Wire; 4] = [Wire::Messages, Wire::Chat, Wire::Responses, Wire::Generate];

fn play(wire: Wire, stream: bool, value: &Value) -> (Reply, Rendered) {
    let mut value = value.clone();
    value["stream_options"] = json!({"include_usage": true});
    let asked =
        Asked::read(wire, value.to_string().as_bytes(), (wire == Wire::Generate).then_some("m"), wire == Wire::Generate && stream, true)
            .unwrap();
    let reply = rehearse(&asked);
    let rendered = render(wire, &asked, &reply);
    assert_eq!(rendered, render(wire, &asked, &reply), "the same request, the same bytes");
    (reply, rendered)
}

#[test]
fn it_calls_the_shell_once_and_then_tells_what_it_printed() {
    for wire in WIRES {
        for stream in [false, true] {
            let (reply, rendered) = play(wire, stream, &request(wire, stream, "first line\nsecond", None, true));
            assert_eq!(reply.calls.len(), 1, "{wire:?}");
            assert_eq!(reply.calls[0].name, "Bash");
            assert_eq!(reply.calls[0].input, json!({"command": "uname -a && ls -la", "description": "Look at the machine"}));
            let text = rendered.pieces.concat();
            assert!(String::from_utf8_lossy(&text).contains("uname"), "{wire:?}");
            let (reply, _) = play(wire, stream, &request(wire, stream, "first line\nsecond", Some("Linux box\n"), true));
            assert!(
                reply.calls.is_empty()
                    && reply.text.contains("rehearsal")
                    && reply.text.contains("You wrote: first line\n")
                    && reply.text.ends_with("Linux box"),
                "{wire:?}: {}",
                reply.text
            );
        }
    }
}

#[test]
fn without_a_tool_it_only_speaks() {
    for wire in WIRES {
        let (reply, _) = play(wire, false, &request(wire, false, "a title please", None, false));
        assert!(reply.calls.is_empty() && reply.text.ends_with("a title please"), "{wire:?}");
    }
}

#[test]
fn the_meter_reads_every_rendering() {
    for wire in WIRES {
        for stream in [false, true] {
            for output in [None, Some("x")] {
                let (reply, rendered) = play(wire, stream, &request(wire, stream, "hi", output, true));
                let mut meter = Meter::new(wire, if rendered.content_type == EVENTS { Framing::Events } else { Framing::Json });
                rendered.pieces.iter().for_each(|piece| meter.feed(piece));
                assert_eq!(meter.count().map(|c| c.usage), Some(reply.usage), "{wire:?} {stream}");
                assert!(meter.has_ended() && meter.error().is_none(), "{wire:?} {stream}");
                assert_eq!(rendered.content_type == EVENTS, stream, "{wire:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_shell_tool_is_called_in_its_own_way() {
    let call = |name: &str, schema: Value| {
        let value = json!({"input": "x", "tools": [{"type": "function", "name": name, "parameters": schema}]});
        let asked = Asked::read(Wire::Responses, value.to_string().as_bytes(), None, false, true).unwrap();
        shell_call(&asked, "ls").map(|call| call.input)
    };
    assert_eq!(call("shell", json!({"properties": {"command": {"type": "array"}}})), Some(json!({"command": ["bash", "-lc", "ls"]})));
    assert_eq!(
        call("exec_command", json!({"properties": {"cmd": {"type": "string"}, "n": {"type": "number"}}, "required": ["cmd", "n"]})),
        Some(json!({"cmd": "ls", "n": 1}))
    );
    assert_eq!(
        call(
            "run_shell_command",
            json!({"properties": {"command": {"type": "STRING"}, "is_background": {"type": "BOOLEAN"}}, "required": ["command", "is_background"]})
        ),
        Some(json!({"command": "ls", "is_background": false}))
    );
    assert_eq!(call("read_file", json!({})), None);
}

/// Tests and people without a key drive every tool of an engine this way.
#[test]
fn a_prompt_says_which_tools_are_called() {
    for wire in WIRES {
        let prompt = "Do this:\ncall Bash {\"command\": \"true\"}\ncall nothing {}\ncall Bash not json\n call Bash {\"command\": \"id\"}";
        let (reply, _) = play(wire, true, &request(wire, true, prompt, None, true));
        assert_eq!((reply.calls[0].name.as_str(), &reply.calls[0].input), ("Bash", &json!({"command": "true"})));
        let after = |outputs: usize| {
            let mut value = request(wire, true, prompt, Some("printed"), true);
            for _ in 1..outputs {
                let list = ["messages", "input", "contents"].into_iter().find(|list| value[*list].is_array()).unwrap();
                let last = value[list].as_array().unwrap().last().unwrap().clone();
                value[list].as_array_mut().unwrap().push(last);
            }
            play(wire, true, &value).0
        };
        assert_eq!(after(1).calls[0].input, json!({"command": "id"}));
        assert!(after(2).calls.is_empty() && after(2).text.contains("The tool `Bash` gave back:\n\nprinted"), "{:?}", after(2));
    }
}
