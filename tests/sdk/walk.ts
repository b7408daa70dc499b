// Makes every call of a file through the generated client, and writes one line of JSON for each outcome.
//
// Finds the function of an operation by its name. The types of TypeScript are gone at run time, so an answer is checked
// against the schemas that the same generator makes of the same document, which know what the types say. Ends with an
// error if the client has no such function, or no type for an answer. Takes the file that `tests/sdk.rs` wrote.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type GenericSchema, parse } from 'valibot';
import * as sdk from 'lethe-client';
import { createClient } from 'lethe-client/client';

type Arguments = Record<string, unknown>;
type Call = {
  operation: string;
  caller: string;
  token: string | null;
  path: Arguments;
  query: Arguments;
  headers: Arguments;
  body: unknown;
};
type Outcome = { data?: unknown; error?: unknown; response?: Response };

// `work_day_submit`, `workDaySubmit` and `import_` are spelled by the generator as its language demands.
const plain = (name: string) => name.replaceAll('_', '').toLowerCase();
const operations = new Map(
  Object.entries(sdk).map(([name, operation]) => [plain(name), operation as unknown as (wish: object) => Promise<Outcome>]),
);
// Named by a variable, because `tsc` would take long to check it.
const file = '../typescript-schemas/valibot.gen.ts';
const schemas: Record<string, GenericSchema> = await import(file);
const answers = new Map(Object.entries(schemas).map(([name, schema]) => [plain(name), schema]));

async function call(url: string, wish: Call): Promise<[number, string]> {
  const operation = operations.get(plain(wish.operation));
  assert(operation, `the client has no operation ${wish.operation}`);
  const { path, query, headers, body } = wish;
  // No operation takes a text as JSON: it stands for the bytes of a file.
  const sent = typeof body === 'string' ? new Blob([body]) : (body ?? undefined);
  const client = createClient({ baseUrl: url, auth: wish.token ?? undefined });
  const { data, error, response } = await operation({ client, path, query, headers, body: sent });
  assert(response, `${wish.operation}: ${error}`);
  if (!response.ok) {
    return [response.status, (parse(schemas.vProblem!, error) as sdk.Problem).type];
  }
  const type = response.headers.get('content-type') ?? '';
  if (/[/+]json\b/.test(type)) {
    const schema = answers.get(plain(`v${wish.operation}Response`));
    assert(schema, `${wish.operation} answers JSON, and the client has no type for it`);
    if (!(data instanceof Blob)) parse(schema, data);
  } else {
    const isEmpty = data == null || JSON.stringify(data) === '{}';
    assert(isEmpty || typeof data === 'string' || data instanceof Blob, `${wish.operation}: ${type} is no text or file`);
  }
  return [response.status, 'success'];
}

const walk: { url: string; calls: Call[] } = JSON.parse(readFileSync(process.argv[2]!, 'utf8'));
for (const wish of walk.calls) {
  const [status, answer] = await call(walk.url, wish);
  console.log(JSON.stringify({ operation: wish.operation, caller: wish.caller, status, answer }));
}
console.log(JSON.stringify({ operations: operations.size }));
