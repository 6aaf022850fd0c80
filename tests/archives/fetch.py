"""Downloads the packages of packages.txt into a folder, from the registries that npm and pip are set up for. Each line is the registry,
the package, its version and SHA-256 of its archive. Nothing of a package is run."""

import ast
import base64
import hashlib
import json
import pathlib
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request


def npm(name, version, folder):
    """Lets npm pack a published version."""
    text = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}", f"{name}@{version}"], check=True, capture_output=True, text=True
    ).stdout
    return folder / text.strip().splitlines()[-1]


def pip_setting(name, default):
    """A setting of `pip download`; one of the environment comes first."""
    text = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True).stdout
    settings = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    found = next((settings[key] for key in (f":env:.{name}", f"download.{name}", f"global.{name}") if key in settings), None)
    return ast.literal_eval(found) if found else default


def get(url, **headers):
    """The body of a response. A name and a password in the address are sent as a header."""
    parts = urllib.parse.urlsplit(url)
    if parts.username:
        credentials = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    context = ssl.create_default_context(cafile=pip_setting("cert", None))
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=180, context=context) as response:
        return response.read()


def pypi(name, version, folder):
    """Asks pip's index for the address of a source package, by its simple API in JSON. `pip download` would also build the package."""
    index = pip_setting("index-url", "https://pypi.org/simple").rstrip("/")
    page = f"{index}/{name.lower().replace('_', '-').replace('.', '-')}/"
    files = json.loads(get(page, Accept="application/vnd.pypi.simple.v1+json"))["files"]
    names = {f"{stem}-{version}{end}" for stem in (name, name.replace("-", "_"), name.lower()) for end in (".tar.gz", ".zip")}
    found = next(file for file in files if file["filename"] in names)
    path = folder / found["filename"]
    path.write_bytes(get(urllib.parse.urljoin(page, found["url"])))
    return path


def main(packages, folder):
    fetch = {"npm": npm, "pypi": pypi}
    for line in pathlib.Path(packages).read_text().splitlines():
        registry, name, version, expected = line.split()
        path = fetch[registry](name, version, pathlib.Path(folder))
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != expected:
            sys.exit(f"{name} {version} has the SHA-256 {actual}, expected {expected}")


main(*sys.argv[1:])
