//! Three stages that overlap: decode, compute, write. At most a few pictures are in memory.

use std::sync::mpsc::sync_channel;
use std::thread;

/// Pictures that wait between two stages: one being handed over is enough to hide the wait.
const WAITING: usize = 1;

/// Runs every input through `decode` (its own thread), `compute` (this thread) and `write` (its own
/// thread), in order. What fails in a stage reaches `write` as the error it was, and the others go
/// on. `write` returns whether to go on; the pipeline stops early where it says no.
pub fn overlap<Input, Decoded, Done, Failure>(
    inputs: impl IntoIterator<Item = Input> + Send,
    decode: impl Fn(&Input) -> Result<Decoded, Failure> + Send,
    mut compute: impl FnMut(&Input, Decoded) -> Result<Done, Failure>,
    mut write: impl FnMut(Input, Result<Done, Failure>) -> bool + Send,
) where
    Input: Send,
    Decoded: Send,
    Done: Send,
    Failure: Send,
{
    let (decoded_out, decoded_in) = sync_channel::<(Input, Result<Decoded, Failure>)>(WAITING);
    let (done_out, done_in) = sync_channel::<(Input, Result<Done, Failure>)>(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || {
            for input in inputs {
                let decoded = decode(&input);
                // The receiver is gone only where the pipeline was told to stop.
                if decoded_out.send((input, decoded)).is_err() {
                    return;
                }
            }
        });
        scope.spawn(move || {
            for (input, done) in done_in {
                if !write(input, done) {
                    return;
                }
            }
        });
        for (input, decoded) in decoded_in {
            let done = decoded.and_then(|decoded| compute(&input, decoded));
            if done_out.send((input, done)).is_err() {
                break;
            }
        }
        drop(done_out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_pass_through_and_order_is_kept() {
        let mut seen = Vec::new();
        overlap(
            0..10,
            |&input| if input % 3 == 0 { Err(input) } else { Ok(input * 2) },
            |&input, decoded| if input == 5 { Err(-5) } else { Ok(decoded + 1) },
            |input, done| {
                seen.push((input, done));
                true
            },
        );
        assert_eq!(seen.len(), 10);
        assert_eq!(seen[0], (0, Err(0)));
        assert_eq!(seen[1], (1, Ok(3)));
        assert_eq!(seen[5], (5, Err(-5)));
        assert_eq!(seen[8], (8, Ok(17)));
    }

    #[test]
    fn stopping_stops() {
        let mut written = 0;
        overlap(
            0..1_000_000,
            |&input| Ok::<_, ()>(input),
            |_, decoded| Ok(decoded),
            |_, _| {
                written += 1;
                written < 3
            },
        );
        assert_eq!(written, 3);
    }
}
