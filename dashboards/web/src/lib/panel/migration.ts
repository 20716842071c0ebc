// A feed of an old back end's rows as it is written: JSON, as the API takes it, and what its rules say, for people.
import type { Schemas } from '../olo';

export type Body = Schemas['MigrationFeedBody'];
export type Rule = Schemas['MigrationRuleBody'];
type Source = Schemas['FieldSourceBody'];
type When = Schemas['RowConditionBody'];

/** What a new feed begins with. */
export const BEGINNING: Body = {
  table: 'public.users',
  key: ['id'],
  version_column: '',
  active: true,
  total_coins: 0,
  rules: [{ rule: 'sign_up', operations: ['insert', 'manual'], then: 'sign_up', when: [], max_coins: 0, fields: [
    { field: 'user', column: 'id', value: '', convert: 'text', words: {} },
    { field: 'role', column: '', value: 'user', convert: 'text', words: {} }
  ] }]
};

/** The definition of a feed: all that is put. */
export function bodyOf({ feed: _, version: __, opened_coins: ___, ...body }: Schemas['MigrationFeedAnswer']): Body {
  return body;
}

/** What was typed, or why it is nothing that can be asked about. */
export function read(text: string): Body | string {
  try {
    const found: unknown = JSON.parse(text);
    return found && typeof found === 'object' && !Array.isArray(found) ? (found as Body) : 'The definition is no JSON object.';
  } catch {
    return 'The definition is no JSON.';
  }
}

function filled({ field, column, value, convert, words }: Source): string {
  const from = column ? `${column}${convert && convert !== 'text' ? `, ${convert}` : ''}` : `“${value}”`;
  const said = Object.entries(words ?? {}).map(([was, is]) => `${was}: ${is}`);
  return `${field} from ${from}${column && value ? `, else “${value}”` : ''}${said.length ? ` (${said.join(', ')})` : ''}`;
}

function asked({ column, side, test, value }: When): string {
  const words: Record<When['test'], string> = {
    equals: `is “${value ?? ''}”`, differs: `is not “${value ?? ''}”`, null: 'is null', not_null: 'is not null', changed: 'changed'
  };
  return `${side === 'old' ? 'old ' : ''}${column} ${words[test]}`;
}

/** Of which changes a rule takes, and what it makes of them. */
export function said(rule: Rule): { takes: string; makes: string } {
  const when = (rule.when ?? []).map(asked);
  const limit = rule.max_coins ? `, at most ${rule.max_coins} coins` : '';
  return {
    takes: `${rule.operations.join(', ')}${when.length ? ` when ${when.join(' and ')}` : ''}`,
    makes: `${rule.then}: ${rule.fields.map(filled).join('; ')}${limit}`
  };
}
