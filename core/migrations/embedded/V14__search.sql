-- Only Message-IDs that clients gave: ours begin with the id of the message, and need no index.
CREATE INDEX messages_rfc_message_id ON messages (rfc_message_id)
    WHERE substr(rfc_message_id, 1, 4) <> 'msg_';
CREATE INDEX audit_log_request ON audit_log (request_id) WHERE request_id <> '';
