//! Ctrl-C: once to finish and save, twice to stop now.

use lockgate_engine::Interrupts;
use tokio::signal::unix::{SignalKind, signal};

use crate::printer::Printer;

/// Starts to listen; the tokens are cancelled by the first and the second signal.
pub(crate) fn listen(printer: &Printer) -> Interrupts {
    let interrupts = Interrupts::default();
    let (stop, abort) = (interrupts.stop.clone(), interrupts.abort.clone());
    let printer = printer.clone();
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return interrupts;
    };
    // Lives as long as the process: it ends with the runtime, and owns nothing.
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        printer.say("finishing what runs, then saving; once more to stop now");
        stop.cancel();
        next().await;
        printer.say("stopping now; the state will say what is not known");
        abort.cancel();
    });
    interrupts
}
