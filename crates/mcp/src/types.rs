//! What the common methods take and give. Small on purpose: what is not here is reached by name,
//! and raw JSON stays raw until somebody asks for it.

mod asked;
mod content;
mod lenient;
mod prompts;
mod resources;
mod tools;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::{
    asked::{Elicitation, Elicited, Root},
    content::Content,
    prompts::{Completion, GetPromptResult, Prompt, PromptArgument, PromptMessage, Reference},
    resources::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
    tools::{CallToolResult, Tool, ToolAnnotations},
};

/// One page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it, but for what could not be read.
    pub items: Vec<T>,
    /// What could not be read.
    pub skipped: Vec<Skipped>,
    /// Where the next one begins; `None` if this is the last.
    pub next_cursor: Option<String>,
}

/// An item of a list that could not be read; the others could.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Skipped {
    /// Which one of its page, from 0.
    pub index: usize,
    /// Its `name`, or its `uri`, if it has one.
    pub name: Option<String>,
    /// The member that is missing or of another type, as far as that can be told.
    pub field: Option<String>,
}

impl Skipped {
    pub(crate) fn new(index: usize, item: &RawValue, error: &serde_json::Error) -> Self {
        #[derive(Deserialize)]
        struct Named {
            #[serde(
                default,
                alias = "uri",
                alias = "uriTemplate",
                deserialize_with = "lenient::or_default"
            )]
            name: Option<String>,
        }
        let text = error.to_string();
        let missing = text
            .strip_prefix("missing field `")
            .and_then(|text| text.split('`').next());
        let field = missing.map_or_else(|| member_before(item.get(), error), |field| Some(field.to_owned()));
        Self {
            index,
            name: serde_json::from_str::<Named>(item.get())
                .ok()
                .and_then(|named| named.name),
            field,
        }
    }
}

/// The last member that begins before the place of an error.
fn member_before(text: &str, error: &serde_json::Error) -> Option<String> {
    let line = text.lines().nth(error.line().checked_sub(1)?)?;
    let before = line.get(..error.column().min(line.len()))?;
    let (before, _) = before.rsplit_once("\":")?;
    Some(before.rsplit('"').next()?.to_owned())
}

/// Something that a server lists by pages.
pub trait Listed: Sized {
    /// The method that lists it.
    const METHOD: &'static str;

    /// The member of the result that holds it.
    const MEMBER: &'static str;
}

/// Who speaks in a prompt. This list is complete.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_content_is_read_and_written_as_it_was() {
        for content in [
            json!({ "type": "text", "text": "hello" }),
            json!({ "type": "image", "data": "AA==", "mimeType": "image/png" }),
            json!({ "type": "audio", "data": "AA==", "mimeType": "audio/wav" }),
            json!({ "type": "resource_link", "uri": "mem://x", "name": "x" }),
            json!({ "type": "resource", "resource": { "uri": "mem://x", "text": "t" } }),
            json!({ "type": "hologram", "depth": 3 }),
            json!({ "type": "text", "text": "a", "annotations": { "audience": ["user"] }, "_meta": { "k": [1] } }),
            json!({ "type": "resource_link", "uri": "mem://x", "name": "x", "size": 3, "icons": [{ "src": "i" }], "_meta": {} }),
        ] {
            let read: Content = serde_json::from_value(content.clone()).unwrap();
            assert_eq!(
                matches!(read, Content::Other(_)),
                content["type"] == "hologram",
                "{content}"
            );
            assert_eq!(serde_json::to_value(&read).unwrap(), content);
        }
    }

    #[test]
    fn what_is_odd_is_absent_and_the_rest_is_kept() {
        let tool: Tool = serde_json::from_value(json!({
            "name": "t", "title": null, "description": 7, "inputSchema": null, "outputSchema": null,
            "annotations": null, "icons": [{ "src": "i" }], "_meta": { "k": 1 }, "unknown": true,
        }))
        .unwrap();
        assert_eq!(
            (tool.title, tool.description, tool.input_schema.get()),
            (None, None, "{}")
        );
        assert_eq!(tool.icons.unwrap().get(), r#"[{"src":"i"}]"#);
        assert_eq!(tool.meta.unwrap().get(), r#"{"k":1}"#);
        serde_json::from_value::<Tool>(json!({ "title": "no name" })).unwrap_err();

        let result: CallToolResult = serde_json::from_value(json!({
            "content": [{ "type": "text", "text": "a" }, "odd", 7, -1, 0.5, true, null, [{}], { "type": "text" }],
            "isError": null, "structuredContent": null, "resultType": "complete", "_meta": { "k": 1 },
        }))
        .unwrap();
        assert_eq!(
            (result.text(), result.content.len(), result.is_error),
            ("a".to_owned(), 2, false)
        );
        assert_eq!(serde_json::Value::from(result.more), json!({ "_meta": { "k": 1 } }));
        assert_eq!(result.structured_content, None);
        for content in [
            json!(null),
            json!("a"),
            json!({ "type": "text", "text": "a" }),
            json!(7),
        ] {
            let nothing: CallToolResult = serde_json::from_value(json!({ "content": content })).unwrap();
            assert!(nothing.content.is_empty());
        }
        let failed: CallToolResult =
            serde_json::from_value(json!({ "isError": true, "structuredContent": 7 })).unwrap();
        assert_eq!((failed.is_error, failed.structured_content), (true, Some(7.into())));

        let prompt: Prompt = serde_json::from_value(json!({
            "name": "p", "arguments": [{ "name": "a", "required": null }, 7], "icons": [],
        }))
        .unwrap();
        assert_eq!((prompt.arguments.len(), prompt.arguments[0].required), (1, false));
        assert!(prompt.more.contains_key("icons"));
        let got: GetPromptResult = serde_json::from_value(json!({
            "messages": [
                { "role": "narrator", "content": { "type": "text", "text": "a" } },
                { "role": "user", "content": { "type": "text", "text": "b" } },
            ],
        }))
        .unwrap();
        assert_eq!(got.messages.len(), 1);
        let completion: Completion = serde_json::from_value(json!({ "values": ["a", 1], "hasMore": null })).unwrap();
        assert_eq!((completion.values, completion.has_more), (vec!["a".to_owned()], false));
    }

    #[test]
    fn what_is_skipped_is_named() {
        let skipped = |text: &str| {
            let item: Box<RawValue> = serde_json::from_str(text).unwrap();
            let error = serde_json::from_str::<Resource>(text).unwrap_err();
            let Skipped { name, field, .. } = Skipped::new(0, &item, &error);
            (name, field)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(skipped(r#"{"name":"r"}"#), (some("r"), some("uri")));
        assert_eq!(skipped(r#"{"name":"r","uri":7}"#).1, some("uri"));
        assert_eq!(skipped("7"), (None, None));
    }
}
