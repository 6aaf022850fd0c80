// Lets the pinned npm answer for each dependency set, and stores its answers.
//   node fetch.mjs SETS WARM FOLDER
// SETS has a package.json for each set, named SET.json. WARM is the list of `backlot vendor warm`, whose sets are named warm-SET.
// FOLDER gets SET.lock.json, npm's lock file, SET.forced.json, that of `npm install --force` for a set with peers in conflict, and
// packuments/NAME.json, the packuments that an answer can depend on. Everything is read with npm's own client from the registry that npm is set
// up for. No script of a package of a set is run.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { install } from './tools.mjs'

const [sets, warm, folder] = process.argv.slice(2)
const { node, npm, env } = install(join(folder, 'tools'))
const { status } = spawnSync(node, [fileURLToPath(new URL('ask.mjs', import.meta.url)), npm, sets, warm, folder], { env, stdio: 'inherit' })
process.exit(status ?? 1)
