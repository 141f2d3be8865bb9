//! The dashboard and the alerts ask for metrics and labels that exist.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::{BTreeMap, BTreeSet};

const METRICS: &str = include_str!("../crates/metrics/tests/metrics.txt");
const DASHBOARD: &str = include_str!("../examples/grafana/dashboard.json");
const ALERTS: &str = include_str!("../examples/grafana/alerts.yml");

/// Labels that the collector adds, and those of histograms.
const FOREIGN: [&str; 3] = ["job", "instance", "le"];

/// Each metric with its labels, as an exporter names it: a histogram is three.
fn known() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    let mut names = Vec::new();
    for line in METRICS.lines() {
        match line.strip_prefix("    ") {
            None => {
                let (name, about) = line.split_once(" (").unwrap();
                names = match about.starts_with("histogram") {
                    true => ["_bucket", "_sum", "_count"]
                        .map(|part| format!("{name}{part}"))
                        .to_vec(),
                    false => vec![name.to_owned()],
                };
            }
            Some(labels) => {
                for name in &names {
                    let keys = labels
                        .split(' ')
                        .map(|label| label.split('=').next().unwrap().to_owned());
                    known.entry(name.clone()).or_default().extend(keys);
                }
            }
        }
    }
    known
}

/// Every query, of both files.
fn queries() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.chain(alerts.map(str::to_owned)).collect()
}

/// Each metric that a query names, with the keys of its selector.
fn asked_for(query: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let starts = query.match_indices("tower_ws_").map(|(at, _)| &query[at..]);
    starts
        .map(|rest| {
            let name: String = rest.chars().take_while(|&letter| is_word(letter)).collect();
            let selector = rest[name.len()..]
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next());
            let keys = selector.unwrap_or_default().split(',').filter(|key| !key.is_empty());
            let keys = keys.map(|key| key.chars().take_while(|&letter| is_word(letter)).collect());
            (name, keys.collect())
        })
        .collect()
}

/// The labels that a query groups by.
fn grouped_by(query: &str) -> Vec<String> {
    let groups = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    groups
        .flat_map(|group| group.split(','))
        .map(|key| key.trim().to_owned())
        .collect()
}

#[test]
fn every_metric_and_every_label_exists() {
    let known = known();
    let queries = queries();
    assert!(queries.len() > 30, "{}", queries.len());
    for query in &queries {
        let asked = asked_for(query);
        assert!(!asked.is_empty(), "no metric in {query}");
        let mut labels = BTreeSet::new();
        for (name, keys) in &asked {
            let of_this = known.get(name).unwrap_or_else(|| panic!("no metric {name}: {query}"));
            for key in keys {
                assert!(
                    of_this.contains(key) || FOREIGN.contains(&key.as_str()),
                    "{name} has no label {key}"
                );
            }
            labels.extend(of_this.iter().cloned());
        }
        for key in grouped_by(query) {
            assert!(
                labels.contains(&key) || FOREIGN.contains(&key.as_str()),
                "no label {key}: {query}"
            );
        }
    }
}

#[test]
fn what_has_a_bad_name_would_be_found() {
    let known = known();
    let query = r#"sum by (nothing) (rate(tower_ws_no_such_total{server="a",nowhere="b"}[5m]))"#;
    assert_eq!(
        asked_for(query),
        [(
            "tower_ws_no_such_total".to_owned(),
            vec!["server".to_owned(), "nowhere".to_owned()]
        )]
    );
    assert_eq!(grouped_by(query), ["nothing"]);
    assert!(!known.contains_key("tower_ws_no_such_total"));
    assert!(known["tower_ws_session_outage_seconds_bucket"].contains("outcome"));
}
