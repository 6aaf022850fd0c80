// Writes the tables of this folder with the library for versions of the pinned npm.
//   node table.mjs

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { install } from '../answers/tools.mjs'

const folder = mkdtempSync(join(tmpdir(), 'backlot-npm-'))
const { npm } = install(folder)
const semver = createRequire(join(npm, 'package.json'))('semver')
rmSync(folder, { recursive: true })

const RANDOM_RANGES = 900
const READINGS = { request: { loose: true }, engine: { includePrerelease: true }, override: {} }
const VERSIONS = (
  '0.0.0 0.0.1 0.0.1-0 0.1.0 0.2.0 0.2.0-alpha 0.2.3 0.3.0 1.0.0 1.0.0-rc.1 1.0.0-alpha.1 1.0.1 1.1.0 1.2.0 1.2.3 1.2.3-alpha 1.2.3-alpha.1 ' +
  '1.2.3-alpha.10 1.2.3-beta 1.2.3-beta.2 1.2.4-beta.2 1.2.4 1.3.0 1.3.0-0 1.10.10 2.0.0 2.0.0-0 2.0.0-rc.1 2.3.4 2.3.5 3.0.0 3.1.2 10.0.0 ' +
  '10.1.1-alpha 18.3.1 19.0.0 19.0.0-rc 19.1.0 v1.2.3 =1.2.3 1.2.3beta 01.2.3 1.2.3+b 1.2 garbage'
).split(' ')
const RANGES = [
  '*', '', ' ', 'latest', '1', '1.x', '1.2.x', 'x', '>=1', '<1', '^1.2.3', '~1.2.3', '^0.0.1', '^0.2', '^0', '~0', '1.2.3 - 2', '1.2 - 2.3.4',
  '>=1.2.3 <2 || >=3', '^1.2.3-beta.2', '>1.2.3-alpha.3', '>=18', '^18 || ^19', '^16.8 || ^17.0 || ^18.0 || ^19.0 || ^19.0.0-rc',
  '>=16.8 || ^19.0.0-0', '<0.0.0-0', '>x', '<x', '1.2.3.4', '=1.2.3', '==1.2.3', '~>1.2', '^x', '^1.x.3', '1.x.3', '>=0.0.0', '>=0.0.0-0', '||',
  '|| 1', '1 ||', '>', '<=', '^', '~', '1.2.3+b', '+', '1+2', '>=1 <', 'npm:x', 'a || 1', '- 1', '1 -', '1 - ', '1-2', '~1.2.3-rc.1', '^0.0.1-a',
  '^0.1.2-b', '<=2.x', '>1.2', '>=1.x.x', '!=1', '1.2.3 2.0.0', '^14.18.0 || >=16.0.0', '^12.22.0 || ^14.17.0 || >=16.0.0', '>=20.19.0 || >=22.12'
]

// The same numbers in each run.
let state = 12345
function below (limit) {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % limit
}
const pick = (list) => list[below(list.length)]
const list = (length, make) => Array.from({ length }, make)

const usual = () => pick(['0', '1', '2', '3', '10'])
const strange = () => pick(['0', '1', '2', '3', '10', 'x', '*', 'X', '00', '01', '', '9007199254740991', '9007199254740992'])
const tail = () => pick(['', '', '', '', '-alpha', '-alpha.1', '-0', '-rc.1', 'beta2', '-01', '-a-b', '+build', '-rc.1+b.2'])
function version () {
  const length = Math.min(below(5) + 1, 3)
  const number = below(3) ? usual : strange
  return pick(['', '', '', '', 'v', '=', '= ', 'v ']) + list(length, number).join('.') + (length === 3 ? tail() : '')
}
const signs = ['', '', '^', '~', '>', '<', '>=', '<=', '=', '~>', '^ ', '~ ', '>= ', '> ', '~> ', '==', '>>', 'foo']
const alternative = () =>
  below(6) === 0 ? `${version()} - ${version()}` : list(1 + below(2), () => pick(signs) + version()).join(pick([' ', '  ', ' ', ', ']))
const range = () => list(1 + (below(3) === 0 ? below(3) : 0), alternative).join(pick(['||', ' || ', ' ||']))

const ranges = [...new Set([...RANGES, ...list(RANDOM_RANGES, range)])]
const matching = (text, options) => VERSIONS.filter((version) => {
  const clean = semver.valid(version, true)
  return clean !== null && semver.satisfies(clean, text, options)
})
const lines = ranges.flatMap((text) => Object.entries(READINGS).map(([name, options]) =>
  [name, text, semver.validRange(text, options) === null ? '-' : matching(text, options).join(' ')].join('\t')))
const valid = ranges.filter((text) => semver.validRange(text) !== null)
const pairs = list(800, () => [pick(valid), pick(valid)])

const write = (file, rows) => writeFileSync(join(import.meta.dirname, file), rows.map((row) => `${row}\n`).join(''))
write('versions.txt', VERSIONS)
write('matches.tsv', lines)
write('intersections.tsv', pairs.map(([a, b]) => [a, b, semver.intersects(a, b) ? 'yes' : 'no'].join('\t')))
