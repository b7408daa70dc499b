// A journey with the generated client alone: everything a client application does, against a live server.
//
// Takes the server's base URL and the folder of its mail. The types of every answer are checked by `tsc`.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Problem, RegisterRequest, SignInAnswer, WorkDay } from 'lethe-client';
import * as lethe from 'lethe-client';
import { type Client, createClient } from 'lethe-client/client';

const [baseUrl, mail] = process.argv.slice(2) as [string, string];
const email = 'petra@klinik.example';
const date = '2025-12-08';
const anyone = createClient({ baseUrl });
const signedIn = (token: string) => createClient({ baseUrl, auth: token });

type Answer<T> = { data?: T; error?: unknown; response?: Response };

function expect<T>(answer: Answer<T>, status: number): NonNullable<T> {
  assert.equal(answer.response?.status, status, JSON.stringify(answer.error));
  return answer.data!;
}

function refused(answer: Answer<unknown> & { error?: Problem }, status: number, kind: string): Problem {
  const problem = answer.error;
  assert(problem, `not refused: ${answer.response?.status}`);
  assert.deepEqual([answer.response?.status, problem.status, problem.type], [status, status, `/problems/${kind}`]);
  assert.equal(answer.response?.headers.get('content-type'), 'application/problem+json');
  return problem;
}

/** Takes the letter that matches from the mail, and returns what the pattern's group holds. */
async function mailed(pattern: RegExp): Promise<string> {
  for (let tries = 0; tries < 500; tries += 1) {
    for (const name of readdirSync(mail).filter((file) => file.endsWith('.eml'))) {
      const text = readFileSync(join(mail, name), 'utf8');
      const found = pattern.exec(text)?.[1];
      if (found && text.includes(`To: ${email}`)) {
        unlinkSync(join(mail, name));
        return found;
      }
    }
    await setTimeout(20);
  }
  throw new Error(`no letter to ${email}`);
}

function day(minutes: number, more: Partial<WorkDay> = {}): WorkDay {
  return { date, planned_minutes: 480, actual_minutes: minutes, source: 'geofence', ...more };
}

function registration(code: string, more: Partial<RegisterRequest> = {}): RegisterRequest {
  const work = { hospital_id: 'klinikum-am-see', specialty: 'surgery', role_level: 'specialist', state_code: 'BY' } as const;
  return { email, code, ...work, ...more };
}

async function register(): Promise<SignInAnswer> {
  const wrong = registration('12345', { hospital_id: 'Klinikum am See!' });
  const problem = refused(await lethe.authRegister({ client: anyone, body: wrong }), 422, 'invalid-input');
  assert(problem.errors?.some((fault) => fault.field === 'code' && fault.message), JSON.stringify(problem));
  expect(await lethe.authCode({ client: anyone, body: { email } }), 202);
  const code = await mailed(/Your code: (\d{6})/);
  const other = registration(code === '000000' ? '000001' : '000000');
  refused(await lethe.authRegister({ client: anyone, body: other }), 401, 'code-refused');
  return expect(await lethe.authRegister({ client: anyone, body: registration(code) }), 201);
}

async function consents(me: Client) {
  const path = { purpose: 'work_hours' };
  const problem = refused(await lethe.workDaySubmit({ client: me, body: day(552) }), 403, 'consent-needed');
  assert.equal(problem.purpose, 'work_hours');
  const offered = expect(await lethe.consentList({ client: me }), 200).consents;
  assert(offered.length > 1 && offered.every((consent) => !consent.granted && !consent.decided_at));
  for (const granted of [true, false, true]) {
    const decided = await lethe.consentDecide({ client: me, path, body: { granted, notice_version: '1' } });
    assert.equal(expect(decided, 200).granted, granted);
  }
  const outdated = { granted: true, notice_version: '0' };
  refused(await lethe.consentDecide({ client: me, path, body: outdated }), 409, 'notice-outdated');
  const { decisions } = expect(await lethe.consentHistory({ client: me, path }), 200);
  assert.deepEqual(decisions.map((decision) => decision.granted), [true, false, true]);
}

