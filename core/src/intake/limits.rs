//! Every limit of acceptance, with a name.

/// Recipients of a message in which everybody gets a mail of their own, and items of a batch.
pub const INDIVIDUAL_RECIPIENTS_MAX: usize = 1000;
/// Recipients of a message that all of them share.
pub const SHARED_RECIPIENTS_MAX: usize = 50;
/// Reply-To addresses.
pub const REPLY_TO_MAX: usize = 10;
/// Octets of a subject: a line of RFC 5322 section 2.1.1.
pub const SUBJECT_BYTES_MAX: usize = 998;
/// Octets of a display name.
pub const NAME_BYTES_MAX: usize = 256;
/// Attachments and inline images.
pub const ATTACHMENTS_MAX: usize = 50;
/// Header fields of the client's own.
pub const HEADERS_MAX: usize = 50;
/// Octets of the value of such a field.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Labels.
pub const TAGS_MAX: usize = 20;
/// Characters of a label.
pub const TAG_CHARS_MAX: usize = 128;
/// Entries of the client's own data.
pub const METADATA_MAX: usize = 50;
/// Octets of a value in it.
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// Octets of all of it.
pub const METADATA_BYTES_MAX: usize = 10_000;
/// Characters of a client's id or a campaign.
pub const ID_CHARS_MAX: usize = 256;
/// Octets of the variables of a message, and of those of one recipient, as JSON.
pub const VARIABLES_BYTES_MAX: usize = 65_536;
/// How far ahead a message may be scheduled.
pub const SCHEDULE_MS_MAX: i64 = 366 * 86_400_000;
