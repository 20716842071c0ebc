// A job as it is edited, and the body that it becomes: pure.
import type { Schemas } from '../olo';

export type JobBody = Schemas['ScheduledJobBody'];
export const CHORES = ['quality', 'doctor', 'reconcile'] as const;

export interface JobDraft {
  when: 'cron' | 'every' | 'once';
  cron: string;
  zone: string;
  everyS: number;
  /** As `datetime-local` has it; empty: from now on. */
  at: string;
  /** A chore's name; empty: a command. */
  chore: string;
  command: string;
  template: string;
  overlap: Schemas['Overlap'];
  catchUp: Schemas['CatchUp'];
  windowS: number;
  limitS: number;
  paused: boolean;
}

/** What staff wrote, as fields; nothing: a new job. */
export function draftOf(definition: Partial<JobBody> = {}, paused = false): JobDraft {
  const { schedule, command = '', template, chore, overlap = 'skip', catch_up = 'one', window_s = 86_400, limit_s = 3_600 } = definition;
  const { cron = schedule ? '' : '0 3 * * *', zone = 'UTC', every_s = 0, at = null } = schedule ?? {};
  return {
    when: cron ? 'cron' : every_s ? 'every' : 'once',
    cron, zone, everyS: every_s || 3600,
    at: at ? localOf(at) : '',
    chore: chore ?? (command ? '' : CHORES[0]), command,
    template: JSON.stringify(template ?? {}, null, 2),
    overlap, catchUp: catch_up, windowS: window_s, limitS: limit_s, paused
  };
}

/** The body; a text: what is wrong with the draft. */
export function bodyOf(draft: JobDraft): JobBody | string {
  const at = draft.at ? new Date(draft.at).toISOString() : null;
  if (draft.when === 'once' && !at) return 'Say when.';
  const schedules: Record<JobDraft['when'], JobBody['schedule']> = {
    cron: { cron: draft.cron.trim(), zone: draft.zone.trim() },
    every: { every_s: draft.everyS, ...(at && { at }) },
    once: { ...(at && { at }) }
  };
  const { overlap, catchUp: catch_up, windowS: window_s, limitS: limit_s, paused } = draft;
  const common = { schedule: schedules[draft.when], overlap, catch_up, window_s, limit_s, paused };
  if (draft.chore) return { ...common, chore: draft.chore };
  try {
    const template: unknown = JSON.parse(draft.template);
    if (typeof template !== 'object' || template === null || Array.isArray(template)) return 'The template is no JSON object.';
    return { ...common, command: draft.command.trim(), template: template as Record<string, unknown> };
  } catch {
    return 'The template is no JSON.';
  }
}

/** A time for an input of the kind `datetime-local`, by this machine's clock. */
function localOf(at: string): string {
  const moment = new Date(at);
  return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
