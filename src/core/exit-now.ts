/**
 * Ends the process with a code although a thread is inside a native call. `process.exit()` waits for every thread, and a
 * thread in `execSync` or `pbkdf2Sync` ends when that call returns, if ever; a signal would end it without a code. What is
 * left is the C library's `exit()`, and WASI's `proc_exit` is the one way to it that Node has; it works from any thread.
 */
import type { WASI as WasiClass } from 'node:wasi';

/** EX_SOFTWARE: a task blocked the process past its hard limit. */
export const STUCK_EXIT_CODE = 70;
/** What to do about it. */
export const STUCK_REMEDY = 'use the asynchronous form of the blocking call, or --pool processes, which ends such a task alone';

/** Node has it; the types for it come with the browser's, which we do not load. */
interface WebAssemblyApi {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => object;
}

/** Never returns. Standard error must be flushed before: our logger writes synchronously. */
export function exitNow(code: number): never {
  try {
    // Loaded only now, and without its warning that it is experimental: the last line of the log belongs to the cause.
    process.emitWarning = () => {};
    const { WASI } = process.getBuiltinModule('node:wasi') as { readonly WASI: typeof WasiClass };
    const wasi = new WASI({ version: 'preview1', returnOnExit: false });
    const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly;
    wasi.start(new Instance(new Module(exitProgram(code)), wasi.getImportObject()));
  } catch {
    // a Node built without WASI
  }
  // At least it ends, though supervisors see a signal.
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
}

/** `(func (export "_start") (call $proc_exit (i32.const code)))` as bytes. */
function exitProgram(code: number): Uint8Array {
  const text = (value: string): number[] => [value.length, ...Buffer.from(value)];
  const section = (id: number, content: readonly number[]): number[] => [id, content.length, ...content];
  // i32.const takes a signed LEB128 number: two bytes hold every exit code
  const body = [0, 0x41, (code & 0x7f) | 0x80, (code >> 7) & 0x7f, 0x10, 0, 0x0b];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [2, 0x60, 1, 0x7f, 0, 0x60, 0, 0]),
    ...section(2, [1, ...text('wasi_snapshot_preview1'), ...text('proc_exit'), 0, 0]),
    ...section(3, [1, 1]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, ...text('memory'), 2, 0, ...text('_start'), 0, 1]),
    ...section(10, [1, body.length, ...body]),
  ]);
}
