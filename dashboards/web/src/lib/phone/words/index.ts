// What the phone's pages say, by language.
import type { Language } from '../../words';
import { de } from './de';
import { en, type Say } from './en';
import { ru } from './ru';

export type { Say };
export const SAY: Record<Language, Say> = { en, ru, de };

/** A word by a code of the API's; the code itself, where there is none. */
export function word(words: Record<string, string>, code: string): string {
  return Object.hasOwn(words, code) ? (words[code] ?? code) : code;
}
