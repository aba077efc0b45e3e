//! Organisations, their quotas and their people.

use lazaret_store::{Arrival, Claim, EVERY_TENANT, NewSession, NewToken, Quota, StoreError, TenantState};
use model::{Code, Money, Timestamp, UserId};

use crate::common::{NOW, home, new_session, new_token, open};

fn arrival(n: u128, subject: &str, email: &str, rules: &[(&str, &str)]) -> Arrival {
    Arrival {
        id: UserId::from_bits(n),
        issuer: "https://id".into(),
        subject: subject.into(),
        email: email.into(),
        name: "Anna".into(),
        rules: rules.iter().map(|(tenant, role)| ((*tenant).into(), (*role).into())).collect(),
        now: NOW,
    }
}

#[tokio::test]
async fn a_quota_is_held_where_the_thing_is_made() {
    let home = home();
    let store = open(home.path());
    let quota = Quota { sessions: Some(1), tokens: Some(1), ..Quota::default() };
    store.put_tenant("crew", Some("The crew".into()), None, Some(quota), NOW, true).await.unwrap();
    assert!(matches!(store.put_tenant("crew", None, None, None, NOW, true).await, Err(StoreError::Conflict(_))));
    let session = || NewSession { tenant: "crew".into(), ..new_session() };
    store.create_session(session()).await.unwrap();
    // Asked at once, they do not share the last place.
    let refused = store.create_session(session()).await.unwrap_err();
    assert_eq!((refused.code(), refused.to_string()), (Code::QuotaExceeded, "tenant `crew` has its quota of 1 sessions".into()));
    store.create_session(new_session()).await.unwrap();
    assert!(store.check_quota("crew", Claim::Session, NOW).await.is_err() && store.check_quota("crew", Claim::Job, NOW).await.is_ok());
    assert!(store.check_quota("nobody", Claim::Session, NOW).await.is_ok(), "one that was never set up has none");
    let token = |n| NewToken { tenant: "crew".into(), ..new_token(n) };
    store.create_token(NewToken { expires: Some(Timestamp(NOW.0 + 5)), ..token(1) }).await.unwrap();
    assert!(matches!(store.create_token(token(2)).await, Err(StoreError::Quota { .. })));
    store.create_token(NewToken { now: Timestamp(NOW.0 + 5), ..token(2) }).await.unwrap();
    store.put_tenant("crew", None, Some(TenantState::Suspended), None, NOW, false).await.unwrap();
    assert!(matches!(store.check_quota("crew", Claim::Turn, NOW).await, Err(StoreError::Suspended(_))));
    assert_eq!(store.tenant("crew").await.unwrap().quota, quota, "what is not said stays");
}

#[tokio::test]
async fn a_days_dollars_end_with_the_day() {
    let home = home();
    let store = open(home.path());
    let quota = Quota { usd_per_day: Some(0.5), ..Quota::default() };
    store.put_tenant("crew", None, None, Some(quota), NOW, true).await.unwrap();
    let key = lazaret_store::day_quota_key("crew", NOW);
    let half = Money(500_000_000);
    store.lease_slab(&key, half, half, half, NOW).await.unwrap();
    assert!(matches!(store.check_quota("crew", Claim::Job, NOW).await, Err(StoreError::Quota { .. })));
    assert!(store.check_quota("crew", Claim::Session, NOW).await.is_ok());
    assert!(store.check_quota("crew", Claim::Job, Timestamp(NOW.0 + 86_400_000)).await.is_ok(), "tomorrow");
}

#[tokio::test]
async fn a_token_is_seen_with_what_decides_over_it() {
    let home = home();
    let store = open(home.path());
    let member = store.arrive(arrival(1, "anna", "anna@x.org", &[("crew", "member")])).await.unwrap();
    assert_eq!((member.len(), member[0].role.as_str(), member[0].by_rule), (1, "member", true));
    let id = member[0].user.id.clone();
    let seen = async |n| store.token_seen(new_token(n).hash).await.unwrap().unwrap();
    store.create_token(NewToken { tenant: EVERY_TENANT.into(), ..new_token(1) }).await.unwrap();
    assert!(seen(1).await.is_active && store.token_seen([9; 32]).await.unwrap().is_none());
    store.create_token(NewToken { tenant: "crew".into(), member: Some(id.clone()), ..new_token(2) }).await.unwrap();
    assert_eq!((seen(2).await.is_active, seen(2).await.role.as_deref()), (true, Some("member")));
    store.put_tenant("crew", None, Some(TenantState::Suspended), None, NOW, false).await.unwrap();
    assert!(!seen(2).await.is_active);
    store.put_tenant("crew", None, Some(TenantState::Active), None, NOW, false).await.unwrap();
    store.remove_member("crew", &id, NOW).await.unwrap();
    let after = seen(2).await;
    assert_eq!((after.role, after.row.revoked), (None, Some(NOW)), "it ended with their place");
    assert!(matches!(store.remove_member("crew", &id, NOW).await, Err(StoreError::NotFound { .. })));
    // A tenant that goes takes its tokens along.
    store.create_token(NewToken { tenant: "crew".into(), ..new_token(3) }).await.unwrap();
    store.remove_tenant("crew", NOW).await.unwrap();
    assert!(!seen(3).await.is_active && seen(3).await.row.revoked.is_some());
}

