//! LG03xx: images and gates.

codes! {}
