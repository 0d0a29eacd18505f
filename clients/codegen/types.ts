// Compiles only if the generated types are exactly these. `any` equals none of them.
import type { DashboardQuery, UserFilter } from './generated/graphql.js';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type User = NonNullable<DashboardQuery['customer']>['users']['nodes'][number];

export const exact: [
  Equal<User['id'], string>,
  Equal<User['number'], number>,
  Equal<User['createdAt'], string>,
  Equal<User['lastPasswordResetAt'], string | null>,
  Equal<User['status'], 'ACTIVE' | 'INVITED' | 'INACTIVE'>,
  Equal<NonNullable<User['authorities']>[number]['id'], number>,
  Equal<NonNullable<UserFilter['createdAt']>['gte'], string | null | undefined>,
] = [true, true, true, true, true, true, true];
