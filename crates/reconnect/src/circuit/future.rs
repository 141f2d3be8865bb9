use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use crate::circuit::{CircuitError, CircuitOpen};

/// The future of [`Circuit`](crate::Circuit).
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct CircuitFuture<F>(#[pin] Answer<F>);

#[pin_project(project = Projected)]
#[derive(Debug)]
enum Answer<F> {
    Inner(#[pin] F),
    Open(Option<CircuitOpen>),
}

impl<F> CircuitFuture<F> {
    pub(super) fn of(inner: F) -> Self {
        Self(Answer::Inner(inner))
    }

    pub(super) fn open(open: CircuitOpen) -> Self {
        Self(Answer::Open(Some(open)))
    }
}

impl<F, T, E> Future for CircuitFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, CircuitError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            Projected::Inner(inner) => inner.poll(cx).map_err(CircuitError::Inner),
            Projected::Open(open) => {
                let open = open.take().expect("polled after it was ready, which futures forbid");
                Poll::Ready(Err(CircuitError::Open(open)))
            }
        }
    }
}
