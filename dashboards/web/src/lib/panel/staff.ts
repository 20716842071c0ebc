// Who is at the panel, and what the roles of this person allow.
import { clientOf, decided, type Olo, type Role, type Schemas } from '../olo';
import type { Pass } from '../pass';

export type Permission = Schemas['Permission'];

export class Staff {
  constructor(
    readonly olo: Olo,
    /** For streams, which the client does not read. */
    readonly pass: Pass,
    readonly roles: readonly Role[],
    readonly permissions: readonly Permission[]
  ) {}

  get user(): string {
    return this.pass.user;
  }

  may(permission: Permission): boolean {
    return this.permissions.includes(permission);
  }
}

/** Ask what the roles allow: the log has the last word, not the token. */
export async function staffOf(pass: Pass): Promise<Staff> {
  const olo = clientOf(pass);
  const own = await decided(() => olo.GET('/v1/users/me/roles'));
  return new Staff(olo, pass, own.roles, own.permissions);
}
