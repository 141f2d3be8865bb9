//! Nothing turns the checks of TLS off.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::{fs, path::Path};

/// No code of the workspace says by itself that a certificate or a signature is good, each such
/// word comes from rustls; and the door that rustls has for other verifiers is used at one place.
#[test]
fn checks_cannot_be_turned_off() {
    let mut doors = Vec::new();
    let mut files = 0;
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for package in fs::read_dir(crates).unwrap() {
        each_file(&package.unwrap().path().join("src"), &mut |path, text| {
            files += 1;
            for word in [
                "::assertion()",
                "danger_accept",
                "set_certificate_verifier",
                "no_verify",
            ] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
            if text.contains("pub use") {
                let exported = text.split("pub use").skip(1).any(|rest| {
                    let statement = rest.split(';').next().unwrap_or_default();
                    statement.contains("danger")
                });
                assert!(!exported, "{} exports it", path.display());
            }
            let count = text.matches("dangerous()").count();
            if count > 0 {
                doors.push((path.strip_prefix(crates).unwrap().to_owned(), count));
            }
        });
    }
    assert!(files > 50, "the sources were found: {files}");
    assert_eq!(doors, [("connector/src/tls/config.rs".into(), 1)]);
}

fn each_file(folder: &Path, visit: &mut dyn FnMut(&Path, &str)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
