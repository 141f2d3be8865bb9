//! The whole runner, peer included, in runs too short to mean anything.

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tower-ws-benches"))
        .args(["--repetitions", "1", "--run-ms", "50"])
        .args(arguments)
        .output()
        .expect("the runner was built for this test")
}

#[test]
fn every_kind_gets_right_replies_in_every_cell() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runs.json");
    let output = run(&[
        "--sizes",
        "64,1024,70000",
        "--windows",
        "1,16",
        "--json",
        path.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{output:?}");

    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 6);
    for row in cells.iter().flat_map(|cell| cell["rows"].as_array().unwrap()) {
        assert!(row["rate"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn a_threshold_that_was_not_measured_does_not_hold() {
    let arguments = ["--check", "--kinds", "tt-batch", "--sizes", "64", "--windows", "256"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAILS"));
}
