//! A queue for messages of a size that it cannot know.
//~ cannot measure messages of type `Order`
//~ give the layer a closure from `&Order` to its bytes, by `.measure(…)`
use tower_ws::core::{Length, Measure};

struct Order;

fn measures<M>(_: impl Measure<M>) {}

fn main() {
    measures::<Order>(Length);
}
