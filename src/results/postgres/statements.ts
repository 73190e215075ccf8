/** What we ask PostgreSQL, prepared once a connection. What the functions do: `result-functions.ts` and its neighbours. */
import type { PostgresStatement } from '../../clients/postgres-library.js';

export interface Statements {
  readonly ready: PostgresStatement;
  readonly write: PostgresStatement;
  readonly read: PostgresStatement;
  readonly look: PostgresStatement;
  readonly claim: PostgresStatement;
  readonly forget: PostgresStatement;
  readonly openChords: PostgresStatement;
  readonly reportParts: PostgresStatement;
  readonly addChordPart: PostgresStatement;
  readonly closeChords: PostgresStatement;
  readonly hasten: PostgresStatement;
  readonly chordState: PostgresStatement;
  readonly overdue: PostgresStatement;
  readonly addMarks: PostgresStatement;
  readonly markVersion: PostgresStatement;
  readonly findMarks: PostgresStatement;
  readonly listMarks: PostgresStatement;
  readonly swapSendKey: PostgresStatement;
  readonly getStep: PostgresStatement;
  readonly putStep: PostgresStatement;
  readonly forgetSteps: PostgresStatement;
  readonly register: PostgresStatement;
  readonly unregister: PostgresStatement;
  readonly sweep: PostgresStatement;
}

export function statementsOf(schema: string): Statements {
  const q = `"${schema}"`;
  const named = (name: string, text: string): PostgresStatement => ({ name: `lovage:${name}`, text });
  return {
    ready: named('ready', `SELECT version FROM ${q}.lovage_schema`),
    write: named('write', `SELECT ${q}.write_results($1::text[], $2::text[], $3::text[], $4::bigint[], $5::float8[]) AS answers`),
    read: named(
      'read',
      `SELECT r.meta FROM unnest($1::text[]) WITH ORDINALITY AS w(id, n)
        LEFT JOIN ${q}.results r ON r.id = w.id AND r.meta_until > clock_timestamp() ORDER BY w.n`,
    ),
    look: named(
      'look',
      `SELECT id, state, meta FROM ${q}.results WHERE id = ANY($1::text[]) AND meta_until > clock_timestamp() AND meta IS NOT NULL`,
    ),
    claim: named('claim', `SELECT claimed, final FROM ${q}.claim_result($1::text, $2::float8)`),
    forget: named('forget', `SELECT ${q}.forget_results($1::text[])`),
    openChords: named(
      'open-chords',
      `SELECT ${q}.open_chords($1::text[], $2::text[], $3::int[], $4::text[], $5::float8[], $6::float8[])`,
    ),
    reportParts: named(
      'report-parts',
      `SELECT report, whole, task, state, result FROM ${q}.report_parts($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[],
        $7::text[], $8::float8[], $9::boolean[])`,
    ),
    addChordPart: named('add-chord-part', `SELECT ${q}.add_chord_part($1::text, $2::text, $3::text, $4::float8)`),
    closeChords: named('close-chords', `SELECT ${q}.close_chords($1::text[])`),
    hasten: named(
      'hasten',
      `UPDATE ${q}.chords SET deadline = least(deadline, $2::float8) WHERE group_id = ANY($1::text[]) AND deadline IS NOT NULL`,
    ),
    chordState: named(
      'chord-state',
      `SELECT c.size + c.added AS size, coalesce(p.name, p.task_id) AS task, p.place, p.state, p.result
        FROM ${q}.chords c LEFT JOIN ${q}.chord_parts p ON p.group_id = c.group_id
        WHERE c.group_id = $1::text AND c.size >= 0 AND c.until > clock_timestamp() ORDER BY p.place NULLS LAST, p.task_id`,
    ),
    overdue: named(
      'overdue',
      `SELECT coalesce(name, group_id) AS id, deadline, body FROM ${q}.chords WHERE deadline IS NOT NULL ORDER BY deadline LIMIT $1::int`,
    ),
    addMarks: named('add-marks', `SELECT ${q}.add_marks($1::text[], $2::text[], $3::float8, $4::int) AS answers`),
    markVersion: named(
      'mark-version',
      `SELECT CASE WHEN EXISTS (SELECT 1 FROM ${q}.marks WHERE until > clock_timestamp())
        THEN (SELECT max(seq) FROM ${q}.marks)::float8 ELSE 0 END AS version`,
    ),
    findMarks: named(
      'find-marks',
      `SELECT m.name FROM ${q}.marks m WHERE m.key = ANY($1::text[]) AND m.until > clock_timestamp()`,
    ),
    listMarks: named(
      'list-marks',
      `SELECT name FROM ${q}.marks WHERE until > clock_timestamp() ORDER BY until DESC, seq DESC LIMIT $1::int`,
    ),
    swapSendKey: named('swap', `SELECT ${q}.swap_send_key($1::text, $2::text, $3::text, $4::float8) AS there`),
    getStep: named(
      'get-step',
      `SELECT s.result FROM ${q}.steps s JOIN ${q}.step_tasks t ON t.task = s.task
        WHERE s.task = $1::text AND s.name = $2::text AND t.until > clock_timestamp()`,
    ),
    putStep: named(
      'put-step',
      `SELECT kind, present FROM ${q}.put_step($1::text, $2::text, $3::text, $4::bigint, $5::float8, $6::int)`,
    ),
    forgetSteps: named('forget-steps', `SELECT ${q}.forget_steps($1::text[])`),
    register: named('register', `SELECT ${q}.register_listener($1::text, $2::float8) AS fresh`),
    unregister: named('unregister', `DELETE FROM ${q}.listeners WHERE id = $1::text`),
    sweep: named('sweep', `SELECT ${q}.sweep($1::int) AS removed`),
  };
}
