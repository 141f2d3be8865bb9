//! The dialogue on a fresh connection, before it is handed up.

mod context;
mod layer;

pub use self::{
    context::OpeningContext,
    layer::{Dialogue, Opening, OpeningConnection, OpeningFuture, OpeningLayer},
};
