// What a call costs by its tariff, for the seconds that it has lasted.
import type { Schemas } from '../olo';

export type Side = Schemas['TariffSideBody'];
export type Receipt = Schemas['ReceiptAnswer'];

export interface Step {
  after_s: number;
  coins: number;
}

/** The step with this number: the checkpoints, then `step_coins` every `step_s` behind the last one; null: there is none. */
function stepOf(side: Side, number: number): Step | null {
  const checkpoints = side.checkpoints ?? [];
  const own = checkpoints[number];
  if (own) return own;
  if (!side.step_s || !side.step_coins) return null;
  const last = checkpoints.at(-1)?.after_s ?? 0;
  return { after_s: last + side.step_s * (number - checkpoints.length + 1), coins: side.step_coins };
}

/** The next coins that come due behind this second; null: no more. */
export function nextStep(side: Side, seconds: number): Step | null {
  for (let number = 0; ; number++) {
    const step = stepOf(side, number);
    if (!step || step.after_s > seconds) return step;
  }
}

/** How many seconds a call had lasted as of its receipt; null: nobody had taken it by then. */
export function secondsOf(receipt: Receipt): number | null {
  if (!receipt.connected_at) return null;
  return (Date.parse(receipt.ended_at ?? receipt.as_of) - Date.parse(receipt.connected_at)) / 1000;
}

/** The lines of a receipt that are a side's own. */
export function stepsOf(receipt: Receipt, user: string) {
  const kinds = user === receipt.payer ? ['paid', 'refunded'] : ['earned', 'reclaimed'];
  return receipt.steps.filter((step) => kinds.includes(step.kind) && !step.refusal);
}

/** Whether a line of the receipt takes coins from the side whose it is. */
export function takes(kind: Schemas['StepKind']): boolean {
  return kind === 'paid' || kind === 'reclaimed';
}
