-- Questions that are told together, questions that are not told because of another one, and why one was taken back.

ALTER TABLE escalation ADD COLUMN inhibited_by text COLLATE "C";
ALTER TABLE escalation ADD COLUMN inhibited_rule text COLLATE "C";
ALTER TABLE escalation ADD COLUMN ended_reason text NOT NULL DEFAULT '';
CREATE INDEX escalation_inhibited ON escalation (workspace, inhibited_by)
    WHERE inhibited_by IS NOT NULL AND ended_at IS NULL;

-- `grouping` is what those have in common that are told in one message; `lead` is the notification that it went out as.
ALTER TABLE notification ADD COLUMN grouping text COLLATE "C";
ALTER TABLE notification ADD COLUMN lead text COLLATE "C";
CREATE INDEX notification_grouping ON notification (workspace, grouping, person) WHERE grouping IS NOT NULL;

-- Under which of the plane's secrets a link was hashed.
ALTER TABLE answer_link ADD COLUMN secret text NOT NULL DEFAULT '';

-- Who objected to what a rule decided, when they looked at it afterwards.
ALTER TABLE guarded ADD COLUMN objector bigint;
ALTER TABLE guarded ADD COLUMN objected_at bigint;
