-- Sign-in. Before a person is known, a row is found only by showing the keyed hash it is filed under (of the address, of the
-- refresh token), inside a ticket that the server made after it had seen the address or the token itself.
GRANT USAGE ON SCHEMA auth TO lethe_api, lethe_system;
GRANT USAGE ON SCHEMA read TO lethe_api, lethe_system;

-- The account's public id, its addresses, its staff roles. `lethe_system` gives a role; `lethe_api` takes it, under a ticket of the
-- system for that person.
GRANT SELECT, INSERT ON auth.users, auth.addresses, read.accounts TO lethe_api;
GRANT DELETE ON auth.addresses TO lethe_api;
GRANT SELECT, DELETE ON auth.staff_roles TO lethe_api;
GRANT SELECT, INSERT ON auth.staff_roles TO lethe_system;
CREATE POLICY users_own_read ON auth.users FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY users_own_add ON auth.users FOR INSERT TO lethe_api WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY addresses_shown_read ON auth.addresses FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) OR address_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY addresses_own_add ON auth.addresses FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY addresses_own_remove ON auth.addresses FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY roles_own_read ON auth.staff_roles FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY roles_system_remove ON auth.staff_roles FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) AND (SELECT lethe.ticket_role()) = 'system');
CREATE POLICY roles_system_read ON auth.staff_roles FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY roles_system_add ON auth.staff_roles FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY accounts_own_read ON read.accounts FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY accounts_own_add ON read.accounts FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));

-- Sessions and their refresh tokens.
GRANT SELECT, INSERT, UPDATE (ended_at) ON auth.sessions TO lethe_api;
GRANT SELECT, INSERT, UPDATE (used_at, used_key, used_by) ON auth.refresh_tokens TO lethe_api;
CREATE POLICY sessions_own_read ON auth.sessions FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY sessions_own_add ON auth.sessions FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY sessions_own_end ON auth.sessions FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY tokens_shown_read ON auth.refresh_tokens FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false) OR token_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY tokens_own_add ON auth.refresh_tokens FOR INSERT TO lethe_api
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY tokens_own_use ON auth.refresh_tokens FOR UPDATE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false))
    WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));

-- Devices that a person signed in on; the oldest makes room.
GRANT SELECT, INSERT, DELETE ON auth.devices TO lethe_api;
GRANT SELECT, DELETE ON auth.devices TO lethe_system;
CREATE POLICY devices_own_read ON auth.devices FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY devices_own_add ON auth.devices FOR INSERT TO lethe_api WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]));
CREATE POLICY devices_own_remove ON auth.devices FOR DELETE TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY devices_system_read ON auth.devices FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY devices_system_clear ON auth.devices FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

-- Codes, by the address's hash; counters of requests, by any valid ticket, since a counter is about no row of anyone.
GRANT SELECT, INSERT, UPDATE ON auth.codes, auth.limits TO lethe_api;
GRANT SELECT, DELETE ON auth.codes, auth.limits, auth.sessions TO lethe_system;
CREATE POLICY codes_shown_read ON auth.codes FOR SELECT TO lethe_api USING (address_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY codes_shown_add ON auth.codes FOR INSERT TO lethe_api WITH CHECK (address_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY codes_shown_try ON auth.codes FOR UPDATE TO lethe_api
    USING (address_hash = (SELECT lethe.lookup_hash())) WITH CHECK (address_hash = (SELECT lethe.lookup_hash()));
CREATE POLICY codes_system_read ON auth.codes FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY codes_system_clear ON auth.codes FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY limits_read ON auth.limits FOR SELECT TO lethe_api USING ((SELECT lethe.ticket_role()) IS NOT NULL);
CREATE POLICY limits_add ON auth.limits FOR INSERT TO lethe_api WITH CHECK ((SELECT lethe.ticket_role()) IS NOT NULL);
CREATE POLICY limits_count ON auth.limits FOR UPDATE TO lethe_api
    USING ((SELECT lethe.ticket_role()) IS NOT NULL) WITH CHECK ((SELECT lethe.ticket_role()) IS NOT NULL);
CREATE POLICY limits_system_read ON auth.limits FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY limits_system_clear ON auth.limits FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY sessions_system_read ON auth.sessions FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY sessions_system_clear ON auth.sessions FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

-- Letters: written with whatever asks for them, be it a request, a job on one person (both log in as lethe_api) or the system;
-- handed over by the system.
GRANT INSERT ON auth.letters TO lethe_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.letters TO lethe_system;
CREATE POLICY letters_add ON auth.letters FOR INSERT TO lethe_api WITH CHECK ((SELECT lethe.ticket_role()) IS NOT NULL);
CREATE POLICY letters_system_add ON auth.letters FOR INSERT TO lethe_system WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY letters_system_read ON auth.letters FOR SELECT TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY letters_system_retry ON auth.letters FOR UPDATE TO lethe_system
    USING ((SELECT lethe.ticket_role()) = 'system') WITH CHECK ((SELECT lethe.ticket_role()) = 'system');
CREATE POLICY letters_system_clear ON auth.letters FOR DELETE TO lethe_system USING ((SELECT lethe.ticket_role()) = 'system');

-- Which version a person's standing has; the triggers that move it run as the owner.
GRANT SELECT ON auth.standings TO lethe_api;
CREATE POLICY standings_own_read ON auth.standings FOR SELECT TO lethe_api
    USING (COALESCE(subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]), false));
CREATE POLICY standings_kept ON auth.standings FOR ALL TO lethe_owner USING (true) WITH CHECK (true);
