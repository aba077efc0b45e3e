//! All processors, for ever.

use std::process::Command;
use std::time::Instant;

use crate::support::{Caller, PATIENCE, each_caller};

/// A quarter of a processor is granted, four processes spin for a second: together they get a quarter of a second, and
/// not the two that this machine's processors would give. On a busy machine they get less.
#[test]
fn the_processor_limit_holds() {
    let caller = Caller::root();
    let script = "began=$EPOCHREALTIME; for i in 1 2 3; do (while :; do :; done) & done; timeout 1 sh -c 'while :; do :; done'; kill %1 %2 %3; wait; times; echo $began $EPOCHREALTIME";
    let output = caller.sandbox().option("--cpus").option("0.25").run(&["/bin/bash", "-c", script]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let spent: f64 = text.split_whitespace().filter_map(seconds).sum();
    let stamps: Vec<f64> = text.lines().last().unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [began, ended] = stamps[..] else { panic!("{output:?}") };
    // The quota of a period or two, spent before and after, comes on top; a busy machine takes longer than the second.
    assert!(spent > 0.0 && spent < 0.25 * (ended - began) + 0.25, "{output:?}");
}

/// `0m0.480s`, as the shell prints it.
fn seconds(word: &str) -> Option<f64> {
    let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

/// While a sandbox spins, the host starts programs.
#[test]
fn the_host_stays_responsive() {
    each_caller(|caller| {
        std::thread::scope(|scope| {
            let hog = scope.spawn(|| caller.sandbox().attack(&["spin=8:600"]));
            let began = Instant::now();
            for _ in 0..5 {
                assert!(Command::new("/bin/true").status().expect("run true").success());
            }
            assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
            hog.join().expect("a report").worked("spin=8:600");
        });
    });
}
