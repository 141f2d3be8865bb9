use std::fmt;

/// Somebody else's text, made safe to show: quoted, escaped, at most [`Excerpt::LIMIT`] characters
/// of it.
///
/// Whatever a peer says ends up in errors and logs through this type only, so that it can neither
/// fill them nor forge a line in them.
///
/// ```
/// use tower_ws_core::Excerpt;
///
/// assert_eq!(Excerpt::new("no\nway").to_string(), r#""no\nway""#);
/// assert!(Excerpt::new(&"x".repeat(1000)).to_string().len() < 250);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(&'a str);

impl<'a> Excerpt<'a> {
    /// How many characters are shown: 200, enough for a sentence.
    pub const LIMIT: usize = 200;

    /// An excerpt of `text`.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(Self::LIMIT);
        let (shown, more) = match end {
            Some((end, _)) => (&self.0[..end], " …"),
            None => (self.0, ""),
        };
        write!(f, "\"{}\"{more}", shown.escape_debug())
    }
}
