//! What is counted.

use lazaret_gateway::{Basis, Identity};
use model::Usage;
use testkit::model_server::Script;

use crate::support::*;

#[tokio::test]
async fn every_api_is_counted_and_priced() {
    let house = House::new().await;
    let usage = Usage { input_tokens: 1_000, output_tokens: 100, cache_read_tokens: 10_000, cache_write_tokens: 0 };
    house.server.set_script(Script { key: Some(CANARY.into()), usage, ..Script::default() });
    // Haiku 1/5/0.10, nano 0.05/0.40/0.005, Gemini 2.5 Pro 1.25/10/0.31 dollars for a million.
    let costs = ["$0.002500", "$0.000140", "$0.000140", "$0.005350"];
    for (n, ((provider, path), cost)) in WIRES.into_iter().zip(costs).enumerate() {
        let id = Identity { turn: turn(n as u128 + 1), ..with_budget(provider, "5") };
        assert_eq!(house.call(id.clone(), path, &prompt(path, "x")).await.status, 200);
        assert_eq!(house.gateway.usage_of(&id.turn).0, usage, "{path}");
        let rows = house.rows(&id.turn).await;
        assert_eq!((rows[0].usage, rows[0].cost.to_string().as_str(), rows[0].basis), (usage, cost, Basis::Counted), "{path}");
    }
    assert_eq!(house.gateway.usage_of(&turn(1)), Default::default(), "a finished turn is forgotten");
}

#[tokio::test]
async fn a_chat_stream_is_made_to_tell_its_usage() {
    let house = House::new().await;
    house.call(identity("openai"), "/v1/chat/completions", &prompt("/chat", "x")).await;
    assert_eq!(house.server.requests()[0].json()["stream_options"]["include_usage"], true);
}