async function workDays(me: Client) {
  const headers = { 'Idempotency-Key': randomUUID() };
  const first = expect(await lethe.workDaySubmit({ client: me, headers, body: day(552) }), 201);
  assert.deepEqual(expect(await lethe.workDaySubmit({ client: me, headers, body: day(552) }), 201), first);
  assert.equal(first.actual_hours, 9.2);
  refused(await lethe.workDaySubmit({ client: me, headers, body: day(553) }), 422, 'key-reused');
  const inHours: WorkDay = { date, planned_hours: 8, actual_hours: 9.25, source: 'manual' };
  const amended = expect(await lethe.workDaySubmit({ client: me, body: inHours }), 200);
  assert.deepEqual([amended.event_id, amended.actual_minutes], [first.event_id, 555]);
  const events = [0, 1, 2, 3, 4].map((number) => day(480 + number, { date: `2025-12-0${4 + number}` }));
  const batch = expect(await lethe.workDaySubmitBatch({ client: me, body: { events } }), 200);
  assert.deepEqual([batch.created_count, batch.updated_count], [4, 1]);

  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = expect(await lethe.workDayList({ client: me, query: { limit: 2, cursor } }), 200);
    seen.push(...page.events.map((event) => event.date));
    cursor = page.next_cursor;
  } while (cursor);
  assert.deepEqual(seen.sort(), events.map((event) => event.date));
  refused(await lethe.workDayList({ client: me, query: { limit: 100_000 } }), 422, 'invalid-input');
}

async function account(me: Client, grant: SignInAnswer) {
  const answer = await lethe.accountGet({ client: me });
  const seen = expect(answer, 200);
  assert.deepEqual([seen.user_id, seen.email, seen.country_code], [grant.user_id, email, 'DEU']);
  const headers = { 'If-Match': answer.response!.headers.get('etag')! };
  const body = { hospital_id: 'klinikum-am-wald', role_level: 'senior' } as const;
  const changed = expect(await lethe.accountRectify({ client: me, headers, body }), 200);
  assert.deepEqual([changed.hospital_id, changed.specialty], ['klinikum-am-wald', seen.specialty]);
  refused(await lethe.accountRectify({ client: me, headers, body }), 412, 'changed');
}

async function audit(me: Client) {
  const page = expect(await lethe.auditList({ client: me, query: { action: 'record', limit: 3 } }), 200);
  assert(page.entries.length === 3 && page.entries.every((entry) => entry.action.startsWith('record.')));
  const rest = await lethe.auditList({ client: me, query: { action: 'record', cursor: page.next_cursor } });
  const ids = new Set(page.entries.map((entry) => entry.id));
  assert(expect(rest, 200).entries.every((entry) => !ids.has(entry.id)));
}

async function exportData(me: Client) {
  const wish = { request_type: 'full', format: 'json' } as const;
  const { export_id } = expect(await lethe.exportRequest({ client: me, body: wish }), 202);
  const path = { export_id };
  while (expect(await lethe.exportGet({ client: me, path }), 200).status !== 'completed') await setTimeout(20);
  const { token } = expect(await lethe.exportToken({ client: me, path }), 200);
  // The token opens the file without a sign-in. The client takes a file of JSON apart unless it is told not to.
  const file = expect(await lethe.exportDownload({ client: anyone, path, query: { token }, parseAs: 'text' }), 200);
  assert(String(file).includes('klinikum-am-wald'));
  refused(await lethe.exportDownload({ client: anyone, path, query: { token: 'another' } }), 404, 'missing');
}

async function deletion(me: Client) {
  const asked = expect(await lethe.deletionRequest({ client: me, body: { deletion_type: 'full' } }), 202);
  const path = { token: await mailed(/^([A-Za-z0-9_-]{43})\s*$/m) };
  refused(await lethe.deletionConfirm({ client: me, path, body: { phrase: 'please' } }), 422, 'invalid-input');
  const phrase = 'delete everything about me';
  const confirmed = expect(await lethe.deletionConfirm({ client: me, path, body: { phrase } }), 200);
  assert.equal(confirmed.status, 'confirmed');
  refused(await lethe.workDaySubmit({ client: me, body: day(480) }), 409, 'deletion-waiting');
  const cancelled = expect(await lethe.deletionCancel({ client: me, path }), 200);
  assert.deepEqual([cancelled.deletion_id, cancelled.status], [asked.deletion_id, 'cancelled']);
}

async function ends(me: Client, grant: SignInAnswer) {
  assert.equal(expect(await lethe.workDayDeleteAll({ client: me }), 200).deleted_count, 5);
  const body = { refresh_token: grant.refresh_token };
  const fresh = expect(await lethe.authRefresh({ client: anyone, body }), 200);
  const again = signedIn(fresh.token);
  assert.deepEqual(expect(await lethe.workDayList({ client: again }), 200).events, []);
  expect(await lethe.authLogout({ client: again }), 204);
  refused(await lethe.accountGet({ client: again }), 401, 'signed-out');
}

assert.equal(expect(await lethe.healthGet({ client: anyone }), 200).status, 'ok');
refused(await lethe.accountGet({ client: signedIn('not-a-token') }), 401, 'signed-out');
const grant = await register();
const me = signedIn(grant.token);
await consents(me);
await workDays(me);
await account(me, grant);
await audit(me);
await exportData(me);
await deletion(me);
await ends(me, grant);
console.log('the journey ended well');
