use std::fmt;

use metrics::{Label, SharedString};
use tower_layer::Layer;
use tower_ws_core::Length;

use crate::{
    meter::{Height, Meters},
    names::LABELS,
    service::Metrics,
};

/// Counts and measures what passes, as metrics of the [`metrics`] facade. See the [crate
/// docs](crate).
#[derive(Clone)]
pub struct MetricsLayer<M = Length> {
    height: Height,
    label: Option<Label>,
    measure: M,
}

impl MetricsLayer {
    /// Measures sessions: right under the client, above everything that holds messages or redials.
    /// Its metrics begin with `tower_ws_session_`.
    pub fn session() -> Self {
        Self::at(Height::Session)
    }

    /// Measures single connections and their dials: right below reconnect. Its metrics begin with
    /// `tower_ws_connection_`.
    pub fn connection() -> Self {
        Self::at(Height::Connection)
    }

    fn at(height: Height) -> Self {
        Self {
            height,
            label: None,
            measure: Length,
        }
    }
}

impl<M> MetricsLayer<M> {
    /// Sets what knows the size and the kind of a message. Default: [`Length`], for texts and byte
    /// strings.
    ///
    /// The words that its `kind` returns
    /// become values of the label `kind`: the first 16 do, and whatever comes after them counts as
    /// `other`.
    #[must_use]
    pub fn measure<N>(self, measure: N) -> MetricsLayer<N> {
        MetricsLayer {
            height: self.height,
            label: self.label,
            measure,
        }
    }

    /// Adds a label to every metric of this layer, to tell stacks of one process apart:
    /// `("server", "orders")`. Default: none. A second call replaces the first.
    ///
    /// Each value multiplies the number of series, so take it from the configuration: a role, never
    /// an address or an id. A key that is a label of the layer's own (`kind`, `lane`, `reason`,
    /// `cause`, `next`, `code`, `outcome`, `why`, `quality`, `state`, `limit`) is left out and
    /// logged, since exporters refuse what has a label twice.
    #[must_use]
    pub fn label(mut self, key: &'static str, value: impl Into<SharedString>) -> Self {
        if LABELS.contains(&key) {
            tracing::warn!(key, "a label of this name is the layer's own: left out");
        } else {
            self.label = Some(Label::new(key, value));
        }
        self
    }
}

impl<S, M: Clone> Layer<S> for MetricsLayer<M> {
    type Service = Metrics<S, M>;

    /// Describes and registers the metrics, with the recorder that is installed now. Sessions under the
    /// same label share their handles.
    fn layer(&self, inner: S) -> Self::Service {
        Metrics::new(
            inner,
            Meters::of(self.height, self.label.as_ref()),
            self.measure.clone(),
        )
    }
}

impl<M> fmt::Debug for MetricsLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer")
            .field("height", &self.height)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
