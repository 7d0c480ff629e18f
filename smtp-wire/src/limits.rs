//! The ceilings, in bytes unless the name says otherwise.

/// The longest line of a reply. RFC 5321 §4.5.3.1.5 says 512; large providers send more.
pub const REPLY_LINE_BYTES_MAX: usize = 2048;
/// The most lines of one reply.
pub const REPLY_LINES_MAX: usize = 128;
/// The largest reply, all lines together.
pub const REPLY_BYTES_MAX: usize = 16 * 1024;
/// The longest command line without its CRLF; RFC 5321 §4.5.3.1.4 says 512 and extensions add.
pub const COMMAND_LINE_BYTES_MAX: usize = 1000;
/// The longest AUTH line without its CRLF (RFC 4954 §4.5).
pub const AUTH_LINE_BYTES_MAX: usize = 12_288;
/// The longest local part (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_BYTES_MAX: usize = 64;
/// The longest domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
