/// Every sequence of so many of these steps, one after the other: for a state machine that is small enough to be tried in full,
/// up to a length. Laws that are checked after each step hold for the shorter ones, too.
///
/// ```
/// use tower_ws_test_kit::sequences;
///
/// let all: Vec<_> = sequences(&["up", "down"], 2).collect();
/// assert_eq!(all, [["up", "up"], ["down", "up"], ["up", "down"], ["down", "down"]]);
/// ```
pub fn sequences<T: Clone>(steps: &[T], length: u32) -> impl Iterator<Item = Vec<T>> {
    (0..steps.len().pow(length)).map(move |number| {
        let digits = (0..length).scan(number, |rest, _| {
            let digit = *rest % steps.len();
            *rest /= steps.len();
            Some(digit)
        });
        digits.map(|digit| steps[digit].clone()).collect()
    })
}
