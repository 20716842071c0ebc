import { describe, expect, it } from 'vitest';
import { decided, Refused } from './olo';

const answer = (status: number, body: object) => ({
  response: new Response(null, { status }),
  ...(status < 400 ? { data: body } : { error: body })
});

describe('a command', () => {
  it('is sent again while nothing is decided', async () => {
    const answers = [null, answer(503, {}), answer(202, {}), answer(201, { coins: 5 })];
    const send = async () => {
      const next = answers.shift();
      if (!next) throw new TypeError('network');
      return next as { data?: { coins: number }; response: Response };
    };
    expect(await decided(send, 1)).toEqual({ coins: 5 });
    expect(answers).toEqual([]);
  });

  it('that is refused is not sent again', async () => {
    let sent = 0;
    const problem = { code: 'insufficient_coins', detail: 'too few' };
    const send = async () => (sent++, answer(402, problem));
    await expect(decided(send, 1)).rejects.toEqual(new Refused(problem.code, problem.detail, 402, problem));
    expect(sent).toBe(1);
  });
});
