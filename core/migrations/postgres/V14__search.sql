-- Only Message-IDs that clients gave: ours begin with the id of the message, and need no index. Not the long
-- ones: PostgreSQL has a limit for what an index takes, and would refuse the mail.
CREATE INDEX messages_rfc_message_id ON messages (rfc_message_id)
    WHERE substr(rfc_message_id, 1, 4) <> 'msg_' AND length(rfc_message_id) <= 600;
CREATE INDEX audit_log_request ON audit_log (request_id)
    WHERE request_id <> '' AND length(request_id) <= 600;
