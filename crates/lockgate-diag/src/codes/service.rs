//! LG04xx: services.

codes! {}
