//! Which kind of operation a GraphQL document asks for: so much of its grammar as that takes
//! ([section 2](https://spec.graphql.org/October2021/#sec-Language)).

/// Whether the operation of this name, or the only one, is a subscription.
pub(super) fn is_subscription(document: &str, operation: Option<&str>) -> bool {
    let mut rest = document;
    let mut depth = 0u32;
    // The keyword of a definition that has begun.
    let mut keyword = None;
    while let Some(first) = rest.chars().next() {
        match first {
            '#' => rest = rest.split_once(['\n', '\r']).map_or("", |(_, rest)| rest),
            '"' => rest = after_string(rest),
            '{' | '(' | '[' => {
                // A definition without a name: `subscription { … }`.
                if depth == 0 && operation.is_none() && keyword == Some("subscription") {
                    return true;
                }
                keyword = keyword.filter(|_| depth > 0);
                depth += 1;
                rest = &rest[1..];
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                rest = &rest[1..];
            }
            _ if depth == 0 && is_name(first) => {
                let end = rest.find(|next| !is_name(next)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                match keyword {
                    Some("subscription") if operation.is_none_or(|asked| asked == name) => return true,
                    None if ["query", "mutation", "subscription", "fragment"].contains(&name) => keyword = Some(name),
                    _ => keyword = None,
                }
                rest = after;
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    false
}

fn is_name(next: char) -> bool {
    next == '_' || next.is_ascii_alphanumeric()
}

/// After a string, or a block of text, whose first quote is there.
fn after_string(text: &str) -> &str {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut rest = block;
        while let Some((before, after)) = rest.split_once("\"\"\"") {
            if !before.ends_with('\\') {
                return after;
            }
            rest = after;
        }
        return "";
    }
    let mut escaped = false;
    let end = text[1..].find(|next| {
        let ends = !escaped && (next == '"' || next == '\n');
        escaped = !escaped && next == '\\';
        ends
    });
    end.map_or("", |end| &text[end + 2..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kind_of_an_operation() {
        for (document, operation, expected) in [
            ("subscription { a }", None, true),
            ("subscription A($x: Int = 1) { a }", None, true),
            ("  # subscription\n query { subscription }", None, false),
            ("{ subscription }", None, false),
            ("mutation subscription { a }", None, false),
            ("query A { a } subscription B { b }", Some("B"), true),
            ("query A { a } subscription B { b }", Some("A"), false),
            (
                "fragment subscription on T { a } query A { ...subscription }",
                None,
                false,
            ),
            (
                "fragment F on T { a } subscription S @live(if: true) { ...F }",
                None,
                true,
            ),
            (
                "query A(x: \"} subscription\") { a(b: \"\"\" } subscription X { \"\"\") }",
                None,
                false,
            ),
            ("subscription { a", None, true),
            ("subscription", None, false),
            ("", None, false),
        ] {
            assert_eq!(is_subscription(document, operation), expected, "{document}");
        }
    }

    proptest! {
        #[test]
        fn no_document_is_too_odd(document in ".{0,60}") {
            is_subscription(&document, None);
            is_subscription(&format!("subscription \"\"\"{document}"), Some("a"));
        }
    }
}
