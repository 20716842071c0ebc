import { expect, test } from 'vitest';
import { bodyOf, draftOf, type JobBody } from './jobs';

const REST = { overlap: 'queue', catch_up: 'none', window_s: 60, limit_s: 30, paused: false } as const;
const BODIES: JobBody[] = [
  { schedule: { cron: '0 6 * * *', zone: 'Europe/Berlin' }, command: 'PutGiftItem', template: { item: '<b>', n: 1 }, ...REST },
  { schedule: { every_s: 60, at: '2030-01-01T00:00:00.000Z' }, chore: 'doctor', ...REST },
  { schedule: { every_s: 60 }, chore: 'quality', ...REST },
  { schedule: { at: '2030-06-01T12:00:07.000Z' }, chore: 'reconcile', ...REST }
];

test.each(BODIES)('a job that is edited and not changed is the same: %j', (body) => expect(bodyOf(draftOf(body))).toEqual(body));

test('a paused job stays paused, and a new one begins as a chore', () => {
  expect(bodyOf(draftOf(BODIES[1], true))).toMatchObject({ paused: true });
  expect(bodyOf(draftOf())).toMatchObject({ schedule: { cron: '0 3 * * *', zone: 'UTC' }, chore: 'quality', overlap: 'skip' });
});

test.each(['{', '[1]', 'null', '7', ''])('a template that is none is told: %s', (template) => {
  expect(bodyOf({ ...draftOf(BODIES[0]), template })).toMatch(/^The template is no JSON/);
});

test('once takes a time', () => expect(bodyOf({ ...draftOf(), when: 'once' })).toBe('Say when.'));
