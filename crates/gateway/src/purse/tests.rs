use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::{BoxFuture, FutureExt, join_all};

use super::*;
use crate::Call;

#[derive(Default)]
struct Paper {
    drawn: Mutex<HashMap<BudgetKey, u64>>,
    draws: AtomicU64,
    broken: AtomicBool,
}

impl Ledger for Paper {
    fn draw<'a>(&'a self, key: &'a BudgetKey, limit: Money, want: Money) -> BoxFuture<'a, Result<Money, LedgerError>> {
        async move {
            tokio::task::yield_now().await;
            if self.broken.load(Ordering::SeqCst) {
                return Err(LedgerError("disk full".into()));
            }
            self.draws.fetch_add(1, Ordering::SeqCst);
            let granted = {
                let mut drawn = self.drawn.lock().unwrap();
                let sum = drawn.entry(key.clone()).or_default();
                let granted = want.0.min(limit.0.saturating_sub(*sum));
                *sum += granted;
                granted
            };
            tokio::task::yield_now().await;
            Ok(Money(granted))
        }
        .boxed()
    }
    fn give_back<'a>(&'a self, key: &'a BudgetKey, unspent: Money) -> BoxFuture<'a, Result<(), LedgerError>> {
        async move {
            *self.drawn.lock().unwrap().get_mut(key).unwrap() -= unspent.0;
            Ok(())
        }
        .boxed()
    }
    fn record<'a>(&'a self, _: &'a [Call]) -> BoxFuture<'a, Result<(), LedgerError>> {
        async { Ok(()) }.boxed()
    }
}

fn budget(name: &str, limit: u64) -> Budget {
    Budget { key: BudgetKey(name.into()), limit: Money(limit) }
}

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn many_at_once_never_overspend() {
    let paper = Arc::new(Paper::default());
    let purse = Arc::new(Purse::new(paper.clone(), TaskTracker::new()));
    let budgets = [budget("session", 10_000_000), budget("day", 50_000_000)];
    purse.enter(&budgets);
    let spent = AtomicU64::new(0);
    let calls = (0..200u64).map(|n| {
        let (purse, budgets, spent) = (&purse, &budgets, &spent);
        async move {
            if let Ok(held) = purse.reserve(budgets, Money(1_500_000), WAIT).await {
                tokio::task::yield_now().await;
                let cost = if n % 3 == 0 { 1_500_000 } else { 90_000 };
                spent.fetch_add(cost, Ordering::SeqCst);
                held.settle(Money(cost));
            }
        }
    });
    join_all(calls).await;
    let spent = spent.load(Ordering::SeqCst);
    assert!(spent > 5_000_000 && spent <= 10_000_000, "{spent}");
    purse.leave(&budgets).await;
    let drawn = paper.drawn.lock().unwrap();
    assert_eq!(drawn[&budgets[0].key], spent);
    assert_eq!(drawn[&budgets[1].key], spent);
}

#[tokio::test]
async fn a_call_waits_for_others_to_settle_but_not_in_vain() {
    let purse = Purse::new(Arc::new(Paper::default()), TaskTracker::new());
    let budgets = [budget("b", 100)];
    purse.enter(&budgets);
    let first = purse.reserve(&budgets, Money(80), WAIT).await.unwrap();
    let mut second = Box::pin(purse.reserve(&budgets, Money(60), WAIT));
    assert!(futures_util::poll!(&mut second).is_pending());
    first.settle(Money(30));
    second.await.unwrap().settle(Money(60));
    assert!(matches!(purse.reserve(&budgets, Money(60), WAIT).await, Err(PurseError::Exceeded { .. })));
    assert!(purse.reserve(&budgets, Money(10), WAIT).await.is_ok());
}

#[tokio::test]
async fn what_is_drawn_for_a_call_that_is_given_up_is_not_spent() {
    let paper = Arc::new(Paper::default());
    let purse = Purse::new(paper.clone(), TaskTracker::new());
    let budgets = [budget("b", 100)];
    purse.enter(&budgets);
    let drawn = || paper.drawn.lock().unwrap().values().sum::<u64>();
    let mut given_up = Box::pin(purse.reserve(&budgets, Money(50), WAIT));
    while drawn() == 0 {
        assert!(futures_util::poll!(&mut given_up).is_pending());
        tokio::task::yield_now().await;
    }
    drop(given_up);
    purse.leave(&budgets).await;
    assert_eq!(drawn(), 0);
}

#[tokio::test]
async fn a_dropped_reservation_is_spent_and_a_dear_reply_is_a_debt() {
    let paper = Arc::new(Paper::default());
    let purse = Purse::new(paper.clone(), TaskTracker::new());
    let budgets = [budget("b", 100)];
    purse.enter(&budgets);
    drop(purse.reserve(&budgets, Money(50), WAIT).await.unwrap());
    let held = purse.reserve(&budgets, Money(20), WAIT).await.unwrap();
    assert_eq!(held.worst(), Money(20));
    held.settle(Money(70));
    assert!(purse.reserve(&budgets, Money(1), WAIT).await.is_err());
    purse.leave(&budgets).await;
    assert_eq!(paper.drawn.lock().unwrap()[&budgets[0].key], 100);
}

#[tokio::test]
async fn one_refusing_budget_leaves_the_others_whole() {
    let paper = Arc::new(Paper::default());
    let purse = Purse::new(paper.clone(), TaskTracker::new());
    let budgets = [budget("a", 1_000), budget("z", 10)];
    purse.enter(&budgets);
    assert!(purse.reserve(&budgets, Money(20), WAIT).await.is_err());
    purse.leave(&budgets).await;
    assert_eq!(paper.drawn.lock().unwrap()[&budgets[0].key], 0);
}

#[tokio::test]
async fn a_broken_ledger_and_an_unknown_turn_are_refused() {
    let paper = Arc::new(Paper::default());
    let purse = Purse::new(paper.clone(), TaskTracker::new());
    let budgets = [budget("a", 1_000)];
    assert!(matches!(purse.reserve(&budgets, Money(1), WAIT).await, Err(PurseError::Exceeded { .. })));
    purse.enter(&budgets);
    paper.broken.store(true, Ordering::SeqCst);
    assert!(matches!(purse.reserve(&budgets, Money(1), WAIT).await, Err(PurseError::Ledger(_))));
    paper.broken.store(false, Ordering::SeqCst);
    assert!(purse.reserve(&budgets, Money(1), WAIT).await.is_ok());
}

#[tokio::test]
async fn slabs_keep_the_ledger_out_of_the_way() {
    let paper = Arc::new(Paper::default());
    let purse = Purse::new(paper.clone(), TaskTracker::new());
    let budgets = [budget("a", 1_000_000)];
    purse.enter(&budgets);
    for _ in 0..1_000 {
        purse.reserve(&budgets, Money(1_000), WAIT).await.unwrap().settle(Money(900));
    }
    assert!(paper.draws.load(Ordering::SeqCst) <= 20);
}
