//! LG05xx: the gateway.

codes! {}
