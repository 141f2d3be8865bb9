use std::time::Duration;

use tower_ws_core::{Excerpt, Up};
use tower_ws_mcp::ServerInfo;

use super::report::{State, Step};

/// The capabilities that a server is known to have a choice of. Others are its own, and any number.
const CAPABILITIES: [&str; 5] = ["tools", "resources", "prompts", "completions", "logging"];

/// What the server said of itself, if it was asked.
pub(super) fn introduced(up: &Up) -> Option<Step> {
    let server = up.extensions.get::<ServerInfo>()?;
    let name = server.implementation().map_or_else(
        || "a server that does not say its name".to_owned(),
        |server| format!("{} {}", Excerpt::new(&server.name), Excerpt::new(&server.version)),
    );
    let offered: Vec<_> = CAPABILITIES
        .into_iter()
        .filter(|name| server.capabilities().has(name))
        .collect();
    let offered = match offered[..] {
        [] => "nothing".to_owned(),
        _ => offered.join(", "),
    };
    let text = format!(
        "{} ({}); {name}; it offers {offered}",
        Excerpt::new(server.protocol_version()),
        server.era()
    );
    // Its time is in that of the dial, of which the opening is a part.
    Some(Step::new("mcp", Duration::ZERO, State::Ok, text))
}
