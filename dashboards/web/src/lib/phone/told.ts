// What the feed tells a phone, by the name of the event; fields that have their default are left out.
import type { Schemas } from '../olo';

/** What a stream adds to a record that has no text. */
interface Words {
  text?: string;
  picture_url?: string;
}

type Plain =
  | 'EntryRecorded'
  | 'CallRinging'
  | 'CallConnected'
  | 'CallEnded'
  | 'BillStepped'
  | 'BillClosed'
  | 'CreditLow'
  | 'MessageDeleted'
  | 'ItemHidden'
  | 'ChatRead'
  | 'BadgeChanged'
  | 'Notified'
  | 'NotificationRead'
  | 'NotificationWithdrawn'
  | 'PurchaseRefunded'
  | 'RouletteJoined'
  | 'RouletteLeft'
  | 'Typing';

interface Facts extends Pick<Schemas, Plain> {
  ItemPosted: Schemas['ItemPosted'] & Words;
  MessageEdited: Schemas['MessageEdited'] & Words;
}

export type Posted = Facts['ItemPosted'];
export type Told = { [Name in keyof Facts]: { name: Name; data: Facts[Name] } }[keyof Facts];

/** A part of a phone: it reads what is, and is told what comes. After a gap it reads anew. */
export interface Part {
  told(told: Told): void;
  anew(): Promise<void>;
}
