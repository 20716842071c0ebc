import { describe, expect, it } from 'vitest';
import { changed, joined, tone, type Card } from './gallery';

const card = (user: string, place: number, more: Partial<Card> = {}) => ({ user, place, ...more }) as Card;
const users = (cards: Card[]) => cards.map((one) => one.user).join('');

describe('a gallery', () => {
  const cards = [card('a', 1), card('c', 3), card('d', 3)];

  it('puts a card that comes between the others, by place and name', () => {
    expect(users(changed(cards, { card: card('b', 2) }, false))).toBe('abcd');
    expect(users(changed(cards, { card: card('cc', 3) }, false))).toBe('acccd');
    expect(users(changed(cards, { card: card('z', 9) }, false))).toBe('acdz');
  });

  it('moves a card, and has each once', () => {
    const moved = changed(cards, { card: card('d', 0, { busy: true }) }, false);
    expect(users(moved)).toBe('dac');
    expect(moved[0]?.busy).toBe(true);
  });

  it('leaves what stands on pages that were not read to these', () => {
    expect(users(changed(cards, { card: card('z', 9) }, true))).toBe('acd');
    expect(users(changed(cards, { card: card('a', 9) }, true))).toBe('cd');
    expect(users(changed([], { card: card('z', 9) }, true))).toBe('z');
  });

  it('takes away who is gone, once and again', () => {
    const less = changed(cards, { gone: 'c' }, true);
    expect(users(less)).toBe('ad');
    expect(users(changed(less, { gone: 'c' }, true))).toBe('ad');
  });

  it('joins pages, also where a card has moved meanwhile', () => {
    expect(users(joined(cards, [card('a', 4), card('e', 5)]))).toBe('cdae');
  });

  it('gives each person one colour', () => {
    expect(tone('ann')).toBe(tone('ann'));
    expect(new Set(['', 'ann', 'ben', 'sue', '😀'].map((one) => tone(one))).size).toBeGreaterThan(1);
  });
});
