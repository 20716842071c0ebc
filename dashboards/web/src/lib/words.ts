// What the phone says, in three languages. A word that a language lacks is a type error.
const en = {
  phone: 'Phone',
  who: 'Who are you?',
  anyName: 'Any name will do: these are test people.',
  signIn: 'Sign in',
  coins: 'coins',
  held: 'held',
  live: 'live',
  connecting: 'connecting …',
  away: 'no connection; trying again',
  gap: 'Some news was missed while this phone was away. The balance was read anew.',
  news: 'News',
  nothing: 'Nothing yet. Coins that come or go appear here by themselves.',
  leave: 'Sign out',
  language: 'Language',
  balance: 'Balance'
};

export type Words = typeof en;

const ru: Words = {
  phone: 'Телефон',
  who: 'Кто вы?',
  anyName: 'Подойдёт любое имя: это люди для пробы.',
  signIn: 'Войти',
  coins: 'монет',
  held: 'отложено',
  live: 'на связи',
  connecting: 'соединяемся …',
  away: 'нет связи; пробуем снова',
  gap: 'Пока телефон был не на связи, часть новостей пропала. Баланс прочитан заново.',
  news: 'Новости',
  nothing: 'Пока ничего. Монеты, которые придут или уйдут, появятся здесь сами.',
  leave: 'Выйти',
  language: 'Язык',
  balance: 'Баланс'
};

const de: Words = {
  phone: 'Telefon',
  who: 'Wer sind Sie?',
  anyName: 'Jeder Name geht: das sind Leute zum Ausprobieren.',
  signIn: 'Anmelden',
  coins: 'Münzen',
  held: 'zurückgelegt',
  live: 'verbunden',
  connecting: 'verbindet …',
  away: 'keine Verbindung; neuer Versuch',
  gap: 'Während dieses Telefon weg war, gingen Neuigkeiten verloren. Der Kontostand wurde neu gelesen.',
  news: 'Neuigkeiten',
  nothing: 'Noch nichts. Münzen, die kommen oder gehen, erscheinen hier von selbst.',
  leave: 'Abmelden',
  language: 'Sprache',
  balance: 'Kontostand'
};

export const LANGUAGES = { en: 'English', ru: 'Русский', de: 'Deutsch' };
export type Language = keyof typeof LANGUAGES;
export const WORDS: Record<Language, Words> = { en, ru, de };

/** The first of the browser's languages that there are words for. */
export function preferred(wanted: readonly string[]): Language {
  const known = wanted.map((one) => one.slice(0, 2)).find((one) => one in WORDS);
  return (known as Language | undefined) ?? 'en';
}
