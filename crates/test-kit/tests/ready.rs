//! The service double that insists on the contract.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use tower::limit::ConcurrencyLimit;
use tower::{Service, ServiceExt, service_fn};
use tower_ws_test_kit::MustBeReady;

fn double()
-> MustBeReady<impl Service<u32, Response = u32, Error = Infallible, Future = Ready<Result<u32, Infallible>>> + Clone> {
    MustBeReady::new(service_fn(|n: u32| std::future::ready(Ok(n + 1))))
}

/// The mistake: what was readied is not what is called.
struct CallsAClone<S>(S);

impl<S: Service<u32> + Clone> Service<u32> for CallsAClone<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.0.clone().call(request)
    }
}

#[tokio::test]
async fn counts_calls_over_its_clones() {
    let mut service = double();
    let mut clone = service.clone();
    assert_eq!(service.ready().await.unwrap().call(1).await, Ok(2));
    assert_eq!(clone.ready().await.unwrap().call(2).await, Ok(3));
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn a_middleware_that_keeps_the_contract_passes() {
    let double = double();
    let mut service = ConcurrencyLimit::new(double.clone(), 1);
    for n in 0..3 {
        assert_eq!(service.ready().await.unwrap().call(n).await, Ok(n + 1));
    }
    assert_eq!(double.calls(), 3);
}

#[test]
#[should_panic(expected = "without `poll_ready`")]
fn a_call_out_of_the_blue_panics() {
    drop(double().call(1));
}

#[tokio::test]
#[should_panic(expected = "without `poll_ready`")]
async fn readiness_is_used_up_by_the_call() {
    let mut service = double();
    drop(service.ready().await.unwrap().call(1));
    drop(service.call(2));
}

#[tokio::test]
#[should_panic(expected = "without `poll_ready`")]
async fn a_clone_is_not_ready() {
    let mut service = CallsAClone(double());
    drop(service.ready().await.unwrap().call(1));
}

#[test]
fn pending_before_each_call() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut service = double().pending(2);
    for _ in 0..2 {
        assert!(service.poll_ready(&mut cx).is_pending());
        assert!(service.poll_ready(&mut cx).is_pending());
        assert!(service.poll_ready(&mut cx).is_ready());
        assert!(service.clone().poll_ready(&mut cx).is_pending());
        drop(service.call(1));
    }
}
