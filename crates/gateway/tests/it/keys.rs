//! Credentials: the caller's never leave, the host's never come back.

use hyper::Request;
use lazaret_gateway::{Auth, Config, ProviderConfig};
use serde_json::json;
use testkit::model_server::{Fault, Script};

use crate::support::*;

#[tokio::test]
async fn the_callers_credentials_are_replaced() {
    let house = House::new().await;
    for (provider, path) in WIRES {
        let path = format!("{path}{}key=attacker&beta=true", if path.contains('?') { "&" } else { "?" });
        let mut request = post(&path, &prompt(&path, "x"));
        for name in
            ["x-api-key", "authorization", "x-goog-api-key", "cookie", "proxy-authorization", "x-forwarded-host", "anthropic-organization"]
        {
            request.headers_mut().insert(name, "attacker".parse().unwrap());
        }
        assert_eq!(house.whole(identity(provider), request).await.status, 200, "{path}");
    }
    for request in house.server.requests() {
        let all = format!("{} {:?}", request.target, request.headers);
        assert!(!all.contains("attacker"), "{all}");
        assert_eq!(request.credential().as_deref(), Some(CANARY), "{all}");
        assert_eq!(request.headers["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn a_token_travels_as_bearer_with_its_beta() {
    let token = "sk-ant-oat01-CANARYcanary0123456789";
    let house = House::with(Config::default(), Some(token)).await;
    let mut request = post("/v1/messages", &prompt("/v1/messages", "x"));
    request.headers_mut().insert("anthropic-beta", "context-1m-2025-08-07".parse().unwrap());
    assert_eq!(house.whole(identity("anthropic"), request).await.status, 200);
    let sent = &house.server.requests()[0];
    assert_eq!(sent.headers["authorization"], format!("Bearer {token}"));
    assert_eq!(sent.headers["anthropic-beta"], "context-1m-2025-08-07,oauth-2025-04-20");
    assert!(!sent.headers.contains_key("x-api-key"));
}

#[tokio::test]
async fn no_path_of_failure_shows_the_key() {
    let house = House::new().await;
    let reversed: String = CANARY.chars().rev().collect();
    let faults = [
        Fault::ReflectKey(401),
        Fault::ReflectKey(400),
        Fault::ReflectKey(200),
        Fault::ReflectKey(500),
        Fault::Status(403),
        Fault::Redirect,
        Fault::Compressed,
        Fault::ContentType("text/html"),
        Fault::Cut(1),
        Fault::Cut(0),
        Fault::Close,
    ];
    for (provider, path) in WIRES {
        for fault in &faults {
            house.server.fail_next(1, fault.clone());
            let answer = house.call(identity(provider), path, &prompt(path, "x")).await;
            let all = format!("{answer:?}");
            assert!(
                !all.contains(&CANARY[..20]) && !all.contains(&CANARY[20..]) && !all.contains(&reversed[..20]),
                "{path} {fault:?}: {all}"
            );
            assert!(!all.contains("tracker"), "{path} {fault:?}: a cookie passed");
        }
    }
    // Control: the server did reflect it, and so it was there to be found.
    assert_eq!(house.server.requests()[0].credential().as_deref(), Some(CANARY));
    house.server.fail_next(1, Fault::ReflectKey(401));
    let answer = house.call(identity("anthropic"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert!(answer.text.contains("your key *****"), "{answer:?}");
    for row in house.rows(&turn(1)).await {
        assert!(!format!("{row:?}").contains("CANARY"));
    }
}

#[tokio::test]
async fn without_a_key_nothing_leaves() {
    let house = House::with(Config::default(), None).await;
    for (provider, path) in WIRES {
        let answer = house.call(identity(provider), path, &prompt(path, "x")).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "KEY_MISSING"), "{path}");
    }
    assert_eq!(house.whole(identity("openai"), get("/v1/models")).await.code(), "KEY_MISSING");
    assert!(house.server.requests().is_empty());
    let own = providers(&[(
        "local",
        ProviderConfig { keyless: true, free: true, base_url: Some(house.server.url()), ..ProviderConfig::default() },
    )]);
    let local = House::at(
        Config { providers: own, ..Config::default() },
        None,
        testkit::model_server::ModelServer::start(Script::default()).await,
        &house.server.url(),
    );
    assert_eq!(local.call(identity("local"), "/v1/chat/completions", &prompt("/chat", "x")).await.status, 200);
    assert_eq!(house.server.requests()[0].credential(), None);
}

#[tokio::test]
async fn own_headers_and_a_forced_way_are_used() {
    let table = ProviderConfig {
        auth: Auth::Bearer,
        headers: [("chatgpt-account-id".to_owned(), "acc".to_owned())].into(),
        ..ProviderConfig::default()
    };
    let house = House::with(Config { providers: providers(&[("anthropic", table)]), ..Config::default() }, Some(CANARY)).await;
    let mut request = post("/v1/messages", &json!({"model": "m", "max_tokens": 1}));
    request.headers_mut().insert("chatgpt-account-id", "attacker".parse().unwrap());
    house.whole(identity("anthropic"), request).await;
    let sent = &house.server.requests()[0];
    assert_eq!(
        (sent.headers["chatgpt-account-id"].to_str().unwrap(), sent.headers["authorization"].to_str().unwrap()),
        ("acc", format!("Bearer {CANARY}").as_str())
    );
    let _: Request<()> = Request::new(());
}
