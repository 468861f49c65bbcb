//! LG07xx: store and control.

codes! {}
