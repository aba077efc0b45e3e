// Runs the tests of one part: `node run.mjs PART`.

import { World } from "./harness.mjs";

const { tests } = await import(`./${process.argv[2]}.mjs`);
const world = await World.start();
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test(world);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
await world.browser.close();
if (failed || !Object.keys(tests).length) process.exit(1);
