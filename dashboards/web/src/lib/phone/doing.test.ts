import { describe, expect, it } from 'vitest';
import { Refused } from '../olo';
import { Doing, once, patiently } from './doing.svelte';

describe('reading anew', () => {
  it('runs once more for all who ask meanwhile, and never two at a time', async () => {
    const open: (() => void)[] = [];
    let runs = 0;
    const read = once(() => new Promise<void>((done) => (runs++, open.push(done))));
    const first = read();
    const asked = [read(), read(), read()];
    expect(runs).toBe(1);
    open[0]?.();
    await first;
    await new Promise((done) => setTimeout(done));
    expect(runs).toBe(2);
    open[1]?.();
    await Promise.all(asked);
    void read();
    expect(runs).toBe(3);
  });

  it('goes on behind a refusal', async () => {
    let runs = 0;
    const read = once(async () => {
      runs++;
      throw new Refused('unreachable', 'away');
    });
    await read();
    await read();
    expect(runs).toBe(2);
  });
});

describe('doing', () => {
  it('keeps what was refused, until the next thing', async () => {
    const doing = new Doing();
    expect(await doing.run(async () => Promise.reject(new Refused('blocked', 'no')))).toBe(false);
    expect(doing.problem?.code).toBe('blocked');
    expect(await doing.run(async () => 1)).toBe(true);
    expect(doing.problem).toBe(null);
  });

  it('does one thing at a time, in the order in which they were asked for, also behind one that threw', async () => {
    const doing = new Doing();
    const open: (() => void)[] = [];
    const done: number[] = [];
    const thing = (number: number) => doing.run(() => new Promise<void>((end) => open.push(end)).then(() => void done.push(number)));
    const thrown = doing.run(() => Promise.reject(new TypeError('broken')));
    const all = [thing(1), thing(2)];
    await expect(thrown).rejects.toThrow('broken');
    for (const left of [1, 0]) {
      await new Promise((turn) => setTimeout(turn));
      expect([open.length, doing.busy]).toEqual([1, true]);
      open.pop()?.();
      await all[1 - left];
    }
    await new Promise((turn) => setTimeout(turn));
    expect([done, doing.busy]).toEqual([[1, 2], false]);
  });
});

describe('asking patiently', () => {
  const refusing = (times: number) => async () => {
    if (times-- > 0) throw new Refused('message_unknown', 'not yet', 404);
    return 'there';
  };

  it('gives what is there in the end', async () => expect(await patiently(refusing(2), 3, 1)).toBe('there'));

  it('gives up in the end', () => expect(patiently(refusing(3), 3, 1)).rejects.toThrow('not yet'));
});
