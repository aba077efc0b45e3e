//! How fast turns are accepted, each of them on the disk before its caller hears of it. Printed with `--nocapture`.

use std::time::Instant;

use crate::common::{home, new_turn, open, session};

/// Accepted turns per second below which something is wrong, however slow and busy the machine is: a hundredth of what one gives that
/// has nothing else to do. The number itself is printed, and measured by the benchmarks.
const WANTED: f64 = if crate::SHARED { 3.0 } else { 20.0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_turns_per_second() {
    let home = home();
    let store = open(home.path());
    let mut sessions = Vec::new();
    for _ in 0..32 {
        sessions.push(session(&store).await);
    }
    let mut rates = Vec::new();
    for (callers, each) in [(1, 100), (32, 100), (256, 40)] {
        let began = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|n| {
                let (store, session) = (store.clone(), sessions[n % sessions.len()].clone());
                spawn(async move {
                    for _ in 0..each {
                        store.accept_turn(new_turn(&session, "a prompt of the usual length, which is not much")).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = f64::from(u32::try_from(callers * each).unwrap()) / began.elapsed().as_secs_f64();
        println!("store: {callers} callers: {rate:.0} turns/s accepted durably");
        rates.push(rate);
    }
    assert!(rates.into_iter().fold(0.0, f64::max) > WANTED, "slower than wanted");
}

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle")]
fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}
