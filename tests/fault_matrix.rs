//! The page of faults names tests that are there.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::{fs, path::Path};

const PAGE: &str = include_str!("FAULTS.md");

/// Each file of the page, with the tests that it names.
fn named() -> Vec<(String, Vec<String>)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let files = cells.flat_map(|cell| cell.split(';'));
    files
        .map(|file| {
            let (path, tests) = file.trim().strip_prefix('`').unwrap().split_once('`').unwrap();
            let tests = tests.split(',').map(|test| test.trim().to_owned());
            (path.to_owned(), tests.collect())
        })
        .collect()
}

#[test]
fn every_test_of_the_page_is_there() {
    let named = named();
    assert!(named.len() > 60, "{}", named.len());
    for (path, tests) in named {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        for test in tests {
            assert!(source.contains(&format!("fn {test}(")), "{path} has no test {test}");
        }
    }
}
