/// What happens to a message for which there is no room. This list is complete.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Overflow {
    /// The sink is not ready until there is room: whoever sends waits. One message is accepted
    /// before its size is known; if it does not fit, it waits for room, and nothing more is
    /// accepted before it is in.
    #[default]
    Wait,
    /// The new one comes back at once. For whoever would rather know than wait.
    Refuse,
    /// The oldest come back, as many as needed. For states of which only the latest counts. A
    /// message that is larger than the byte bound comes back itself, unless nothing is held: it is
    /// not worth all others.
    DropOldest,
}
