//! The settings as a JSON schema, for editors that complete and check a file: made of their defaults, and of what the
//! example says of each. No I/O.

use serde_json::{Map, Value, json};
use tower_ws::config::{Config, EXAMPLE};

/// Settings that are one of several words.
const CHOICES: [(&str, &[&str]); 5] = [
    ("auth.scheme", &["bearer", "basic", "header"]),
    ("client.lag", &["drop-oldest", "wait", "close"]),
    ("connect.guard", &["operator", "untrusted", "unguarded"]),
    ("queue.overflow", &["wait", "refuse", "drop-oldest"]),
    (
        "reconnect.dispositions",
        &["protocol", "mcp", "graphql-ws", "centrifuge"],
    ),
];

pub(super) fn schema() -> Value {
    let settings = serde_json::to_value(Config::default()).unwrap_or_default();
    let properties = properties(&settings, "");
    let mut all: Map<_, _> = properties
        .keys()
        .map(|name| {
            (
                name.clone(),
                json!({ "$ref": format!("#/$defs/settings/properties/{name}") }),
            )
        })
        .collect();
    let profile = json!({ "$ref": "#/$defs/settings" });
    all.insert(
        "profiles".to_owned(),
        json!({ "type": "object", "additionalProperties": profile, "description": "By name: settings that count over the others." }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tower-ws",
        "type": "object",
        "properties": all,
        "additionalProperties": false,
        "$defs": { "settings": { "type": "object", "properties": properties, "additionalProperties": false } },
    })
}

/// Those of a table at this path.
fn properties(table: &Value, at: &str) -> Map<String, Value> {
    let settings = table.as_object().into_iter().flatten();
    settings
        .map(|(name, default)| {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            let mut property = property(&path, default);
            if let (Some(about), Some(property)) = (about(&path), property.as_object_mut()) {
                property.insert("description".to_owned(), about.into());
            }
            (name.clone(), property)
        })
        .collect()
}

fn property(path: &str, default: &Value) -> Value {
    let choices = CHOICES.iter().find(|(name, _)| *name == path);
    match (choices, default) {
        (Some((_, choices)), _) => json!({ "enum": choices, "default": default }),
        (None, Value::Object(table)) if !table.is_empty() => {
            let properties = properties(default, path);
            json!({ "type": "object", "properties": properties, "additionalProperties": false })
        }
        (None, Value::Object(_)) => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        (None, Value::Array(_)) => json!({ "type": "array", "items": { "type": "string" }, "default": default }),
        (None, Value::Bool(_)) => json!({ "type": "boolean", "default": default }),
        (None, Value::Number(_)) => json!({ "type": "integer", "minimum": 0, "default": default }),
        // A number of bytes is one, too.
        (None, Value::String(text)) if text.ends_with("iB") => {
            json!({ "type": ["string", "integer"], "minimum": 0, "default": default })
        }
        (None, Value::String(_)) => json!({ "type": "string", "default": default }),
        (None, Value::Null) if path == "auth.secret" => {
            let place = |name: &str, value: Value| json!({ "type": "object", "properties": { name: value }, "required": [name], "additionalProperties": false });
            let text = || json!({ "type": "string" });
            let command = json!({ "type": "array", "items": text(), "minItems": 1 });
            json!({ "oneOf": [place("env", text()), place("file", text()), place("command", command)] })
        }
        // What there is none of by default is a path.
        (None, Value::Null) => json!({ "type": "string" }),
    }
}

/// What the example says of a setting: the comment above it, or above the one before it if they share it.
fn about(path: &str) -> Option<String> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut here = "";
    let (mut about, mut is_read) = (Vec::new(), false);
    for line in EXAMPLE.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            if std::mem::take(&mut is_read) {
                about.clear();
            }
            about.push(comment);
        } else if let Some(heading) = line.strip_prefix('[') {
            here = heading.trim_end_matches(']');
            if path == here {
                return Some(about.join(" "));
            }
            is_read = true;
        } else if let Some((setting, _)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
            if (section, name) == (here, setting) {
                return Some(about.join(" "));
            }
            is_read = true;
        } else if line.is_empty() {
            about.clear();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each setting, by its path.
    fn each(table: &Value, at: &str, look: &mut impl FnMut(&str, &Value)) {
        for (name, value) in table.as_object().unwrap() {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            match value {
                Value::Object(table) if !table.is_empty() => each(value, &path, look),
                _ => look(&path, value),
            }
        }
    }

    fn takes(path: &str, value: &str) -> bool {
        let sources = Config::sources().setting("", "url", "wss://a.example/");
        sources.setting("", path, value).load().is_ok()
    }

    #[test]
    fn each_setting_is_in_it_with_its_default_and_what_it_is() {
        let schema = schema();
        let settings = &schema["$defs"]["settings"];
        each(
            &serde_json::to_value(Config::default()).unwrap(),
            "",
            &mut |path, default| {
                let property = path.split('.').fold(settings, |table, name| &table["properties"][name]);
                assert!(
                    property["description"].as_str().is_some_and(|about| !about.is_empty()),
                    "{path}"
                );
                if !default.is_null() && !default.is_object() {
                    assert_eq!(&property["default"], default, "{path}");
                }
            },
        );
        assert_eq!(
            schema["properties"]["health"]["$ref"],
            "#/$defs/settings/properties/health"
        );
        let about = settings["properties"]["transport"]["properties"]["message_out"]["description"].as_str();
        assert_eq!(about, Some("The largest messages that may come in and go out."));
    }

    /// What is a choice takes its words and no other; whatever else is a text takes any that is not a time or a size.
    #[test]
    fn choices_are_those_that_there_are() {
        each(
            &serde_json::to_value(Config::default()).unwrap(),
            "",
            &mut |path, default| {
                match CHOICES.iter().find(|(name, _)| *name == path) {
                    Some((_, choices)) => {
                        for choice in *choices {
                            // Some want a name besides.
                            assert!(
                                takes(path, choice) || *choice != "bearer" && path == "auth.scheme",
                                "{path} {choice}"
                            );
                        }
                        assert!(!takes(path, "nonsense"), "{path}");
                    }
                    None => {
                        let is_word = default
                            .as_str()
                            .is_some_and(|text| text.chars().all(char::is_alphabetic));
                        // A proxy may be a URL, the session have any name.
                        let is_free =
                            ["url", "name", "auth.name", "connect.proxy", "reconnect.max_outage"].contains(&path);
                        assert!(!is_word || is_free, "{path} is a choice");
                    }
                }
            },
        );
    }
}
