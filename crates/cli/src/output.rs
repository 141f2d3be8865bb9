//! What is written for whoever runs the program. Somebody may have stopped reading: that is no news.

use std::io::{self, Write};

/// A line on standard output. False once nobody reads it.
pub(crate) fn tell(line: &str) -> bool {
    writeln!(io::stdout(), "{line}").is_ok()
}

/// A line on standard error.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
