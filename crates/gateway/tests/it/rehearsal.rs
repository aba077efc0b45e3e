//! The scripted provider behind the door.

use lazaret_gateway::{Basis, Identity};
use model::Money;

use crate::support::*;

#[tokio::test]
async fn it_answers_every_api_without_key_price_or_network() {
    let house = House::with(lazaret_gateway::Config::default(), None).await;
    for (n, (provider, path)) in WIRES.into_iter().enumerate() {
        for id in [identity("rehearsal"), Identity { rehearsal: true, ..with_budget(provider, "0") }] {
            let id = Identity { turn: turn(n as u128 + 1), ..id };
            let answer = house.call(id.clone(), path, &prompt(path, "good morning\nworld")).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert!(answer.text.contains("rehearsal"), "{path}: {answer:?}");
            let rows = house.rows(&id.turn).await;
            let row = rows.last().unwrap();
            assert_eq!((row.cost, row.basis, row.code), (Money::ZERO, Basis::Free, None));
            assert!(row.usage.output_tokens > 0);
        }
    }
    assert_eq!(house.whole(identity("rehearsal"), get("/v1/models")).await.status, 200);
    assert_eq!(house.call(identity("rehearsal"), "/v1/files", &serde_json::json!({})).await.status, 404);
    assert!(house.server.requests().is_empty());
}
