import { expect, test } from 'vitest';
import { BEGINNING, bodyOf, read, said, type Rule } from './migration';

const RULE: Rule = {
  rule: 'profile', operations: ['insert', 'update'], then: 'put_profile', max_coins: 0,
  when: [{ column: 'deleted_at', test: 'null', side: 'new', value: '' }, { column: 'role', test: 'equals', side: 'old', value: 'x' }],
  fields: [
    { field: 'user', column: 'id', value: '', convert: 'text', words: {} },
    { field: 'country', column: 'land', value: 'DE', convert: 'upper', words: { UK: 'GB' } },
    { field: 'name', column: '', value: 'somebody', convert: 'text', words: {} }
  ]
};

test('a rule says what it takes and makes', () => {
  expect(said(RULE)).toEqual({
    takes: 'insert, update when deleted_at is null and old role is “x”',
    makes: 'put_profile: user from id; country from land, upper, else “DE” (UK: GB); name from “somebody”'
  });
  expect(said({ ...RULE, then: 'open_balance', when: [], max_coins: 5 }).makes).toContain(', at most 5 coins');
  expect(said({ rule: 'r', operations: ['delete'], then: 'unblock_user', fields: [] } as unknown as Rule).takes).toBe('delete');
});

test('a definition is JSON, and is what is put', () => {
  expect(read('{')).toBe('The definition is no JSON.');
  expect(read('[]')).toBe('The definition is no JSON object.');
  expect(read(JSON.stringify(BEGINNING))).toEqual(BEGINNING);
  expect(bodyOf({ ...BEGINNING, feed: 'f', version: 3, opened_coins: 7 })).toEqual(BEGINNING);
});
