// Asks an npm for its answer on each dependency set (see fetch.mjs).
//   node ask.mjs NPM SETS WARM FOLDER
// NPM is the folder of the package npm.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const CONCURRENCY = 12
const REFUSALS = ['ERESOLVE', 'EOVERRIDE', 'E404', 'ETARGET']
const MANIFEST_FIELDS = [
  'name', 'version', 'dependencies', 'optionalDependencies', 'peerDependencies', 'peerDependenciesMeta', 'bundleDependencies', 'bundledDependencies',
  'deprecated', 'engines', 'os', 'cpu', 'libc', 'hasInstallScript', 'acceptDependencies'
]

const [npm, sets, warm, folder] = process.argv.slice(2)
const packuments = join(folder, 'packuments')
mkdirSync(packuments, { recursive: true })

const require = createRequire(join(npm, 'package.json'))
const pacote = require('pacote')
const npa = require('npm-package-arg')
const pickManifest = require('npm-pick-manifest')

async function settings () {
  const Config = require('@npmcli/config')
  const { definitions, shorthands, flatten, nerfDarts } = require('@npmcli/config/lib/definitions')
  const config = new Config({ npmPath: npm, definitions, shorthands, flatten, nerfDarts, argv: ['node', 'npm'], cwd: folder, warn: false })
  await config.load()
  return { ...config.flat, fullMetadata: true, preferOffline: true }
}

// The sets by name, each a package.json: those of the folder, and those of the list of `backlot vendor warm`.
function named () {
  const own = readdirSync(sets).sort().map((file) => [file.replace(/\.json$/, ''), JSON.parse(readFileSync(join(sets, file), 'utf8'))])
  const warmed = JSON.parse(readFileSync(warm, 'utf8')).map(({ name, manifest }) => [`warm-${name.replaceAll(' ', '-')}`, manifest])
  return [...own, ...warmed]
}

// npm's lock file, or `{"error": CODE}` if npm refuses the set.
function lock (set, manifest, ...more) {
  const project = mkdtempSync(join(tmpdir(), 'backlot-npm-'))
  try {
    writeFileSync(join(project, 'package.json'), JSON.stringify(manifest, null, 2))
    const args = ['install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', '--prefer-offline', '--json', ...more]
    const { status, stdout } = spawnSync(process.execPath, [join(npm, 'bin/npm-cli.js'), ...args], { cwd: project, encoding: 'utf8' })
    if (status === 0) return readFileSync(join(project, 'package-lock.json'), 'utf8')
    const error = JSON.parse(stdout).error.code
    if (!REFUSALS.includes(error)) throw new Error(`${set}: npm ends with ${error}`)
    return JSON.stringify({ error })
  } finally {
    rmSync(project, { recursive: true })
  }
}

const options = await settings()
const known = new Map()

function packument (name) {
  if (!known.has(name)) known.set(name, read(name))
  return known.get(name)
}

async function read (name) {
  const full = await pacote.packument(name, options).catch((error) => {
    if (error.code === 'E404') return null
    throw error
  })
  if (!full) return null
  const versions = Object.fromEntries(Object.entries(full.versions).map(([version, manifest]) => [version, reduced(manifest)]))
  const document = { name: full.name, 'dist-tags': full['dist-tags'], versions }
  writeFileSync(join(packuments, `${name.replace('/', '%2f')}.json`), JSON.stringify(document))
  return document
}

function reduced (manifest) {
  const fields = MANIFEST_FIELDS.filter((field) => field in manifest).map((field) => [field, manifest[field]])
  return { ...Object.fromEntries(fields), dist: { integrity: manifest.dist?.integrity, shasum: manifest.dist?.shasum } }
}

// The dependencies of the version that npm would choose for the request.
async function dependencies ([name, request]) {
  let spec
  try {
    spec = npa.resolve(name, request)
  } catch {
    return []
  }
  const target = spec.type === 'alias' ? spec.subSpec : spec
  if (!target.registry) return []
  const document = await packument(target.name)
  let manifest
  try {
    manifest = pickManifest(document, target.fetchSpec, {})
  } catch {
    return []
  }
  // npm looks at optional peers, too, although it does not install them.
  return ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((list) => Object.entries(manifest[list] ?? {}))
}

function overridden (overrides) {
  return Object.entries(overrides ?? {}).flatMap(([key, value]) => {
    const name = key.replace(/(.)@.*$/, '$1')
    return typeof value === 'string' ? [[name, value]] : [...overridden(value), ...(value['.'] ? [[name, value['.']]] : [])]
  })
}

async function closure (requests) {
  const seen = new Set()
  let level = requests
  while (level.length) {
    const next = []
    const fresh = level.filter(([name, request]) => !seen.has(`${name}@${request}`) && seen.add(`${name}@${request}`))
    for (let i = 0; i < fresh.length; i += CONCURRENCY) {
      next.push(...(await Promise.all(fresh.slice(i, i + CONCURRENCY).map(dependencies))).flat())
    }
    level = next
  }
}

writeFileSync(join(folder, 'node-version'), process.version)
for (const [set, project] of named()) {
  const answer = lock(set, project)
  writeFileSync(join(folder, `${set}.lock.json`), answer)
  if (JSON.parse(answer).error === 'ERESOLVE') writeFileSync(join(folder, `${set}.forced.json`), lock(set, project, '--force'))
  const own = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'].flatMap((list) => Object.entries(project[list] ?? {}))
  const referenced = (value) => value.startsWith('$') ? own.find(([name]) => name === value.slice(1))?.[1] ?? '*' : value
  await closure([...own, ...overridden(project.overrides).map(([name, value]) => [name, referenced(value)])])
  process.stderr.write(`${set}: ${known.size} packuments\n`)
}
