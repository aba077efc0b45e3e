//! Budgets never give out more than there is.

use lazaret_store::{SlabId, StoreError};
use model::{Code, Money};

use crate::common::{NOW, home, open};

#[tokio::test]
async fn slabs_never_exceed_the_limit() {
    let home = home();
    let store = open(home.path());
    let limit = Money(1000);
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let store = store.clone();
            spawn(async move { store.lease_slab("day", limit, Money(30), Money(10), NOW).await })
        })
        .collect();
    let (mut given, mut refused) = (0, 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(slab) => given += slab.amount.0,
            Err(error) => {
                assert_eq!(error.code(), Code::BudgetExceeded);
                refused += 1;
            }
        }
    }
    assert_eq!((given, refused), (1000, 200 - 34), "33 whole slabs and a last one of what was left");
    assert_eq!(store.budget_spent("day").await.unwrap(), limit);
    assert_eq!(store.budget_spent("other").await.unwrap(), Money::ZERO);
}

#[tokio::test]
async fn what_was_not_used_comes_back_once() {
    let home = home();
    let store = open(home.path());
    let lease = async |wish, least| store.lease_slab("s", Money(100), Money(wish), Money(least), NOW).await;
    let slab = lease(80, 80).await.unwrap();
    assert!(matches!(lease(30, 30).await, Err(StoreError::Budget { left: Money(20), .. })));
    store.settle_slab(slab.id, Money(50), NOW).await.unwrap();
    assert!(matches!(store.settle_slab(slab.id, Money(0), NOW).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.budget_spent("s").await.unwrap(), Money(50));
    let over = lease(50, 1).await.unwrap();
    store.settle_slab(over.id, Money(70), NOW).await.unwrap();
    assert_eq!(store.budget_spent("s").await.unwrap(), Money(120), "what was spent beyond a slab counts too");
    assert!(lease(1, 1).await.is_err());
    assert_eq!(store.settle_slab(SlabId(99), Money(0), NOW).await.unwrap_err().code(), Code::NotFound);
    for (wish, least) in [(0, 0), (1, 2)] {
        assert!(matches!(lease(wish, least).await, Err(StoreError::Invalid { .. })));
    }
}

#[tokio::test]
async fn a_slab_that_was_open_when_the_program_died_is_spent() {
    let home = home();
    let store = open(home.path());
    let slab = store.lease_slab("s", Money(100), Money(60), Money(60), NOW).await.unwrap();
    let copy = crate::common::snapshot(home.path());
    store.settle_slab(slab.id, Money(1), NOW).await.unwrap();
    assert_eq!(store.budget_spent("s").await.unwrap(), Money(1));
    let store = open(copy.path());
    assert_eq!(store.budget_spent("s").await.unwrap(), Money(60));
    assert!(store.lease_slab("s", Money(100), Money(60), Money(60), NOW).await.is_err());
}

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle")]
fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
