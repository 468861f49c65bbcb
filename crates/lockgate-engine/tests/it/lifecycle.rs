//! One file per feature of the engine; each is the specification of its feature.

mod basics;
