use std::fmt;

use crate::dialect::{Dialect, Hears, Says};

/// Adds sequence numbers to a dialect: what is missing is told as
/// [`Missed`](crate::Update::Missed), what comes twice is dropped and counted, and a subscription
/// can begin again where it was lost.
///
/// ```
/// use serde_json::Value;
/// use tower_ws_subscribe::{Channels, Sequenced};
/// use tower_ws_transport::{JsonText, Message};
///
/// fn read(message: &Message) -> Option<Value> {
///     serde_json::from_slice(message.as_bytes()).ok()
/// }
///
/// let dialect = Sequenced::new(Channels::new(JsonText), |told: &Message| read(told)?["seq"].as_u64())
///     // `{"op":"subscribe","channel":"trades","from":42}`
///     .resume(|began: &Message, last: u64| {
///         let mut began = read(began)?;
///         began["from"] = (last + 1).into();
///         Some(began.to_string().into())
///     });
/// # fn is<M, D: tower_ws_subscribe::Dialect<M>>(_: &D) {} is::<Message, _>(&dialect);
/// ```
///
/// Numbers are those of one subscription, and rise by one. Where a message subscribes to several
/// channels that count each for itself, say one message a channel.
///
/// Without [`resume`](Self::resume) they are taken to begin anew with each connection; with it, to
/// go on. A server that goes back by 1,024 or more has begun anew all the same: what lies less far
/// back has come already.
#[derive(Clone)]
pub struct Sequenced<D, F, R = Anew> {
    dialect: D,
    number: F,
    resume: R,
}

/// Subscriptions begin at the present on each connection: the default of [`Sequenced`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Anew;

/// How a subscription begins again where it was lost. Closures from the message that began it, and
/// the last number that has come, implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` resumes no subscription by messages of type `{M}`",
    label = "no resumption",
    note = "a closure `|began: &M, last: u64| -> Option<M>`, which asks from a number on, will do"
)]
pub trait Resume<M> {
    /// Whether numbers go on from one connection to the next.
    const GOES_ON: bool;

    /// What to say in the place of `began`. `None`: `began` itself.
    fn resume(&self, began: &M, last: u64) -> Option<M>;
}

impl<M> Resume<M> for Anew {
    const GOES_ON: bool = false;

    fn resume(&self, _: &M, _: u64) -> Option<M> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<M, F: Fn(&M, u64) -> Option<M>> Resume<M> for F {
    const GOES_ON: bool = true;

    fn resume(&self, began: &M, last: u64) -> Option<M> {
        self(began, last)
    }
}

impl<D, F> Sequenced<D, F> {
    /// `number` gives the sequence number of a message that comes in under a subscription; `None`
    /// if it has none.
    pub fn new(dialect: D, number: F) -> Self {
        Self {
            dialect,
            number,
            resume: Anew,
        }
    }

    /// Numbers go on from one connection to the next, and `resume` makes the message that says from
    /// where: of the one that began the subscription, and the last number that has come.
    ///
    /// It has to begin the same subscription: the same channel, the same method.
    #[must_use]
    pub fn resume<R>(self, resume: R) -> Sequenced<D, F, R> {
        Sequenced {
            dialect: self.dialect,
            number: self.number,
            resume,
        }
    }
}

impl<M, D, F, R> Dialect<M> for Sequenced<D, F, R>
where
    D: Dialect<M>,
    F: Fn(&M) -> Option<u64>,
    R: Resume<M>,
{
    fn says(&self, message: &M) -> Says {
        self.dialect.says(message)
    }

    fn hears<'m>(&self, message: &'m M) -> Hears<'m> {
        self.dialect.hears(message)
    }

    fn answer(&self, message: &M) -> Result<Option<Box<str>>, String> {
        self.dialect.answer(message)
    }

    fn numbered(&self, began: &M, request: u64) -> Option<M> {
        self.dialect.numbered(began, request)
    }

    fn ending(&self, began: &M, names: &[Box<str>], undo: Option<&str>, request: u64) -> Option<M> {
        self.dialect.ending(began, names, undo, request)
    }

    fn gives_names(&self) -> bool {
        self.dialect.gives_names()
    }

    fn renamed(&self, message: &M, name: &str) -> Option<M> {
        self.dialect.renamed(message, name)
    }

    fn alias(&self, name: &str, nth: u64) -> Box<str> {
        self.dialect.alias(name, nth)
    }

    fn only(&self, began: &M, names: &[Box<str>]) -> Option<M> {
        self.dialect.only(began, names)
    }

    fn number(&self, message: &M) -> Option<u64> {
        (self.number)(message)
    }

    fn resume(&self, began: &M, last: u64) -> Option<M> {
        self.resume.resume(began, last)
    }

    fn goes_on(&self) -> bool {
        R::GOES_ON
    }
}

impl<D: fmt::Debug, F, R> fmt::Debug for Sequenced<D, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequenced")
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}
