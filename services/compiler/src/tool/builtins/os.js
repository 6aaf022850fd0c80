// The module `os` for a configuration and its plugins. It says nothing about the machine.
module.exports = { EOL: "\n", platform: () => "linux", homedir: () => "/", tmpdir: () => "/", cpus: () => [], arch: () => "x64" };
