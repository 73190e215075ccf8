/**
 * What processes share by a name in PostgreSQL: revoked tasks (`core/timed-set.ts`), dedupe keys (`core/send-keys.ts`) and
 * finished steps (`results/steps.ts`). As with results, what was released is never changed.
 */
export function keyFunctions(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    // Adds names for at least so long, while there is room; a letter each: y it is in, n no room. One at a time, for the cap.
    `CREATE FUNCTION ${q}.add_marks(keys text[], names text[], ttl float8, most integer) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE total integer; w record; answer text := '';
    BEGIN
      PERFORM pg_advisory_xact_lock(hashtextextended('lovage:marks:${schema}', 0));
      DELETE FROM ${q}.marks m WHERE m.until <= clock_timestamp();
      SELECT count(*) INTO total FROM ${q}.marks;
      FOR w IN SELECT * FROM unnest(keys, names) WITH ORDINALITY AS u(key, name, n) ORDER BY u.n LOOP
        UPDATE ${q}.marks m SET until = greatest(m.until, ${q}.until_after(ttl)), seq = nextval('${q}.mark_seq') WHERE m.key = w.key;
        IF FOUND THEN answer := answer || 'y'; CONTINUE; END IF;
        IF total >= most THEN answer := answer || 'n'; CONTINUE; END IF;
        INSERT INTO ${q}.marks VALUES (w.key, w.name, ${q}.until_after(ttl), nextval('${q}.mark_seq'));
        total := total + 1;
        answer := answer || 'y';
      END LOOP;
      RETURN answer;
    END $$`,

    // Null when it was changed, else what stands there, '' for nothing.
    `CREATE FUNCTION ${q}.swap_send_key(wanted text, expected text, put text, ttl float8) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE there text;
    BEGIN
      IF expected IS NULL AND put IS NOT NULL THEN
        INSERT INTO ${q}.send_keys AS k VALUES (wanted, put, ${q}.until_after(ttl))
          ON CONFLICT (key) DO UPDATE SET value = excluded.value, until = excluded.until WHERE k.until <= clock_timestamp();
        IF FOUND THEN RETURN NULL; END IF;
      ELSIF put IS NULL THEN
        DELETE FROM ${q}.send_keys k WHERE k.key = wanted AND k.value = expected AND k.until > clock_timestamp();
        IF FOUND THEN RETURN NULL; END IF;
      ELSE
        UPDATE ${q}.send_keys k SET value = put, until = ${q}.until_after(ttl)
          WHERE k.key = wanted AND k.value = expected AND k.until > clock_timestamp();
        IF FOUND THEN RETURN NULL; END IF;
      END IF;
      SELECT k.value INTO there FROM ${q}.send_keys k WHERE k.key = wanted AND k.until > clock_timestamp();
      RETURN CASE WHEN there IS NULL AND expected IS NULL AND put IS NULL THEN NULL ELSE coalesce(there, '') END;
    END $$`,

    // stored, fenced, full, or present with what stands there
    `CREATE FUNCTION ${q}.put_step(task_key text, step text, gave text, run_epoch bigint, ttl float8, most integer, OUT kind text, OUT present text)
      LANGUAGE plpgsql AS $$
    DECLARE t record;
    BEGIN
      IF EXISTS (SELECT 1 FROM ${q}.results r WHERE r.id = task_key AND r.epoch > run_epoch AND r.epoch_until > clock_timestamp()) THEN
        kind := 'fenced'; RETURN;
      END IF;
      LOOP
        INSERT INTO ${q}.step_tasks VALUES (task_key, 0, ${q}.until_after(ttl)) ON CONFLICT DO NOTHING;
        SELECT s.* INTO t FROM ${q}.step_tasks s WHERE s.task = task_key FOR UPDATE;
        EXIT WHEN FOUND;
      END LOOP;
      IF t.until <= clock_timestamp() THEN
        DELETE FROM ${q}.steps s WHERE s.task = task_key;
        t.count := 0;
      ELSE
        SELECT s.result INTO present FROM ${q}.steps s WHERE s.task = task_key AND s.name = step;
        IF FOUND THEN kind := 'present'; RETURN; END IF;
        IF t.count >= most THEN kind := 'full'; RETURN; END IF;
      END IF;
      INSERT INTO ${q}.steps VALUES (task_key, step, gave);
      UPDATE ${q}.step_tasks s SET count = t.count + 1, until = ${q}.until_after(ttl) WHERE s.task = task_key;
      kind := 'stored';
    END $$`,

    `CREATE FUNCTION ${q}.forget_steps(tasks text[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM 1 FROM ${q}.step_tasks s WHERE s.task = ANY(tasks) ORDER BY s.task FOR UPDATE;
      DELETE FROM ${q}.steps s WHERE s.task = ANY(tasks);
      DELETE FROM ${q}.step_tasks s WHERE s.task = ANY(tasks);
    END $$`,
  ];
}
