-- Row level security: a second wall behind the conditions that the program puts
-- into every statement. These policies do nothing until "roster migrate
-- --row-level-security" turns them on. They let a role read what the setting
-- roster.scope names, which a server sets for each transaction: '*' for every
-- customer, or the ids and the numbers of some, as in '{uuid,uuid}|{1,2}'. Without
-- the setting they let nothing be read. They do not hold for the owner of the
-- tables and for roles with BYPASSRLS.

CREATE FUNCTION roster_scope_all() RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT COALESCE(current_setting('roster.scope', true) = '*', false) $$;

-- Part 1 of the setting has the ids, part 2 the numbers.
CREATE FUNCTION roster_scope_part(part integer) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT CASE WHEN current_setting('roster.scope', true) LIKE '{%}|{%}'
    THEN split_part(current_setting('roster.scope', true), '|', part) ELSE '{}' END $$;

CREATE FUNCTION roster_scope_customers() RETURNS uuid[] LANGUAGE sql STABLE AS
$$ SELECT roster_scope_part(1)::uuid[]
    || ARRAY(SELECT id FROM customers WHERE number = ANY (roster_scope_part(2)::bigint[])) $$;

-- In a subselect, the setting is read once for a statement and not for every row.
CREATE POLICY roster_scope ON customers FOR SELECT USING (
    (SELECT roster_scope_all()) OR id = ANY ((SELECT roster_scope_part(1)::uuid[])::uuid[])
    OR number = ANY ((SELECT roster_scope_part(2)::bigint[])::bigint[]));
CREATE POLICY roster_scope ON users FOR SELECT USING (
    (SELECT roster_scope_all()) OR customer_id = ANY ((SELECT roster_scope_customers())::uuid[]));
CREATE POLICY roster_scope ON subroles FOR SELECT USING (
    (SELECT roster_scope_all()) OR customer_id = ANY ((SELECT roster_scope_customers())::uuid[]));
CREATE POLICY roster_scope ON user_counts FOR SELECT USING (
    (SELECT roster_scope_all()) OR customer_id = ANY ((SELECT roster_scope_customers())::uuid[]));
CREATE POLICY roster_scope ON user_authorities FOR SELECT USING (
    (SELECT roster_scope_all()) OR customer_id = ANY ((SELECT roster_scope_customers())::uuid[]));
-- The policy of users decides.
CREATE POLICY roster_scope ON legacy_credentials FOR SELECT USING (
    EXISTS (SELECT FROM users WHERE users.id = user_id));