#[tokio::test]
async fn rules_give_and_take_and_leave_what_was_given_by_hand() {
    let home = home();
    let store = open(home.path());
    let roles = async |n, rules: &[(&str, &str)]| -> Vec<(String, String)> {
        let all = store.arrive(arrival(n, "anna", "anna@x.org", rules)).await.unwrap();
        all.into_iter().map(|m| (m.tenant, m.role)).collect()
    };
    let pair = |tenant: &str, role: &str| (tenant.to_owned(), role.to_owned());
    assert_eq!(roles(1, &[("a", "member"), ("b", "viewer")]).await, [pair("a", "member"), pair("b", "viewer")]);
    store.put_member(UserId::from_bits(7), "a", "anna@x.org", "owner", NOW).await.unwrap();
    assert_eq!(roles(2, &[("a", "viewer")]).await, [pair("a", "owner")], "b was a rule's");
    assert_eq!(store.list_members(None).await.unwrap().len(), 1, "one person, whatever identity was offered");
    assert!(matches!(store.put_member(UserId::from_bits(8), "none", "x@x.org", "owner", NOW).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.put_member(UserId::from_bits(8), "a", "x@x.org", "king", NOW).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn an_invitation_is_taken_up_once_by_a_verified_address() {
    let home = home();
    let store = open(home.path());
    store.put_tenant("crew", None, None, None, NOW, true).await.unwrap();
    let invited = store.put_member(UserId::from_bits(1), "crew", "anna@x.org", "admin", NOW).await.unwrap().user.id;
    assert!(store.arrive(arrival(2, "eve", "", &[])).await.unwrap().is_empty(), "an address that nobody verified is none");
    let came = store.arrive(arrival(3, "anna", "anna@x.org", &[])).await.unwrap();
    assert_eq!((&came[0].user.id, came[0].role.as_str()), (&invited, "admin"));
    assert!(store.arrive(arrival(4, "mallory", "anna@x.org", &[])).await.unwrap().is_empty(), "it is taken");
    assert!(matches!(store.arrive(arrival(5, "", "x@x.org", &[])).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn what_is_set_goes_before_what_the_caller_says() {
    let home = home();
    let store = open(home.path());
    let (one, ten) = (Money(1_000_000_000), Money(10_000_000_000));
    let key = lazaret_store::budget_key("tenant:crew@day", NOW);
    store.lease_slab(&key, one, one, one, NOW).await.unwrap();
    assert!(matches!(store.lease_slab(&key, one, one, one, NOW).await, Err(StoreError::Budget { .. })));
    let set = store.set_budget("tenant:crew@day", ten, Some("fail".into()), NOW).await.unwrap();
    assert_eq!((set.most, set.spent, set.policy.as_deref()), (ten, one, Some("fail")));
    store.lease_slab(&key, one, one, one, NOW).await.unwrap();
    let raised = store.raise_budget("tenant:crew@day", one, Money::ZERO, NOW).await.unwrap();
    assert_eq!((raised.most, raised.spent, raised.policy.as_deref()), (ten.plus(one), Money(2_000_000_000), Some("fail")));
    assert_eq!(store.raise_budget("session:x", one, ten, NOW).await.unwrap().most, ten.plus(one), "what held before counts");
    assert_eq!(store.list_budgets(NOW).await.unwrap().len(), 2);
    store.remove_budget("session:x").await.unwrap();
    assert!(matches!(store.remove_budget("session:x").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.lease_slab(&key, Money::ZERO, ten, ten, NOW).await, Err(StoreError::Budget { .. })));
}
