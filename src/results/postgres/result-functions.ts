/**
 * Results in PostgreSQL: what may be written over what, claims, forgetting. Each call of the seam is one statement, and so
 * one transaction and one round trip. Rules: `results/result-store.ts`. The functions belong to the version of the schema
 * that made them: what was released is never changed, a later version makes others.
 */

/** Length of a notification is 7,999 bytes at most; one has so many hashes of 16 characters. */
const HASHES_A_PAYLOAD = 400;

/** The channel of a schema: all who wait for results there listen to it. */
export const channelOf = (schema: string): string => `${schema}:results`;

/** The lock that writers share, and that somebody who begins to listen takes alone for a moment (see `waiters.ts`). */
export const barrierOf = (schema: string): string => `hashtextextended('lovage:barrier:${schema}', 0)`;

export function resultFunctions(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    `CREATE FUNCTION ${q}.until_after(ttl_ms float8) RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
      SELECT CASE WHEN ttl_ms IS NULL THEN 'infinity'::timestamptz ELSE clock_timestamp() + ttl_ms * interval '1 millisecond' END
    $$`,

    // Tells those who wait. The lock comes first: whoever has begun to listen is seen, or looks after this transaction.
    `CREATE FUNCTION ${q}.notify_results(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock_shared(${barrierOf(schema)});
      IF NOT EXISTS (SELECT 1 FROM ${q}.listeners WHERE until > clock_timestamp()) THEN RETURN; END IF;
      PERFORM pg_notify('${channelOf(schema)}', string_agg(h.hash, ''))
        FROM (SELECT substring(encode(sha256(convert_to(i.id, 'UTF8')), 'hex') FOR 16) AS hash, (i.n - 1) / ${HASHES_A_PAYLOAD} AS page
              FROM unnest(ids) WITH ORDINALITY AS i(id, n)) h GROUP BY h.page;
    END $$`,

    // Writes a batch. Answers one letter each: s stored, f final, x fenced. New ids, nearly all, cost one insert together.
    `CREATE FUNCTION ${q}.write_results(ids text[], states text[], metas text[], epochs bigint[], ttls float8[])
      RETURNS text LANGUAGE plpgsql AS $$
    DECLARE
      answers text[]; w record; r record; stands text; claimed bigint;
    BEGIN
      WITH given AS (
        SELECT *, row_number() OVER (PARTITION BY u.id ORDER BY u.n) AS nth
          FROM unnest(ids, states, metas, epochs, ttls) WITH ORDINALITY AS u(id, state, meta, epoch, ttl, n)
      ), fresh AS (
        INSERT INTO ${q}.results(id, state, meta, meta_epoch, meta_until, epoch, epoch_until)
          SELECT g.id, g.state, g.meta, g.epoch, ${q}.until_after(g.ttl), 0, '-infinity' FROM given g WHERE g.nth = 1
          ORDER BY g.id COLLATE "C" ON CONFLICT DO NOTHING RETURNING id
      )
      SELECT array_agg(CASE WHEN g.nth = 1 AND f.id IS NOT NULL THEN 's' END ORDER BY g.n) INTO answers
        FROM given g LEFT JOIN fresh f ON f.id = g.id;
      IF array_position(answers, NULL) IS NOT NULL THEN
        -- all in one order first, so that two batches do not wait for each other
        PERFORM 1 FROM ${q}.results t WHERE t.id = ANY(ids) ORDER BY t.id FOR UPDATE;
        FOR w IN SELECT * FROM unnest(ids, states, metas, epochs, ttls, answers) WITH ORDINALITY
            AS u(id, state, meta, epoch, ttl, answer, n) WHERE u.answer IS NULL ORDER BY u.n LOOP
          LOOP
            SELECT t.* INTO r FROM ${q}.results t WHERE t.id = w.id FOR UPDATE;
            EXIT WHEN FOUND;
            -- it was swept just now
            INSERT INTO ${q}.results(id, meta_epoch, meta_until, epoch, epoch_until) VALUES (w.id, 0, '-infinity', 0, '-infinity')
              ON CONFLICT DO NOTHING;
          END LOOP;
          stands := CASE WHEN r.meta_until > clock_timestamp() THEN r.state END;
          claimed := CASE WHEN r.epoch_until > clock_timestamp() THEN r.epoch ELSE 0 END;
          IF stands = w.state AND r.meta = w.meta AND w.epoch = r.meta_epoch THEN
            answers[w.n] := 's'; -- written before, and the answer was lost
          ELSIF stands = 'SUCCESS' THEN
            answers[w.n] := 'f';
          ELSIF w.epoch < claimed THEN
            answers[w.n] := 'x';
          ELSIF stands IN ('FAILURE', 'REVOKED') AND w.state <> 'SUCCESS' AND w.epoch <= r.meta_epoch
              AND NOT (stands = 'REVOKED' AND w.state IN ('FAILURE', 'REVOKED') AND r.meta ~ '"children": ?null') THEN
            answers[w.n] := 'f';
          ELSE
            UPDATE ${q}.results t SET state = w.state, meta = w.meta, meta_epoch = w.epoch,
              meta_until = ${q}.until_after(w.ttl), epoch = claimed WHERE t.id = w.id;
            answers[w.n] := 's';
          END IF;
        END LOOP;
      END IF;
      PERFORM ${q}.notify_results(array_agg(u.id)) FROM unnest(ids, answers) AS u(id, answer) WHERE u.answer = 's' HAVING count(*) > 0;
      RETURN array_to_string(answers, '');
    END $$`,

    // A new epoch, or the meta that is final.
    `CREATE FUNCTION ${q}.claim_result(task text, ttl float8, OUT claimed float8, OUT final text) LANGUAGE plpgsql AS $$
    DECLARE r record; has_meta boolean;
    BEGIN
      LOOP
        INSERT INTO ${q}.results(id, meta_epoch, meta_until, epoch, epoch_until)
          VALUES (task, 0, '-infinity', 1, ${q}.until_after(ttl)) ON CONFLICT DO NOTHING;
        IF FOUND THEN claimed := 1; RETURN; END IF;
        SELECT t.* INTO r FROM ${q}.results t WHERE t.id = task FOR UPDATE;
        EXIT WHEN FOUND;
      END LOOP;
      has_meta := r.meta_until > clock_timestamp();
      IF has_meta AND r.state IN ('SUCCESS', 'FAILURE', 'REVOKED') THEN final := r.meta; RETURN; END IF;
      claimed := CASE WHEN r.epoch_until > clock_timestamp() THEN r.epoch ELSE 0 END + 1;
      UPDATE ${q}.results t SET epoch = claimed::bigint, epoch_until = ${q}.until_after(ttl),
        state = CASE WHEN has_meta THEN t.state END, meta = CASE WHEN has_meta THEN t.meta END,
        meta_epoch = CASE WHEN has_meta THEN t.meta_epoch ELSE 0 END WHERE t.id = task;
    END $$`,

    // A claim stays, because the worker that it fences off may still write.
    `CREATE FUNCTION ${q}.forget_results(ids text[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM 1 FROM ${q}.results t WHERE t.id = ANY(ids) ORDER BY t.id FOR UPDATE;
      DELETE FROM ${q}.results t WHERE t.id = ANY(ids) AND t.epoch_until <= clock_timestamp();
      UPDATE ${q}.results t SET state = NULL, meta = NULL, meta_epoch = 0, meta_until = '-infinity' WHERE t.id = ANY(ids);
    END $$`,
  ];
}
