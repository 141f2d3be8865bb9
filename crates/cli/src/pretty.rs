//! JSON for people, letter by letter: no number is read, so none is altered. No I/O.

/// The same JSON over several lines, each level two spaces further in.
pub(crate) fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let (mut is_string, mut is_escaped) = (false, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if is_string {
            text.push(letter);
            is_string = is_escaped || letter != '"';
            is_escaped = letter == '\\' && !is_escaped;
            continue;
        }
        match letter {
            '{' | '[' => {
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                text.push(letter);
                if let Some(end) = letters.next_if(|&letter| letter == '}' || letter == ']') {
                    text.push(end);
                } else {
                    depth += 1;
                    indent(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                indent(&mut text, depth);
                text.push(letter);
            }
            ',' => {
                text.push(',');
                indent(&mut text, depth);
            }
            ':' => text.push_str(": "),
            letter if letter.is_ascii_whitespace() => {}
            letter => {
                text.push(letter);
                is_string = letter == '"';
            }
        }
    }
    text
}

fn indent(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_altered_but_the_space() {
        let json = r#"{"z": 123456789012345678901234567890,"a":1.10,"e":[1E2, {}, [ ]],"s":"a \"{,}:\\" , "n":null}"#;
        let told = pretty(json);
        let expected = r#"{
  "z": 123456789012345678901234567890,
  "a": 1.10,
  "e": [
    1E2,
    {},
    []
  ],
  "s": "a \"{,}:\\",
  "n": null
}"#;
        assert_eq!(told, expected);
        assert_eq!(pretty("7"), "7");
    }
}
