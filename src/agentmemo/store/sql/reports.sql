-- Reports: aggregates over the questions that were asked in a window, and the work of the same time.
-- A median is the smallest value that at least half of the others do not pass.

-- name: report_outcomes
SELECT state, decision, count(*), CAST(sum(occurrences) AS BIGINT),
    CAST(sum(CASE WHEN warned > 0 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN warned >= :late THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN lapsed_at IS NULL THEN 0 ELSE 1 END) AS BIGINT)
FROM escalation WHERE workspace = :workspace AND created_at >= :since AND created_at < :until GROUP BY state, decision;

-- name: report_times
WITH ranked AS (
    SELECT ended_at - created_at AS took, count(*) OVER () AS decided,
        row_number() OVER (ORDER BY ended_at - created_at) AS place
    FROM escalation
    WHERE workspace = :workspace AND created_at >= :since AND created_at < :until AND state = 'decided')
SELECT min(CASE WHEN place * 2 >= decided THEN took END), min(CASE WHEN place * 10 >= decided * 9 THEN took END)
FROM ranked;

-- name: report_people
WITH voted AS (
    SELECT v.person AS person, v.decision AS decision, v.at AS at, e.created_at AS asked,
        lag(v.at) OVER (PARTITION BY v.person ORDER BY v.at, v.id) AS previous
    FROM escalation e JOIN escalation_vote v ON v.escalation = e.id
    WHERE e.workspace = :workspace AND e.created_at >= :since AND e.created_at < :until),
timed AS (
    SELECT person, decision, at - asked AS took,
        CASE WHEN previous > asked THEN at - previous ELSE at - asked END AS looked
    FROM voted),
ranked AS (
    SELECT person, decision, took, looked, count(*) OVER (PARTITION BY person) AS decisions,
        row_number() OVER (PARTITION BY person ORDER BY took) AS took_place,
        row_number() OVER (PARTITION BY person ORDER BY looked) AS looked_place
    FROM timed)
SELECT person, decisions,
    min(CASE WHEN took_place * 2 >= decisions THEN took END),
    min(CASE WHEN looked_place * 2 >= decisions THEN looked END),
    CAST(sum(CASE WHEN decision = 'approve' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN decision IN ('approve', 'edit', 'reject', 'abort') THEN 1 ELSE 0 END) AS BIGINT)
FROM ranked GROUP BY person, decisions ORDER BY decisions DESC, person LIMIT :limit;

-- name: report_askers
SELECT asker, count(*) AS questions, CAST(sum(occurrences) AS BIGINT) AS asks
FROM escalation WHERE workspace = :workspace AND created_at >= :since AND created_at < :until
GROUP BY asker ORDER BY questions DESC, asks DESC, asker LIMIT :limit;

-- name: report_often
SELECT kind, reason, count(*) AS questions, CAST(sum(occurrences) AS BIGINT) AS asks,
    CAST(sum(CASE WHEN state = 'decided' THEN 1 ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN state = 'decided' AND decision = 'approve' THEN 1 ELSE 0 END) AS BIGINT)
FROM escalation WHERE workspace = :workspace AND created_at >= :since AND created_at < :until
GROUP BY kind, reason HAVING sum(occurrences) > 1 ORDER BY asks DESC, kind, reason LIMIT :limit;

-- name: report_unanswered
SELECT handle, severity, reason, fallback, deadline FROM escalation
WHERE workspace = :workspace AND created_at >= :since AND created_at < :until
    AND (state = 'defaulted' OR (lapsed_at IS NOT NULL AND ended_at IS NULL))
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- Of runs that lie wholly in the window their own count of steps; of the others, and of those that go on, the rows.

-- name: report_steps_whole
SELECT CAST(coalesce(sum(steps), 0) AS BIGINT) FROM run
WHERE workspace = :workspace AND finished_at >= :since AND finished_at < :until AND pruned = 0 AND created_at >= :since;

-- name: report_steps_partly
SELECT count(*) FROM run r JOIN step s ON s.run = r.id
WHERE r.workspace = :workspace AND r.finished_at >= :since AND r.pruned = 0
    AND (r.finished_at >= :until OR r.created_at < :since)
    AND s.state = 'completed' AND s.finished_at >= :since AND s.finished_at < :until;

-- name: report_steps_unfinished
SELECT count(*) FROM run r JOIN step s ON s.run = r.id
WHERE r.workspace = :workspace AND r.state IN ('pending', 'running', 'waiting')
    AND s.state = 'completed' AND s.finished_at >= :since AND s.finished_at < :until;

-- name: report_paused
SELECT count(*) FROM run WHERE workspace = :workspace AND wake = 'person' AND state = 'waiting';

-- name: report_guarded
SELECT count(*) FROM guarded WHERE workspace = :workspace AND at >= :since AND at < :until;
