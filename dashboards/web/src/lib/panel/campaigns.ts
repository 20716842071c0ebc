// A campaign as it is edited, and the body that it becomes: pure.
import type { Schemas } from '../olo';

export type CampaignBody = Schemas['CampaignBody'];

export interface Words {
  language: string;
  title: string;
  text: string;
}

export interface CampaignDraft {
  kind: 'notice' | 'opening';
  cohort: string;
  words: Words[];
  pace: number;
  writers: string;
  delayS: number;
  each: number;
  perDay: number;
}

/** What staff wrote, as fields; nothing: a new campaign. */
export function draftOf(body?: CampaignBody): CampaignDraft {
  const { cohort = '', notice, opening, pace_per_s = 10 } = body ?? {};
  const { writers = '', texts = [], delay_s = 60, each = 3, per_day = 3 } = opening ?? {};
  const told = notice?.map(({ language, title, body: text }) => ({ language, title, text }));
  const written = texts.map(({ language, text }) => ({ language, title: '', text }));
  return {
    kind: opening ? 'opening' : 'notice', cohort, words: told ?? (written.length ? written : [{ language: 'en', title: '', text: '' }]),
    pace: pace_per_s, writers, delayS: delay_s, each, perDay: per_day
  };
}

/** The body, running or not; null: something is empty still. */
export function bodyOf(draft: CampaignDraft, running: boolean): CampaignBody | null {
  const { kind, cohort, words, pace, writers, delayS: delay_s, each, perDay: per_day } = draft;
  const notice = kind === 'notice';
  if (!cohort || (!notice && !writers)) return null;
  if (words.some(({ language, title, text }) => !language || !text.trim() || (notice && !title.trim()))) return null;
  if (notice) {
    return { cohort, running, pace_per_s: pace, notice: words.map(({ language, title, text }) => ({ language, title, body: text })) };
  }
  return { cohort, running, opening: { writers, texts: words.map(({ language, text }) => ({ language, text })), delay_s, each, per_day } };
}
