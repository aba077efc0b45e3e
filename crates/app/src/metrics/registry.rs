//! Numbers that only grow, and times by range, counted where they happen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use crate::live::lock;

/// Series of one family; what would be one more is counted as `other`.
const SERIES_MAX: usize = 100;
/// Characters of a label's value.
const LABEL_CHARS_MAX: usize = 64;
/// What stands for every value beyond the limit.
const OTHER: &str = "other";

/// A family of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it counts, for people.
    pub(crate) help: &'static str,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    /// The upper ends of its ranges; none for a number that only grows.
    pub(crate) buckets: &'static [f64],
}

/// One series of a family.
#[derive(Debug, Clone, Default)]
struct Series {
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

/// The series of a family by the values of their labels.
type ByLabels = BTreeMap<Vec<String>, Series>;

/// All numbers that are counted in this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    families: Mutex<BTreeMap<&'static str, (Family, ByLabels)>>,
}

impl Registry {
    /// Adds to a number.
    pub(crate) fn add(&self, family: &Family, labels: &[&str], n: f64) {
        self.with(family, labels, |series| {
            series.count += 1;
            series.sum += n;
        });
    }

    /// Counts a value in its range.
    pub(crate) fn observe(&self, family: &Family, labels: &[&str], value: f64) {
        self.with(family, labels, |series| {
            series.buckets.resize(family.buckets.len(), 0);
            if let Some(bucket) = family.buckets.iter().position(|end| value <= *end).and_then(|at| series.buckets.get_mut(at)) {
                *bucket += 1;
            }
            series.count += 1;
            series.sum += value;
        });
    }

    fn with(&self, family: &Family, labels: &[&str], change: impl FnOnce(&mut Series)) {
        let mut families = lock(&self.families);
        let (_, all) = families.entry(family.name).or_insert_with(|| (*family, BTreeMap::new()));
        let mut key: Vec<String> = labels.iter().map(|text| text.chars().take(LABEL_CHARS_MAX).collect()).collect();
        if !all.contains_key(&key) && all.len() >= SERIES_MAX {
            key.iter_mut().for_each(|value| OTHER.clone_into(value));
        }
        change(all.entry(key).or_default());
    }

    /// Writes every number in the text form of Prometheus.
    pub(crate) fn write(&self, text: &mut String) {
        for (family, all) in lock(&self.families).values() {
            let kind = if family.buckets.is_empty() { "counter" } else { "histogram" };
            head(text, family.name, family.help, kind);
            for (values, series) in all {
                let labels: Vec<(&str, &str)> = family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
                if family.buckets.is_empty() {
                    line(text, family.name, &labels, series.sum);
                    continue;
                }
                let ranges: Vec<(f64, u64)> = family.buckets.iter().copied().zip(series.buckets.iter().copied()).collect();
                histogram(text, family.name, &labels, &ranges, series.count, series.sum);
            }
        }
    }
}

/// The two lines before a family.
pub(crate) fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One number.
pub(crate) fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    if !labels.is_empty() {
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = write!(text, "{{{}}}", pairs.join(","));
    }
    let _ = writeln!(text, " {value}");
}

/// The lines of one histogram. `ranges` holds what is in each range alone.
pub(crate) fn histogram(text: &mut String, name: &str, labels: &[(&str, &str)], ranges: &[(f64, u64)], count: u64, sum: f64) {
    let (bucket, mut so_far) = (format!("{name}_bucket"), 0);
    let mut ends: Vec<(String, u64)> = Vec::with_capacity(ranges.len() + 1);
    for (end, n) in ranges {
        so_far += n;
        ends.push((end.to_string(), so_far));
    }
    ends.push(("+Inf".to_owned(), count));
    for (end, n) in &ends {
        let mut labels = labels.to_vec();
        labels.push(("le", end));
        line(text, &bucket, &labels, number(*n));
    }
    line(text, &format!("{name}_sum"), labels, sum);
    line(text, &format!("{name}_count"), labels, number(count));
}

/// A count as Prometheus has it.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not reached")]
pub(crate) fn number(n: u64) -> f64 {
    n as f64
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: Family = Family { name: "calls_total", help: "Calls.", labels: &["tool"], buckets: &[] };
    const TIMES: Family = Family { name: "seconds", help: "Times.", labels: &[], buckets: &[1.0, 5.0] };

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        let registry = Registry::default();
        registry.add(&CALLS, &["a\"b\\c\n"], 2.0);
        for value in [0.5, 3.0, 10.0] {
            registry.observe(&TIMES, &[], value);
        }
        let mut text = String::new();
        registry.write(&mut text);
        let expect = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total{tool=\"a\\\"b\\\\c\\n\"} 2\n\
                      # HELP seconds Times.\n# TYPE seconds histogram\nseconds_bucket{le=\"1\"} 1\nseconds_bucket{le=\"5\"} 2\n\
                      seconds_bucket{le=\"+Inf\"} 3\nseconds_sum 13.5\nseconds_count 3\n";
        assert_eq!(text, expect);
    }

    #[test]
    fn series_are_bounded() {
        let registry = Registry::default();
        for n in 0..1000 {
            registry.add(&CALLS, &[&format!("tool-{n}-{}", "x".repeat(500))], 1.0);
        }
        let mut text = String::new();
        registry.write(&mut text);
        assert_eq!(text.lines().filter(|l| l.starts_with("calls_total")).count(), SERIES_MAX + 1);
        assert!(text.contains("calls_total{tool=\"other\"} 900") && text.len() < 20_000, "{}", text.len());
    }
}
