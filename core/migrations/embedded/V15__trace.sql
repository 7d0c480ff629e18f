-- The span in which a message was accepted, 25 octets (W3C Trace Context): under its trace stands what becomes
-- of the message. Null for messages from before.
ALTER TABLE messages ADD COLUMN trace BLOB;
