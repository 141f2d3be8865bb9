//! Layers that do more than wrap, as small as can be, each with faults to choose from.

mod queue;
mod redial;

pub(crate) use self::{queue::Queues, redial::RedialLayer};

/// The only target that the suite has.
pub(crate) type Target = http::Request<()>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    ReadyBeforeUp,
    DialsFromTheSink,
    LosesControl,
    KeepsTheEpoch,
    ForgetsTheWriter,
    DialsWithAClone,
    ForgetsTheQueue,
    StuckFlush,
    WritesOnlyWhenAsked,
    IgnoresEpochs,
}
