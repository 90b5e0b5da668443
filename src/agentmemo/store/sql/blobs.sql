-- Values over 4 KiB, stored once per workspace in chunks.

-- name: blob_find
SELECT number, size, codec, complete FROM blob WHERE workspace = :workspace AND id = :id;

-- name: blob_add
INSERT INTO blob (workspace, id, size, codec, touched_at, complete)
VALUES (:workspace, :id, :size, :codec, :now, 0) RETURNING number;

-- name: blob_touch
UPDATE blob SET touched_at = :now WHERE number = :number;

-- name: blob_complete
UPDATE blob SET complete = 1, touched_at = :now WHERE number = :number;

-- name: blob_chunk_add
INSERT INTO blob_chunk (blob, chunk, content) VALUES (:blob, :chunk, :content)
ON CONFLICT (blob, chunk) DO NOTHING;

-- name: blob_chunks
SELECT content FROM blob_chunk WHERE blob = :blob ORDER BY chunk;

-- name: blob_next
SELECT max(number), count(*) FROM (SELECT number FROM blob WHERE number > :after ORDER BY number LIMIT :limit) looked;

-- name: blob_unreferenced
SELECT b.workspace, b.number FROM blob b
WHERE b.number > :after AND b.number <= :last AND b.touched_at < :before
    AND NOT EXISTS (SELECT 1 FROM entry_version v WHERE v.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM step s WHERE s.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM run_value r WHERE r.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM handoff_value h WHERE h.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM escalation_value e WHERE e.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM workflow_version w WHERE w.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM workflow_case c WHERE c.blob = b.id)
    AND NOT EXISTS (SELECT 1 FROM signal g WHERE g.blob = b.id)
ORDER BY b.number;

-- name: blob_remove_chunks
DELETE FROM blob_chunk WHERE blob = :number;

-- name: blob_remove
DELETE FROM blob WHERE number = :number;
