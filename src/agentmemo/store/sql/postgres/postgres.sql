-- What only PostgreSQL says, or says otherwise.

-- name: turn_take
SELECT position FROM turn WHERE workspace = :workspace FOR UPDATE;

-- name: turn_add
INSERT INTO turn (workspace, position) VALUES (:workspace, :position) ON CONFLICT (workspace) DO NOTHING;

-- name: turn_set
UPDATE turn SET position = :position WHERE workspace = :workspace;

-- name: turn_sum
SELECT CAST(coalesce(sum(position), 0) AS bigint) FROM turn;

-- Nobody can read it: a transaction that lost its connection may have committed this event or not.
-- name: event_at
SELECT id FROM event WHERE position = :position;

-- The settings hold for this transaction alone, so that a pooler may hand its connection to anybody afterwards. The rest
-- are for plans: every statement of a writer has its index, but one planned while its table was empty, and kept,
-- would read all of it until the first ANALYZE. Pages are cheap for the same reason: while a table is small, a
-- walk through a whole index looks cheaper than one look-up for each row of a batch, and it would stay when it has grown.
-- name: transaction_settings
SELECT set_config('idle_in_transaction_session_timeout', :idle, true), set_config('statement_timeout', :statement, true),
    set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('seq_page_cost', '0.1', true), set_config('random_page_cost', '0.1', true);

-- Of each task its best, and of these the best: however many wait.
-- name: ready_next
SELECT r.handle, q.available_at
FROM (
    SELECT q.run, q.priority, q.available_at
    FROM json_each(:tasks) t, LATERAL (
        SELECT run, priority, available_at FROM ready
        WHERE workspace = :workspace AND task = t.value AND available_at <= :now
        ORDER BY priority DESC, available_at LIMIT 1) q
    ORDER BY q.priority DESC, q.available_at LIMIT 1) q
JOIN run r ON r.id = q.run;

-- The index keeps words without case and accents, which the engine took off where the text is not ASCII.

-- name: entry_search
SELECT s.id, n.name, e.key, v.position, v.version, v.kind, v.author, v.run, v.at, v.expires_at, v.origin,
    v.size, v.codec, v.value, v.blob
FROM entry_search s
JOIN entry e ON e.id = s.id
JOIN entry_version v ON v.position = e.position
JOIN namespace n ON n.id = e.namespace
WHERE s.words @@ (SELECT CAST(string_agg('''' || value || ''':*', ' & ') AS tsquery) FROM json_each(:words))
    AND n.workspace = :workspace
    AND (n.name = :namespace OR :namespace IS NULL)
    AND e.live = 1 AND (e.expires_at IS NULL OR e.expires_at > :now)
    AND (:everything = 1 OR EXISTS (
        SELECT 1 FROM json_each(:patterns) p
        WHERE p.value = n.name
            OR (substr(p.value, length(p.value), 1) = '*' AND substr(n.name, 1, length(p.value) - 1) = substr(p.value, 1, length(p.value) - 1))
    ))
ORDER BY v.position DESC LIMIT :limit OFFSET :offset;

-- name: entry_unindexed
SELECT e.id, e.key, v.codec, v.value, v.blob
FROM entry_version v JOIN entry e ON e.id = v.entry
WHERE v.position > :after AND v.position <= :last AND e.position = v.position AND e.live = 1
    AND (v.codec <> 0 OR v.blob IS NOT NULL OR position('\x5c'::bytea IN v.value) > 0
        OR position('\x6e756c6c'::bytea IN v.value) > 0 OR e.key ~ '[^\x01-\x7f]'
        OR CASE WHEN v.codec = 0 THEN convert_from(v.value, 'UTF8') ~ '[^\x01-\x7f]' END);

-- name: entry_search_remove_all
DELETE FROM entry_search WHERE id IN (
    SELECT e.id FROM entry_version v JOIN entry e ON e.id = v.entry
    WHERE v.position > :after AND v.position <= :last AND e.position = v.position);

-- name: entry_search_add_all
INSERT INTO entry_search (id, words)
SELECT e.id, array_to_tsvector(ARRAY(
        SELECT DISTINCT left(lower(word), 200)
        FROM regexp_split_to_table(e.key || ' ' || convert_from(v.value, 'UTF8'), '[^0-9A-Za-z]+') word WHERE word <> ''))
FROM entry_version v JOIN entry e ON e.id = v.entry
WHERE v.position > :after AND v.position <= :last AND e.position = v.position AND e.live = 1
    AND v.codec = 0 AND v.blob IS NULL AND position('\x5c'::bytea IN v.value) = 0
    AND position('\x6e756c6c'::bytea IN v.value) = 0 AND e.key !~ '[^\x01-\x7f]'
    AND CASE WHEN v.codec = 0 THEN convert_from(v.value, 'UTF8') !~ '[^\x01-\x7f]' END
ON CONFLICT (id) DO UPDATE SET words = excluded.words;

-- name: entry_search_remove
DELETE FROM entry_search WHERE id = :id;

-- A tsvector holds 1 MB at most: of a larger text the beginning is found.
-- name: entry_search_add
INSERT INTO entry_search (id, words)
SELECT CAST(:id AS bigint), array_to_tsvector(ARRAY(
    SELECT DISTINCT left(word, 200) FROM unnest(string_to_array(CAST(:key AS text) || ' ' || left(CAST(:body AS text), 200000), ' ')) word
    WHERE word <> ''))
ON CONFLICT (id) DO UPDATE SET words = excluded.words;

-- A GIN index merges its pending entries by itself.
-- name: entry_search_merge
SELECT CAST(:pages AS bigint);
