import { describe, expect, it } from 'vitest';
import { nextStep, secondsOf, stepsOf, takes, type Receipt, type Side } from './call';

const ROULETTE: Side = {
  checkpoints: [
    { after_s: 0, coins: 9 },
    { after_s: 20, coins: 60 },
    { after_s: 60, coins: 60 }
  ],
  step_s: 60,
  step_coins: 60
};

describe('the next step of a tariff', () => {
  it.each([
    [-1, 0, 9],
    [0, 20, 60],
    [19.9, 20, 60],
    [20, 60, 60],
    [60, 120, 60],
    [119, 120, 60],
    [3600, 3660, 60]
  ])('behind second %d is at %d', (seconds, after_s, coins) => expect(nextStep(ROULETTE, seconds)).toEqual({ after_s, coins }));

  it('is none where nothing is due any more', () => {
    expect(nextStep({ checkpoints: [{ after_s: 0, coins: 9 }] }, 1)).toBe(null);
    expect(nextStep({}, 0)).toBe(null);
    expect(nextStep({ step_s: 0, step_coins: 5 }, 0)).toBe(null);
    expect(nextStep({ step_s: 5, step_coins: 1 }, 0)).toEqual({ after_s: 5, coins: 1 });
  });
});

describe('a receipt', () => {
  const receipt = (more: Partial<Receipt>) =>
    ({ as_of: '2030-01-01T00:00:42.5Z', connected_at: '2030-01-01T00:00:00Z', ended_at: null, payer: 'bob', steps: [], ...more }) as unknown as Receipt;

  it('says how long the call had lasted, by the clock that made it', () => {
    expect(secondsOf(receipt({}))).toBe(42.5);
    expect(secondsOf(receipt({ ended_at: '2030-01-01T00:00:40Z' }))).toBe(40);
    expect(secondsOf(receipt({ connected_at: null }))).toBe(null);
  });

  it('has lines of both sides', () => {
    const step = (kind: string, refusal = '') => ({ kind, number: 0, after_s: 0, coins: 1, entry: '', refusal });
    const steps = [step('paid'), step('earned'), step('refunded'), step('reclaimed'), step('earned', 'account_frozen')] as Receipt['steps'];
    expect(stepsOf(receipt({ steps }), 'bob').map((one) => one.kind)).toEqual(['paid', 'refunded']);
    expect(stepsOf(receipt({ steps }), 'sue').map((one) => one.kind)).toEqual(['earned', 'reclaimed']);
    expect(steps.map((one) => takes(one.kind))).toEqual([true, false, false, true, false]);
  });
});
