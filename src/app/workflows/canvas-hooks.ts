/**
 * Publish hooks around the sending of a workflow. Each task of it passes the list once, here, in the sender, before anything is sent;
 * what a hook changes stays with the task, whoever sends it later. Workers ask no hooks for what follows: those of the sender know the
 * caller, and a refusal there would end a workflow half way.
 */
import { type CanvasFacts, canvasSettings, ownPriority } from '../../canvas/routes.js';
import { kindOf, makeChord, partsOf, withTasks } from '../../canvas/shapes.js';
import { ConfigError, PublishError, toError } from '../../core/errors.js';
import { parseSignature, type SignatureOptions as WireOptions, type WireSignature } from '../../wire/signature.js';
import { checkHeaders } from '../call-options.js';
import { type PublishRequest, type ResolvedMiddleware, runPublishMiddleware } from '../middleware.js';
import { checkPriority, checkQueueName } from '../router.js';
import { withOptions } from './signature-options.js';

type Change = (task: WireSignature) => WireSignature;

/**
 * @param send sends the changed workflow; the hooks' `next()` resolves when it has
 * @throws what the first hook that refuses throws: then nothing was sent
 */
export async function throughPublishHooks(
  list: ResolvedMiddleware['publish'],
  workflow: WireSignature,
  facts: CanvasFacts,
  send: (changed: WireSignature) => Promise<void>,
): Promise<void> {
  const tasks: WireSignature[] = [];
  eachTask(workflow, (task) => {
    tasks.push(task);
    return task;
  });
  const changed = new Map<number, Change>();
  let failure: Error | null = null;
  let allPassed = (): void => {};
  let refuse = (_error: Error): void => {};
  const passed = new Promise<void>((resolve, reject) => {
    allPassed = resolve;
    refuse = reject;
  });
  const sent = passed.then(() => {
    let index = 0;
    return send(eachTask(workflow, (task) => changed.get(index++)?.(task) ?? task));
  });
  // hooks that never come so far do not hear of it
  sent.catch(() => {});
  const passes = tasks.map(async (task, index) => {
    const { request, kept } = requestOf(task, facts);
    try {
      await runPublishMiddleware(list, request, async (last) => {
        changed.set(index, changeOf(task, request, last, kept, facts));
        if (changed.size === tasks.length) allPassed();
        await sent;
      });
      if (!changed.has(index)) throw heldBack(task);
    } catch (error) {
      // the first refusal is that of the workflow: the others wait for a send that will not come
      failure ??= toError(error);
      refuse(failure);
    }
  });
  await Promise.all(passes);
  await sent;
  // one that threw after it was sent
  if (failure !== null) throw failure;
}

const heldBack = ({ task, options }: WireSignature): PublishError =>
  new PublishError('E_PUBLISH_FAILED', `a middleware kept ${task} from being sent, and with it the workflow that it is part of`, {
    outcome: 'not-sent',
    ...(options.task_id !== undefined && { taskId: options.task_id }),
  });

function requestOf(task: WireSignature, facts: CanvasFacts): { readonly request: PublishRequest; readonly kept: object } {
  const { options } = task;
  const route = canvasSettings(facts).routeOf(task.task);
  const all = Object.entries(options.headers ?? {});
  const isOurs = ([name]: readonly [string, unknown]): boolean => name.startsWith('lovage_');
  const headers = Object.fromEntries(all.filter((header) => !isOurs(header)));
  const request: PublishRequest = {
    id: options.task_id ?? '',
    task: task.task,
    args: task.args,
    kwargs: task.kwargs,
    queue: options.queue ?? options.routing_key ?? route.to.queue,
    priority: typeof options.priority === 'number' ? ownPriority(options.priority, facts.lowerIsSooner) : route.priority,
    headers: headers as PublishRequest['headers'],
  };
  return { request, kept: Object.fromEntries(all.filter(isOurs)) };
}

/** @throws ConfigError `E_CONFIG_*` */
function changeOf(
  { task }: WireSignature,
  asked: PublishRequest,
  last: PublishRequest,
  kept: object,
  facts: CanvasFacts,
): Change {
  if (last.id !== asked.id)
    throw new ConfigError('E_CONFIG_CONFLICT', `middleware: ${task} is part of a workflow, whose ids cannot be changed`);
  checkQueueName(last.queue, `middleware: queue of ${task}`);
  if (last.priority !== undefined) checkPriority(last.priority, `middleware: priority of ${task}`);
  checkHeaders(last.headers, `middleware: headers of ${task}`);
  const headers = { ...last.headers, ...kept };
  const priority = last.priority === undefined ? undefined : ownPriority(last.priority, facts.lowerIsSooner);
  const options = {
    ...(last.queue !== asked.queue && { queue: last.queue, exchange: undefined, routing_key: undefined }),
    ...(last.priority !== asked.priority && { priority }),
    headers: Object.keys(headers).length === 0 ? undefined : headers,
  };
  return (signature) => withOptions({ ...signature, args: last.args, kwargs: last.kwargs }, options as WireOptions);
}

/**
 * The same with every task changed: steps, members, bodies, callbacks and errbacks. What stands in several places, as an errback of a
 * chain does, is changed once.
 */
function eachTask(workflow: WireSignature, change: Change): WireSignature {
  const known = new Map<unknown, WireSignature>();
  const all = (given: unknown): WireSignature[] => (Array.isArray(given) ? given : [given]).map(one);
  const one = (given: unknown): WireSignature => {
    const before = known.get(given);
    if (before) return before;
    const made = visit(parseSignature(given));
    known.set(given, made);
    return made;
  };
  const visit = (signature: WireSignature): WireSignature => {
    const { link, link_error } = signature.options;
    const behind = { ...(link != null && { link: all(link) }), ...(link_error != null && { link_error: all(link_error) }) };
    const whole = { ...signature, options: { ...signature.options, ...behind } };
    switch (kindOf(whole)) {
      case 'chain':
      case 'group':
        return withTasks(whole, all(whole.kwargs['tasks']));
      case 'chord': {
        // parsed anew, but for what is in them: that is known by the objects that it came in
        const { header, body } = partsOf(whole);
        const { kwargs } = makeChord(one(header), one(body));
        return { ...whole, kwargs: { ...whole.kwargs, ...kwargs } };
      }
      default:
        return change(whole);
    }
  };
  return one(workflow);
}
