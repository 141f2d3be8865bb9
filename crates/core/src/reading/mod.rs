//! The numbers of a layer: where they stand, who writes them, how they are exported.

mod reading;
mod shared;
mod source;

pub(crate) use self::source::Sources;
pub use self::{
    reading::{Reading, Readings, Unit, Value},
    shared::{Lease, Shared},
    source::Source,
};
