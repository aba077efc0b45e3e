//! What passes and what does not.

use http_body_util::Full;
use hyper::Request;
use lazaret_gateway::{Config, Identity, ProviderConfig, Remote};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn every_api_answers_in_a_stream_and_whole() {
    let house = House::new().await;
    for (provider, path) in WIRES {
        let answer = house.call(identity(provider), path, &prompt(path, "knock knock")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.head.contains("text/event-stream") && answer.text.contains("You said"), "{path}: {answer:?}");
        let mut body = prompt(path, "knock knock");
        let path = path.replace("streamGenerateContent?alt=sse", "generateContent");
        body.as_object_mut().unwrap().remove("stream");
        let answer = house.call(identity(provider), &path, &body).await;
        assert!(answer.head.contains("application/json") && answer.text.contains("You said: knock knock"), "{path}: {answer:?}");
        assert!(serde_json::from_str::<serde_json::Value>(&answer.text).is_ok());
    }
}

#[tokio::test]
async fn lists_counts_and_probes_answer() {
    let house = House::new().await;
    let count = json!({"model": "m", "messages": []});
    assert!(house.call(identity("anthropic"), "/v1/messages/count_tokens", &count).await.text.contains("input_tokens"));
    assert!(house.call(identity("gemini"), "/v1beta/models/gemini-2.5-pro:countTokens", &count).await.text.contains("totalTokens"));
    for (provider, path) in [("anthropic", "/v1/models"), ("openai", "/v1/models"), ("openai", "/models"), ("gemini", "/v1beta/models")] {
        assert_eq!(house.whole(identity(provider), get(path)).await.status, 200, "{provider} {path}");
    }
    let before = house.server.requests().len();
    for path in ["/", "/api/hello"] {
        let request = Request::head(path).header("host", "x").body(Full::default()).unwrap();
        assert_eq!(house.whole(identity("anthropic"), request).await.status, 200);
    }
    assert_eq!(house.server.requests().len(), before, "a probe stays here");
}

#[tokio::test]
async fn everything_else_does_not_exist() {
    let house = House::new().await;
    for path in [
        "/v1/files", "/v1/messages/batches", "/v1/embeddings", "/v1beta/files", "/v1/organizations/api_keys", "/v1/Messages",
        "/v1/messages%2f",
    ] {
        for provider in ["anthropic", "openai", "gemini"] {
            let answer = house.call(identity(provider), path, &json!({})).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{provider} {path}");
        }
    }
    // A known path of another provider's API does not either.
    let answer = house.call(identity("openai"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"));
    let absolute = Request::post("http://evil.example/v1/messages").body(Full::from("{}")).unwrap();
    house.whole(identity("anthropic"), absolute).await;
    assert!(house.server.requests().iter().all(|r| !r.target.contains("evil")), "the host is never taken from a request");
    let nobody = house.call(identity("nobody"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert_eq!((nobody.status, nobody.code().as_str()), (403, "FORBIDDEN"));
}

#[tokio::test]
async fn only_listed_models_are_called_by_any_spelling() {
    let house = House::new().await;
    let listed = || Identity { models: vec!["claude-haiku-4.5".into()], ..identity("anthropic") };
    let call =
        async |model: &str| house.call(listed(), "/v1/messages", &json!({"model": model, "max_tokens": 1, "messages": []})).await.status;
    assert_eq!(call("claude-haiku-4-5-20251001").await, 200);
    assert_eq!(call("anthropic/Claude-Haiku-4.5").await, 200);
    for other in ["claude-opus-4-1", "claude-haiku-4-5/claude-opus-4-1", "claude-haiku-4-5 ", "", "claude-haiku-4"] {
        assert!([400, 403].contains(&call(other).await), "{other}");
    }
}

#[tokio::test]
async fn the_provider_is_no_way_to_the_network() {
    let house = House::new().await;
    let messages = |more: serde_json::Value| {
        let mut body = prompt("/v1/messages", "x");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for bad in [
        json!({"mcp_servers": [{"type": "url", "url": "https://evil.example"}]}),
        json!({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://evil.example/?secret"}}]}]}),
    ] {
        let answer = house.call(identity("anthropic"), "/v1/messages", &messages(bad)).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"));
    }
    assert!(house.server.requests().is_empty());
    let search = messages(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}, {"name": "Read", "input_schema": {}}]}));
    assert_eq!(house.call(identity("anthropic"), "/v1/messages", &search).await.status, 200);
    assert_eq!(house.server.requests()[0].json()["tools"], json!([{"name": "Read", "input_schema": {}}]));

    let open = House::with(Config { remote: Remote::Allow, ..Config::default() }, None).await;
    let keyless = providers(&[("anthropic", ProviderConfig { keyless: true, ..ProviderConfig::default() })]);
    let open = House::at(Config { remote: Remote::Allow, providers: keyless, ..Config::default() }, None, open.server, &house.server.url());
    house.server.set_script(testkit::model_server::Script::default());
    assert_eq!(open.call(identity("anthropic"), "/v1/messages", &search).await.status, 200);
    assert_eq!(house.server.requests()[1].json(), search, "control: when allowed, it passes unchanged");
}

#[tokio::test]
async fn a_default_model_is_put_in() {
    let house = House::new().await;
    let known = || Identity { model: Some("claude-haiku-4-5".into()), ..identity("anthropic") };
    for body in [json!({"max_tokens": 1, "messages": []}), json!({"model": "default", "max_tokens": 1, "messages": []})] {
        assert_eq!(house.call(known(), "/v1/messages", &body).await.status, 200);
    }
    assert!(house.server.requests().iter().all(|r| r.json()["model"] == "claude-haiku-4-5"));
    assert_eq!(house.call(identity("anthropic"), "/v1/messages", &json!({"max_tokens": 1})).await.status, 400);
}
