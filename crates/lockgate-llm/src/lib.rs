//! The wire formats of AI vendors, without input and output.
//!
//! In: bytes of requests and answers in any pieces, and price files. Out: where the model's name
//! stands in a request, the splices that turn it into the vendor's request, whole events of a
//! stream, tokens in one normal form, and prices in whole numbers.
//!
//! It never opens a socket, reads a clock, uses a float for money, or serialises a body anew:
//! bytes that are not spliced go through as they came. What it holds is capped.
//!
//! Start reading at [`ChatRequest`] (what is read of a request), [`EventStream`] (what is read of
//! a stream) and [`PriceTable`].
#![deny(missing_docs)]

mod answer;
mod json;
mod price;
mod request;
mod stream;
mod usage;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use answer::{AnswerFault, check_answer};
pub use price::{PriceError, PriceTable};
pub use request::{ChatRequest, RequestFault, Rewrite, Rewritten};
pub use stream::{Ended, EventStream};
pub use usage::parse_usage;
