use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use futures_core::{Stream, future::BoxFuture};
use serde::de::DeserializeOwned;

use crate::{
    error::McpError,
    mcp::Mcp,
    types::{Listed, Page, Skipped},
};

/// A whole list, page by page: a stream of its items, which asks for the next page when it is
/// needed.
///
/// An error ends it. So does a server whose list does not end: [`Pages::MOST`] pages are asked for.
#[must_use = "streams do nothing unless polled"]
pub struct Pages<T> {
    mcp: Mcp,
    items: vec::IntoIter<T>,
    next: Next<T>,
    cursor: Option<String>,
    pages: usize,
    skipped: Vec<Skipped>,
}

enum Next<T> {
    Ask,
    // Boxed: the future of an async method has no name. One allocation for each page.
    Asked(BoxFuture<'static, Result<Page<T>, McpError>>),
    Done,
}

impl<T> Pages<T> {
    /// How many pages are asked for: 1,000.
    pub const MOST: usize = 1000;

    pub(crate) fn new(mcp: Mcp) -> Self {
        Self {
            mcp,
            items: Vec::new().into_iter(),
            next: Next::Ask,
            cursor: None,
            pages: 0,
            skipped: Vec::new(),
        }
    }
}

impl<T: Listed + DeserializeOwned + Send + Unpin + 'static> Pages<T> {
    /// The next item; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`McpError`]; then nothing more comes.
    pub async fn next(&mut self) -> Option<Result<T, McpError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What could not be read of the pages that have come; the rest could.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// All that are left, but for what [could not be read](Self::skipped), which is logged.
    ///
    /// # Errors
    ///
    /// The first [`McpError`].
    pub async fn all(mut self) -> Result<Vec<T>, McpError> {
        let mut all = Vec::new();
        while let Some(item) = self.next().await {
            all.push(item?);
        }
        Ok(all)
    }

    fn took(&mut self, page: Result<Page<T>, McpError>) -> Result<(), McpError> {
        let page = page?;
        self.pages += 1;
        self.items = page.items.into_iter();
        self.skipped.extend(page.skipped);
        let again = page.next_cursor.is_some() && page.next_cursor == self.cursor;
        self.next = match page.next_cursor {
            None => Next::Done,
            Some(_) if again || self.pages == Self::MOST => return Err(McpError::Endless(T::METHOD)),
            cursor => {
                self.cursor = cursor;
                Next::Ask
            }
        };
        Ok(())
    }
}

impl<T: Listed + DeserializeOwned + Send + Unpin + 'static> Stream for Pages<T> {
    type Item = Result<T, McpError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = self.items.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            match &mut self.next {
                Next::Done => return Poll::Ready(None),
                Next::Ask => {
                    let (mcp, cursor) = (self.mcp.clone(), self.cursor.clone());
                    self.next = Next::Asked(Box::pin(async move { mcp.page(cursor.as_deref()).await }));
                }
                Next::Asked(page) => {
                    let page = ready!(page.as_mut().poll(cx));
                    self.next = Next::Done;
                    if let Err(error) = self.took(page) {
                        self.next = Next::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("pages", &self.pages)
            .finish_non_exhaustive()
    }
}
