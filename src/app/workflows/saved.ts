/** Saving which results belong together, and finding them again. Where that is kept is the store's (`results/saved-results.ts`). */
import { decodeSavedResult, encodeSavedResult, type ResultTree } from '../../wire/result-tree.js';
import type { HandleOwner } from '../task-handle.js';

type Owner = Pick<HandleOwner, 'gateway' | 'resultTtlMs'>;

/** @throws ResultError `E_NOT_SUPPORTED` */
export async function saveResult({ gateway, resultTtlMs }: Owner, tree: ResultTree): Promise<void> {
  const saved = [{ id: tree.id, text: encodeSavedResult(tree), ttlMs: resultTtlMs }];
  await gateway().savedResults({ kind: 'save', saved });
}

/** `null`: nothing is saved under this id. @throws WireError `E_DECODE`; ResultError `E_NOT_SUPPORTED` */
export async function loadSaved({ gateway }: Pick<Owner, 'gateway'>, id: string): Promise<ResultTree | null> {
  const [text] = await gateway().savedResults({ kind: 'load', ids: [id] });
  return text == null ? null : decodeSavedResult(text);
}
