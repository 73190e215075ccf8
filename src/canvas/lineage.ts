/** The results of a frozen canvas: whose is that of the whole, and what stands before it, as the sender knows it. Pure. */
import type { ResultTree } from '../wire/result-tree.js';
import type { WireSignature } from '../wire/signature.js';
import { kindOf, partsOf, tasksOf } from './shapes.js';

/**
 * Of a chain that is its last task, with the others as parents; of a chord its body, with the header as parent; of a group all members.
 * @param before what stands before it
 */
export function resultTreeOf(signature: WireSignature, before: ResultTree | null = null): ResultTree {
  switch (kindOf(signature)) {
    case 'chain': {
      let last = before;
      for (const step of tasksOf(signature)) last = resultTreeOf(step, last);
      return last ?? { id: '', name: null, parent: null, members: null };
    }
    case 'chord': {
      const { header, body } = partsOf(signature);
      return resultTreeOf(body, resultTreeOf(header, before));
    }
    case 'group': {
      const members = tasksOf(signature).map((member) => resultTreeOf(member));
      return { id: signature.options.task_id ?? '', name: null, parent: before, members };
    }
    default:
      return { id: signature.options.task_id ?? '', name: signature.task, parent: before, members: null };
  }
}
