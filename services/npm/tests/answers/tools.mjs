// The pinned npm and Node.js of package.json, so that answers do not depend on those of the machine.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

// Installs both into the folder, unless they are there. Returns the path of Node.js, the folder of npm, and the environment for both.
export function install (folder) {
  const complete = join(folder, 'complete')
  if (!existsSync(complete)) {
    mkdirSync(folder, { recursive: true })
    copyFileSync(new URL('package.json', import.meta.url), join(folder, 'package.json'))
    const args = ['install', '--silent', '--no-audit', '--no-fund', '--no-package-lock', '--prefix', folder]
    execFileSync('npm', args, { stdio: ['ignore', process.stderr, process.stderr] })
    writeFileSync(complete, '')
  }
  return { node: join(folder, 'node_modules/.bin/node'), npm: join(folder, 'node_modules/npm'), env: { ...process.env, ...settings() } }
}

// The pinned npm looks for global settings beside itself, and must use those of the machine.
function settings () {
  const get = (name) => execFileSync('npm', ['config', 'get', name], { encoding: 'utf8' }).trim()
  return { npm_config_registry: get('registry'), npm_config_globalconfig: get('globalconfig') }
}
