// The client, and for its tests schemas that check at run time what the client's types promise.
import { defineConfig } from '@hey-api/openapi-ts';

const input = '../../openapi/openapi.json';

export default defineConfig([
  {
    input,
    output: { path: 'typescript/src', importFileExtension: '.js' },
    plugins: ['@hey-api/client-fetch', '@hey-api/typescript', '@hey-api/sdk'],
  },
  { input, output: 'typescript-schemas', plugins: ['valibot'] },
]);
