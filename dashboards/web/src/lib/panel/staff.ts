// Who is at the panel, and what the roles of this person allow.
import { clientOf, decided, developmentToken, type Olo, type Role, type Schemas } from '../olo';

export type Permission = Schemas['Permission'];

export class Staff {
  constructor(
    readonly olo: Olo,
    readonly user: string,
    readonly roles: readonly Role[],
    readonly permissions: readonly Permission[],
    /** For streams, which the client does not read. */
    readonly token = ''
  ) {}

  may(permission: Permission): boolean {
    return this.permissions.includes(permission);
  }
}

/** Sign in, and ask what the roles allow: the log has the last word, not the token. */
export async function signIn(user: string, role: Role): Promise<Staff> {
  const token = await developmentToken(user, role);
  const olo = clientOf(token);
  const own = await decided(() => olo.GET('/v1/users/me/roles'));
  return new Staff(olo, user, own.roles, own.permissions, token);
}
