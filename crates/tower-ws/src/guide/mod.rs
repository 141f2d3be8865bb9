//! Guides: what is between the types.

#[doc = include_str!("layers.md")]
pub mod layers {}

#[doc = include_str!("delivery.md")]
pub mod delivery {}

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("production.md")]
pub mod production {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("own_layer.md")]
pub mod own_layer {}
