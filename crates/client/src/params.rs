use std::cell::Cell;

use serde::Serialize;
use serde_json::value::RawValue;

/// Parameters as JSON text, until they have been written into a message.
///
/// That is soon, so the memory of the last ones serves the next of the same thread.
pub(crate) struct Params(Vec<u8>);

/// What is larger is not kept.
const KEPT: usize = 4 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Params {
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        let mut params = Self::empty();
        serde_json::to_writer(&mut params.0, value)?;
        Ok(params)
    }

    pub(crate) fn raw(value: &RawValue) -> Self {
        Self::copied(value.get().as_bytes())
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }

    fn empty() -> Self {
        Self(SPARE.take())
    }

    fn copied(text: &[u8]) -> Self {
        let mut params = Self::empty();
        params.0.extend_from_slice(text);
        params
    }
}

impl Clone for Params {
    fn clone(&self) -> Self {
        Self::copied(&self.0)
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.0);
        if text.capacity() <= KEPT {
            text.clear();
            // A thread that ends keeps none.
            let _ = SPARE.try_with(|spare| spare.set(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let first = Params::of(&["one"]).unwrap();
        let at = first.text().as_ptr();
        let copy = first.clone();
        assert_ne!(copy.text().as_ptr(), at);
        drop(copy);
        drop(first);
        let second = Params::of(&["two"]).unwrap();
        assert_eq!((second.text(), second.text().as_ptr()), (&br#"["two"]"#[..], at));
        drop(Params::of(&"x".repeat(2 * KEPT)).unwrap());
        assert!(SPARE.take().capacity() <= KEPT);
    }
}
