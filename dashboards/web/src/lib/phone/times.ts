// How long something took, and when it was, as a phone shows it.

/** 0:07, 12:05, 3:00:00. */
export function lasted(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  const two = (part: number) => String(part).padStart(2, '0');
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** The day and the time of day, to the minute, of a moment of the API's. */
export function day(language: string, moment: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(moment));
}

/** The time of day, to the second, of a moment of the API's. */
export function clock(language: string, moment: string): string {
  return new Intl.DateTimeFormat(language, { timeStyle: 'medium' }).format(new Date(moment));
}
