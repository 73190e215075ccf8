/**
 * Chords in PostgreSQL: one transaction notes the ends of parts and tells the verdicts; the row of a chord is the lock
 * under which its parts are counted. Rules: `results/chords.ts`. As with results, what was released is never changed.
 */

/** How often it is looked whether a chord is over, at most: a chord whose time is moved on and on is looked at again. */
const SWEEP_SLACK = "interval '1 minute'";

export function chordFunctions(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    // Rows of these chords, made, kept for longer and locked in one order; those whose time was over are as new.
    `CREATE FUNCTION ${q}.hold_chords(groups text[], names text[], ttls float8[]) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE wanted integer; held integer; past text[];
    BEGIN
      SELECT count(DISTINCT g.id) INTO wanted FROM unnest(groups) AS g(id);
      LOOP
        INSERT INTO ${q}.chords(group_id, name, added, done, until, sweep_at)
          SELECT g.id, min(g.name), 0, 0, max(${q}.until_after(g.ttl)), max(${q}.until_after(g.ttl)) + ${SWEEP_SLACK}
            FROM unnest(groups, names, ttls) AS g(id, name, ttl) GROUP BY g.id ORDER BY g.id COLLATE "C" ON CONFLICT DO NOTHING;
        SELECT count(*), array_agg(l.group_id) FILTER (WHERE l.until <= clock_timestamp()) INTO held, past
          FROM (SELECT c.group_id, c.until FROM ${q}.chords c WHERE c.group_id = ANY(groups) ORDER BY c.group_id FOR UPDATE) l;
        -- otherwise one was swept in between
        EXIT WHEN held = wanted;
      END LOOP;
      IF past IS NOT NULL THEN
        DELETE FROM ${q}.chord_parts p WHERE p.group_id = ANY(past);
        DELETE FROM ${q}.chord_added a WHERE a.group_id = ANY(past);
        UPDATE ${q}.chords c SET size = NULL, added = 0, done = 0, deadline = NULL, body = NULL, failed = NULL WHERE c.group_id = ANY(past);
      END IF;
      UPDATE ${q}.chords c SET until = greatest(c.until, g.until)
        FROM (SELECT h.id, max(${q}.until_after(h.ttl)) AS until FROM unnest(groups, ttls) AS h(id, ttl) GROUP BY h.id) g
        WHERE c.group_id = g.id;
    END $$`,

    `CREATE FUNCTION ${q}.open_chords(groups text[], names text[], sizes integer[], bodies text[], deadlines float8[], ttls float8[])
      RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM ${q}.hold_chords(groups, names, ttls);
      UPDATE ${q}.chords c SET size = g.size, deadline = g.deadline, body = g.body
        FROM (SELECT DISTINCT ON (o.id) o.* FROM unnest(groups, sizes, bodies, deadlines) WITH ORDINALITY AS o(id, size, body, deadline, n)
              ORDER BY o.id, o.n) g
        WHERE c.group_id = g.id AND c.size IS NULL;
    END $$`,

    // Rows for each verdict that is not "open": the part by which the chord failed, or, with `whole`, all parts in order. A part that
    // settles all does not fail it by itself.
    `CREATE FUNCTION ${q}.report_parts(groups text[], group_names text[], tasks text[], task_names text[], places integer[],
        states text[], results text[], ttls float8[], settling boolean[])
      RETURNS TABLE(report integer, whole boolean, task text, state text, result text) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE w record; c record; own record; is_new boolean;
    BEGIN
      PERFORM ${q}.hold_chords(groups, group_names, ttls);
      FOR w IN SELECT * FROM unnest(groups, tasks, task_names, places, states, results, settling) WITH ORDINALITY
          AS u(grp, task, name, place, state, result, settles, n) ORDER BY u.n LOOP
        SELECT t.size, t.added, t.done, t.failed INTO c FROM ${q}.chords t WHERE t.group_id = w.grp;
        CONTINUE WHEN c.size = -1;
        INSERT INTO ${q}.chord_parts(group_id, task_id, name, place, state, result)
          VALUES (w.grp, w.task, w.name, w.place, w.state, w.result) ON CONFLICT DO NOTHING;
        is_new := FOUND;
        IF is_new THEN
          c.done := c.done + 1;
          UPDATE ${q}.chords t SET done = c.done WHERE t.group_id = w.grp;
        END IF;
        CONTINUE WHEN c.size IS NULL OR c.failed <> w.task;
        SELECT p.name, p.state, p.result INTO own FROM ${q}.chord_parts p WHERE p.group_id = w.grp AND p.task_id = w.task;
        IF own.state <> 'SUCCESS' AND NOT w.settles THEN
          UPDATE ${q}.chords t SET failed = w.task WHERE t.group_id = w.grp AND t.failed IS NULL;
          RETURN QUERY SELECT w.n::integer, false, coalesce(own.name, w.task), own.state, own.result;
        ELSIF c.done >= c.size + c.added THEN
          RETURN QUERY SELECT w.n::integer, true, coalesce(p.name, p.task_id), p.state, p.result FROM ${q}.chord_parts p
            WHERE p.group_id = w.grp ORDER BY p.place NULLS LAST, p.task_id;
        END IF;
      END LOOP;
    END $$`,

    `CREATE FUNCTION ${q}.close_chords(groups text[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM 1 FROM ${q}.chords c WHERE c.group_id = ANY(groups) ORDER BY c.group_id FOR UPDATE;
      UPDATE ${q}.chords c SET size = -1, added = 0, done = 0, deadline = NULL, body = NULL, failed = NULL WHERE c.group_id = ANY(groups);
      DELETE FROM ${q}.chord_parts p USING ${q}.chords c WHERE p.group_id = c.group_id AND c.group_id = ANY(groups);
      DELETE FROM ${q}.chord_added a USING ${q}.chords c WHERE a.group_id = c.group_id AND c.group_id = ANY(groups);
    END $$`,

    // One part more, once for each id.
    `CREATE FUNCTION ${q}.add_chord_part(grp text, grp_name text, part text, ttl float8) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM ${q}.hold_chords(ARRAY[grp], ARRAY[grp_name], ARRAY[ttl]);
      IF EXISTS (SELECT 1 FROM ${q}.chords c WHERE c.group_id = grp AND c.size = -1) THEN RETURN; END IF;
      INSERT INTO ${q}.chord_added VALUES (grp, part) ON CONFLICT DO NOTHING;
      IF FOUND THEN UPDATE ${q}.chords c SET added = c.added + 1 WHERE c.group_id = grp; END IF;
    END $$`,
  ];
}
