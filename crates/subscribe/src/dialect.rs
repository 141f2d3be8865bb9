use std::{borrow::Cow, fmt};

/// How a protocol subscribes: which message begins it, which ends it, what the server calls it.
///
/// Ready-made: [`JsonRpc`](crate::JsonRpc), [`Channels`](crate::Channels),
/// [`GraphQl`](crate::GraphQl); [`Sequenced`](crate::Sequenced) adds sequence numbers to any of
/// them. Each session has a clone of its own. [`says`](Self::says) and [`hears`](Self::hears) run
/// once for each message, so they should be cheap.
///
/// A *name* is what subscriptions are told apart by: an id that the server gives, as its JSON text,
/// or a channel that the client names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know how messages of type `{M}` subscribe",
    label = "no dialect for these messages",
    note = "use `JsonRpc`, `Channels` or `GraphQl`, with the codec that the messages travel in"
)]
pub trait Dialect<M> {
    /// What an outgoing message of the application's is to its subscriptions.
    fn says(&self, message: &M) -> Says;

    /// What an incoming message is to the subscriptions.
    fn hears<'m>(&self, message: &'m M) -> Hears<'m>;

    /// What an [answer](Hears::Answer), or the [end](Hears::Over) of a subscription, says: the name
    /// that the server gives, if it gives any.
    ///
    /// # Errors
    ///
    /// In the peer's words, why it refuses or ends the subscription.
    fn answer(&self, message: &M) -> Result<Option<Box<str>>, String>;

    /// The message that begins a subscription, under another number of request. `None`: it has no
    /// number, and goes as it is.
    fn numbered(&self, began: &M, request: u64) -> Option<M>;

    /// The message that takes a subscription back, which `began` so and has these names on this
    /// connection. `undo` is what [`Handle::subscribe`](crate::Handle::subscribe) was told to
    /// end it by. `None`: there is none.
    fn ending(&self, began: &M, names: &[Box<str>], undo: Option<&str>, request: u64) -> Option<M>;

    /// Whether the server gives the names, in its answers. Then a subscription is active once it is
    /// answered, otherwise once it is said. Default: the client gives them.
    fn gives_names(&self) -> bool {
        false
    }

    /// The same message with another name in the place of the one that it has: what comes in under
    /// the server's name goes up under the application's, and the other way round. `None`: it has
    /// none. Default: names are the client's, and never change.
    fn renamed(&self, message: &M, name: &str) -> Option<M> {
        let (_, _) = (message, name);
        None
    }

    /// A name of the same form which the server would not give, for when it gives one that the
    /// application knows another subscription by. `nth` counts the attempts.
    fn alias(&self, name: &str, nth: u64) -> Box<str> {
        format!("{name}#{nth}").into()
    }

    /// The message that begins a subscription, for these of its names only: the others have been
    /// taken back. `None`: it cannot be taken apart.
    fn only(&self, began: &M, names: &[Box<str>]) -> Option<M> {
        let (_, _) = (began, names);
        None
    }

    /// The sequence number of a message that belongs to a subscription. Default: none has one.
    fn number(&self, message: &M) -> Option<u64> {
        let _ = message;
        None
    }

    /// The message that begins a subscription where it was lost: after this number. `None`: at the
    /// present.
    fn resume(&self, began: &M, last: u64) -> Option<M> {
        let (_, _) = (began, last);
        None
    }

    /// Whether sequence numbers go on from one connection to the next. Default: they begin anew.
    fn goes_on(&self) -> bool {
        false
    }
}

/// What an outgoing message is to the subscriptions of a connection. This list is complete.
#[derive(Clone, Eq, PartialEq)]
pub enum Says {
    /// Nothing.
    Other,
    /// It begins one.
    Begins {
        /// The request whose answer says whether the server has it, if it has a number.
        request: Option<u64>,
        /// Its names, where the client gives them: then it stands once it is said. Where the server
        /// does there are none, and it stands once it is answered: until then the request belongs
        /// to whoever made it.
        names: Vec<Box<str>>,
    },
    /// It ends those with these names.
    Ends {
        /// The request whose answer says that it did, if it has a number.
        request: Option<u64>,
        /// As the application knows them.
        names: Vec<Box<str>>,
    },
}

/// What an incoming message is to the subscriptions of a connection. This list is complete.
#[derive(Clone, Eq, PartialEq)]
pub enum Hears<'m> {
    /// Nothing.
    Other,
    /// The answer to what began one, or ended it. [`Dialect::answer`] reads it.
    Answer(To<'m>),
    /// Something that the subscription with this name is for.
    Told(Cow<'m, str>),
    /// The server ends the subscription with this name. [`Dialect::answer`] says why.
    Over(Cow<'m, str>),
}

/// What an answer answers. This list is complete.
#[derive(Clone, Eq, PartialEq)]
pub enum To<'m> {
    /// The request with this number.
    Request(u64),
    /// What was said of the subscription with this name.
    Name(Cow<'m, str>),
}

// Without the names: they may hold secrets.

impl fmt::Debug for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("Other"),
            Self::Begins { request, .. } => f
                .debug_struct("Begins")
                .field("request", request)
                .finish_non_exhaustive(),
            Self::Ends { request, .. } => f.debug_struct("Ends").field("request", request).finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Hears<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("Other"),
            Self::Answer(to) => f.debug_tuple("Answer").field(to).finish(),
            Self::Told(_) => f.write_str("Told(..)"),
            Self::Over(_) => f.write_str("Over(..)"),
        }
    }
}

impl fmt::Debug for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => f.debug_tuple("Request").field(request).finish(),
            Self::Name(_) => f.write_str("Name(..)"),
        }
    }
}
