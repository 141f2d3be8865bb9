use std::{error::Error, fmt};

use super::chain;

/// An error and what caused it, in one line for a log: `what happened: why: and why that`.
///
/// A text that one before it has said already is left out, control characters become blanks, and it
/// ends after [`Causes::LIMIT`] characters.
///
/// ```
/// use tower_ws_core::{Causes, Failure, FailureKind};
///
/// let below = std::io::Error::other("connection reset by peer");
/// let failure = Failure::new(FailureKind::Network, "the server reset the connection").with_source(below);
/// assert_eq!(
///     Causes(&failure).to_string(),
///     "the server reset the connection: connection reset by peer"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl Causes<'_> {
    /// How many characters are shown: 1,000, a screenful.
    pub const LIMIT: usize = 1000;
}

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        for error in chain(self.0) {
            let text = error.to_string();
            if line.contains(&text) {
                continue;
            }
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.extend(text.chars().map(|char| if char.is_control() { ' ' } else { char }));
        }
        match line.char_indices().nth(Self::LIMIT) {
            Some((end, _)) => write!(f, "{} …", &line[..end]),
            None => f.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{Failure, FailureKind};

    #[test]
    fn what_was_said_is_not_said_again() {
        let inner = Failure::new(FailureKind::Dns, "no such host");
        let outer = Failure::new(FailureKind::Dns, "the name: no such host").with_source(io::Error::other(inner));
        assert_eq!(Causes(&outer).to_string(), "the name: no such host");
    }

    #[test]
    fn it_is_one_line_and_ends() {
        let text = format!("a\nb\u{1b}[31m{}", "x".repeat(2000));
        let line = Causes(&io::Error::other(text)).to_string();
        assert!(line.starts_with("a b [31mxx") && line.ends_with("x …"), "{line}");
        assert_eq!(line.chars().count(), Causes::LIMIT + 2);
    }
}
