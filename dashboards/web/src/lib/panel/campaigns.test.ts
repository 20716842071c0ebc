import { expect, test } from 'vitest';
import { bodyOf, draftOf, type CampaignBody } from './campaigns';

const BODIES: CampaignBody[] = [
  { cohort: 'new', running: true, pace_per_s: 2.5, notice: [{ language: 'en', title: '<b>', body: 'hello' }, { language: 'ru', title: 'и', body: 'да' }] },
  { cohort: 'new', running: false, opening: { writers: 'stars', texts: [{ language: 'en', text: 'hi' }], delay_s: 5, each: 2, per_day: 1 } }
];

test.each(BODIES)('a campaign that is edited and not changed is the same: %j', (body) => {
  expect(bodyOf(draftOf(body), body.running ?? false)).toEqual(body);
});

test('what is empty is no campaign', () => {
  expect(bodyOf(draftOf(), false)).toBeNull();
  const [notice, opening] = BODIES;
  expect(bodyOf({ ...draftOf(notice), words: [{ language: 'en', title: ' ', text: 'x' }] }, false)).toBeNull();
  expect(bodyOf({ ...draftOf(opening), writers: '' }, false)).toBeNull();
});
