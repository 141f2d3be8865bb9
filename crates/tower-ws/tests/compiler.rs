//! What the compiler says when parts do not fit together: it has to name the part, and say what to do.
#![allow(clippy::unwrap_used, reason = "all of this is for tests")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each case is a program that does not compile; what the compiler has to say of it stands in its lines `//~ `.
#[test]
fn the_compiler_says_what_to_do() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compiler");
    let library = library();
    let mut tried = 0;
    for case in fs::read_dir(cases).unwrap() {
        let case = case.unwrap().path();
        let said = compile(&case, &library);
        let text = fs::read_to_string(&case).unwrap();
        let words: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("//~ ")).collect();
        assert!(!words.is_empty(), "{} expects nothing", case.display());
        for words in words {
            assert!(said.contains(words), "{}: {words:?} is not in:\n{said}", case.display());
        }
        tried += 1;
    }
    assert!(tried > 4, "{tried}");
}

/// What the compiler says of a program that it refuses.
fn compile(case: &Path, library: &Path) -> String {
    let out = tempfile::tempdir().unwrap();
    let compiled = Command::new("rustc")
        .args(["--edition=2024", "--emit=metadata", "--out-dir"])
        .arg(out.path())
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg("--extern")
        .arg(format!("tower_ws={}", library.display()))
        .arg(case)
        .output()
        .unwrap();
    assert!(!compiled.status.success(), "{} compiles", case.display());
    String::from_utf8(compiled.stderr).unwrap()
}

/// The library as it was built for this test, or last.
fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let built = fs::read_dir(test.parent().unwrap()).unwrap();
    let libraries = built.map(|file| file.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libtower_ws-") && name.ends_with(".rlib")
    });
    libraries
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap()
}
