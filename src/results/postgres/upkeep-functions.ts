/** Who listens, and the removal of what is over, in PostgreSQL. As with results, what was released is never changed. */
export function upkeepFunctions(schema: string): readonly string[] {
  const q = `"${schema}"`;
  return [
    // True if nobody could know of it before: then writers that are on their way may not have notified.
    `CREATE FUNCTION ${q}.register_listener(who text, ttl float8) RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE was_known boolean;
    BEGIN
      SELECT l.until > clock_timestamp() INTO was_known FROM ${q}.listeners l WHERE l.id = who;
      DELETE FROM ${q}.listeners l WHERE l.until <= clock_timestamp();
      INSERT INTO ${q}.listeners VALUES (who, ${q}.until_after(ttl)) ON CONFLICT (id) DO UPDATE SET until = excluded.until;
      RETURN was_known IS NOT TRUE;
    END $$`,

    // Removes what is over, at most so many rows of each kind, and tells the most that it removed of one kind; -1: another
    // process is at it. Rows that somebody holds are left to the next time.
    `CREATE FUNCTION ${q}.sweep(most integer) RETURNS integer LANGUAGE plpgsql AS $$
    DECLARE gone integer; worst integer := 0; past text[];
    BEGIN
      IF NOT pg_try_advisory_xact_lock(hashtextextended('lovage:sweep:${schema}', 0)) THEN RETURN -1; END IF;
      DELETE FROM ${q}.results WHERE id IN (SELECT r.id FROM ${q}.results r WHERE r.expires <= clock_timestamp()
        AND r.expires < 'infinity' ORDER BY r.expires LIMIT most FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      DELETE FROM ${q}.marks WHERE key IN (SELECT m.key FROM ${q}.marks m WHERE m.until <= clock_timestamp()
        ORDER BY m.until LIMIT most FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      DELETE FROM ${q}.send_keys WHERE key IN (SELECT k.key FROM ${q}.send_keys k WHERE k.until <= clock_timestamp()
        ORDER BY k.until LIMIT most FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);

      -- Chords and tasks with steps go when their last part has gone; a row that was kept for longer is looked at again later.
      SELECT array_agg(l.group_id) INTO past FROM (SELECT c.group_id FROM ${q}.chords c WHERE c.sweep_at <= clock_timestamp()
        ORDER BY c.sweep_at LIMIT most FOR UPDATE SKIP LOCKED) l;
      UPDATE ${q}.chords c SET sweep_at = c.until + interval '1 minute' WHERE c.group_id = ANY(past) AND c.until > clock_timestamp();
      SELECT array_agg(c.group_id) INTO past FROM ${q}.chords c WHERE c.group_id = ANY(past) AND c.until <= clock_timestamp();
      DELETE FROM ${q}.chord_parts WHERE ctid = ANY(ARRAY(SELECT p.ctid FROM ${q}.chord_parts p WHERE p.group_id = ANY(past) LIMIT most));
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      DELETE FROM ${q}.chord_added WHERE ctid = ANY(ARRAY(SELECT a.ctid FROM ${q}.chord_added a WHERE a.group_id = ANY(past) LIMIT most));
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      DELETE FROM ${q}.chords c WHERE c.group_id = ANY(past)
        AND NOT EXISTS (SELECT 1 FROM ${q}.chord_parts p WHERE p.group_id = c.group_id)
        AND NOT EXISTS (SELECT 1 FROM ${q}.chord_added a WHERE a.group_id = c.group_id);
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);

      SELECT array_agg(l.task) INTO past FROM (SELECT t.task FROM ${q}.step_tasks t WHERE t.until <= clock_timestamp()
        ORDER BY t.until LIMIT most FOR UPDATE SKIP LOCKED) l;
      DELETE FROM ${q}.steps WHERE ctid = ANY(ARRAY(SELECT s.ctid FROM ${q}.steps s WHERE s.task = ANY(past) LIMIT most));
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      DELETE FROM ${q}.step_tasks t WHERE t.task = ANY(past) AND NOT EXISTS (SELECT 1 FROM ${q}.steps s WHERE s.task = t.task);
      GET DIAGNOSTICS gone = ROW_COUNT; worst := greatest(worst, gone);
      RETURN worst;
    END $$`,
  ];
}
