use proptest::prelude::*;

use super::*;

const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":100,",
    "\"cache_read_input_tokens\":7,\"cache_creation\":{\"ephemeral_5m_input_tokens\":40,\"ephemeral_1h_input_tokens\":60},\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"{\\\"usage\\\":{\\\"output_tokens\\\":9999}}\"}}\n\n",
    "event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\r\n\r\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);
const CHAT: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":5,\"total_tokens\":35,\"prompt_tokens_details\":{\"cached_tokens\":10}}}\n\n",
    "data: [DONE]\n\n",
);
const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n",
    "data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":\"message\"}],\"usage\":{\"input_tokens\":50,",
    "\"input_tokens_details\":{\"cached_tokens\":20},\"output_tokens\":9,\"output_tokens_details\":{\"reasoning_tokens\":4},\"total_tokens\":59}}}\n\n",
);
const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":11,\"candidatesTokenCount\":1,\"totalTokenCount\":12}}\r\n\r\n",
    "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":11,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":6,",
    "\"cachedContentTokenCount\":3,\"totalTokenCount\":21,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":11}]}}\r\n\r\n",
);

/// Input, output, cache read, cache write, and of that for an hour.
type Counts = (u64, u64, u64, u64, u64);

fn read(wire: Wire, framing: Framing, text: &str, cut: usize) -> (Option<Counts>, bool, Option<Code>) {
    let mut meter = Meter::new(wire, framing);
    for piece in text.as_bytes().chunks(cut) {
        meter.feed(piece);
    }
    let count = meter.count().map(|c| {
        (c.usage.input_tokens, c.usage.output_tokens, c.usage.cache_read_tokens, c.usage.cache_write_tokens, c.cache_write_long_tokens)
    });
    (count, meter.has_ended(), meter.error())
}

#[test]
fn every_stream_is_read_at_any_split() {
    for (wire, text, expect) in [
        (Wire::Messages, MESSAGES, (25, 15, 7, 100, 60)),
        (Wire::Chat, CHAT, (20, 5, 10, 0, 0)),
        (Wire::Responses, RESPONSES, (30, 9, 20, 0, 0)),
        (Wire::Generate, GEMINI, (8, 10, 3, 0, 0)),
    ] {
        for cut in 1..text.len() {
            assert_eq!(read(wire, Framing::Events, text, cut), (Some(expect), true, None), "{wire:?} cut {cut}");
        }
    }
}

#[test]
fn every_body_is_read() {
    let check = |wire, text: &str, expect| {
        for cut in [1, 3, 1000] {
            assert_eq!(read(wire, Framing::Json, text, cut), (expect, true, None), "{wire:?}");
        }
    };
    check(Wire::Messages, r#"{"type":"message","usage":{"input_tokens":5,"output_tokens":7}}"#, Some((5, 7, 0, 0, 0)));
    check(Wire::Chat, r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#, Some((5, 7, 0, 0, 0)));
    check(Wire::Responses, r#"{"object":"response","usage":{"input_tokens":5,"output_tokens":7}}"#, Some((5, 7, 0, 0, 0)));
    check(
        Wire::Generate,
        r#"[{"usageMetadata":{"promptTokenCount":5}},{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":7}}]"#,
        Some((5, 7, 0, 0, 0)),
    );
    check(Wire::Chat, r#"{"choices":[]}"#, None);
}

#[test]
fn a_stream_that_was_cut_has_not_ended() {
    for (wire, text) in [(Wire::Messages, MESSAGES), (Wire::Chat, CHAT), (Wire::Responses, RESPONSES), (Wire::Generate, GEMINI)] {
        let (count, ended, _) = read(wire, Framing::Events, &text[..text.len() / 4], 5);
        assert!(!ended, "{wire:?}");
        assert!(wire == Wire::Generate || count.is_none(), "{wire:?}");
    }
    assert!(!read(Wire::Chat, Framing::Json, r#"{"usage":{"prompt_tokens":5"#, 4).1);
}

#[test]
fn errors_inside_a_stream_are_seen() {
    let check = |wire, text: &str, expect| assert_eq!(read(wire, Framing::Events, text, 4).2, Some(expect), "{text}");
    check(Wire::Messages, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n", Code::ProviderLimited);
    check(Wire::Messages, "data: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n", Code::ProviderError);
    check(Wire::Responses, "data: {\"type\":\"response.failed\",\"response\":{}}\n\n", Code::ProviderError);
    check(Wire::Chat, "data: {\"error\":{\"message\":\"no\"}}\n\n", Code::ProviderError);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_split_matters(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 1usize..40, which in 0usize..4, events in any::<bool>()) {
        let wire = [Wire::Messages, Wire::Chat, Wire::Responses, Wire::Generate][which];
        let framing = if events { Framing::Events } else { Framing::Json };
        let (mut one, mut many) = (Meter::new(wire, framing), Meter::new(wire, framing));
        one.feed(&bytes);
        for piece in bytes.chunks(cut) {
            many.feed(piece);
        }
        prop_assert_eq!(one.count(), many.count());
        prop_assert_eq!(one.has_ended(), many.has_ended());
    }

    #[test]
    fn json_like_bytes_do_not_either(text in "[\\[\\]{}:,\"\\\\ a0-9.e-]{0,300}", cut in 1usize..20) {
        let (mut one, mut many) = (Meter::new(Wire::Generate, Framing::Json), Meter::new(Wire::Generate, Framing::Json));
        one.feed(text.as_bytes());
        for piece in text.as_bytes().chunks(cut) {
            many.feed(piece);
        }
        prop_assert_eq!(one.count(), many.count());
        prop_assert_eq!(one.has_ended(), many.has_ended());
    }
}
